package convert

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"husk/fat"
	"husk/internal/disk"
	"husk/internal/host"
	"husk/internal/source"
	"husk/internal/winsys"
	"husk/ntfs"
	"husk/regf"
	"husk/wim"
	"husk/winfile"
	"husk/wof"
)

// Detection is what Detect found, in the order of the paths that it was given.
type Detection struct {
	Machine *host.Machine `json:"machine"`
	Disks   []Disk        `json:"disks"`
	WIMs    []WIM         `json:"wims,omitempty"`
}

// Disk is a disk, in a file or not, and what is on it.
type Disk struct {
	Path    string     `json:"path"`
	Format  string     `json:"format,omitempty"` // as disk.Disk has it
	Scheme  string     `json:"scheme,omitempty"` // "MBR", "GPT", "none"
	Size    int64      `json:"size"`             // bytes
	Host    *host.Disk `json:"host,omitempty"`   // of a physical disk
	Volumes []Volume   `json:"volumes,omitempty"`
	Problem string     `json:"problem,omitempty"` // why nothing more is known
}

// Volume is a partition with what is known of its file system.
type Volume struct {
	Spec       string  `json:"spec"` // by which commands know it: "disk.vhd:2"
	Number     int     `json:"partition"`
	Size       int64   `json:"size"`                 // bytes
	FileSystem string  `json:"fileSystem,omitempty"` // "NTFS", "FAT32", "BitLocker"; empty if not known
	Label      string  `json:"label,omitempty"`
	Free       int64   `json:"free,omitempty"`    // bytes; of NTFS
	Dirty      bool    `json:"dirty,omitempty"`   // chkdsk is to run
	Unclean    bool    `json:"unclean,omitempty"` // the file system's log has not reached it all: it was not dismounted
	Hibernated bool    `json:"hibernated,omitempty"`
	Boot       []Boot  `json:"boot,omitempty"` // boot stores
	System     *System `json:"system,omitempty"`
	Problem    string  `json:"problem,omitempty"`
}

// Boot is a boot store and whom it serves.
type Boot struct {
	Path     string        `json:"path"`     // slash path on the volume
	Firmware host.Firmware `json:"firmware"` // that reads it
}

// System is an installed Windows.
type System struct {
	Title     string       `json:"title"` // "Windows 7 Professional x64"
	Folder    string       `json:"folder"`
	Product   string       `json:"product"`
	Edition   string       `json:"edition,omitempty"`
	Arch      string       `json:"arch,omitempty"`
	Version   string       `json:"version,omitempty"` // "10.0.19045.3570", "6.1.7601 SP1"
	Build     int          `json:"build"`
	Languages []string     `json:"languages,omitempty"`
	Updates   []string     `json:"updates,omitempty"` // of those that matter to disks of pointers, what is installed
	Overlay   string       `json:"overlay,omitempty"` // driver for pointer files that starts with the system: "wof.sys", "wofadk.sys"
	Pointers  bool         `json:"pointers"`          // it reads pointer files
	Files     *Forms       `json:"files,omitempty"`   // nil if counting took too long
	Facts     winsys.Facts `json:"-"`
}

// Forms counts the files of a volume by their form, each once.
type Forms struct {
	Plain        int   `json:"plain"`
	PlainBytes   int64 `json:"plainBytes"`
	Pointers     int   `json:"pointers"`
	PointerBytes int64 `json:"pointerBytes"`
	Compact      int   `json:"compact"`
	CompactBytes int64 `json:"compactBytes"`
}

// WIM is a WIM and the systems in it.
type WIM struct {
	Path    string   `json:"path"`
	Size    int64    `json:"size"` // bytes
	Images  []string `json:"images"`
	Problem string   `json:"problem,omitempty"`
}

// Systems lists the volumes that have a Windows.
func (d *Detection) Systems() []*Volume {
	var list []*Volume
	for i := range d.Disks {
		for k := range d.Disks[i].Volumes {
			if v := &d.Disks[i].Volumes[k]; v.System != nil {
				list = append(list, v)
			}
		}
	}
	return list
}

// Disk finds the disk of a volume.
func (d *Detection) Disk(v *Volume) *Disk {
	for i := range d.Disks {
		for k := range d.Disks[i].Volumes {
			if &d.Disks[i].Volumes[k] == v {
				return &d.Disks[i]
			}
		}
	}
	return nil
}

// DetectOptions tunes Detect.
type DetectOptions struct {
	Quick bool          // do not count files
	Limit time.Duration // for counting the files of one volume; 0 means a second
	Warn  func(format string, args ...any)
}

// Bounds of a search: more is not looked at, and a warning says so.
const (
	searchDepth = 4
	searchFiles = 10_000
)

// Detect looks for installed Windows on disks, in images of disks, and below folders. Without paths it looks at the disks of the machine and
// at the images in the current folder. Nothing is written; what cannot be read is a Problem of its disk.
func Detect(ctx context.Context, paths []string, o *DetectOptions) (*Detection, error) {
	machine, err := host.Look()
	if err != nil {
		if o.Warn != nil && (len(paths) == 0 || !errors.Is(err, errors.ErrUnsupported)) {
			o.Warn("%s", err)
		}
	}
	d := &Detection{Machine: machine}
	var disks, wims []string
	if len(paths) == 0 {
		for _, h := range machine.Disks {
			if h.Size > 0 {
				disks = append(disks, h.Path)
			}
		}
		here, archives := search(".", 1, o.Warn)
		disks, wims = append(disks, here...), archives
	}
	for _, p := range paths {
		st, err := os.Stat(p)
		if err != nil {
			return nil, err
		}
		switch {
		case st.IsDir():
			images, archives := search(p, searchDepth, o.Warn)
			disks, wims = append(disks, images...), append(wims, archives...)
		case source.IsWIM(p):
			wims = append(wims, p)
		default:
			disks = append(disks, p)
		}
	}
	d.Disks, d.WIMs = make([]Disk, len(disks)), make([]WIM, len(wims))
	var wg sync.WaitGroup
	room := make(chan struct{}, max(4, runtime.GOMAXPROCS(0))) // disks wait for themselves, not for each other
	do := func(work func()) {
		wg.Go(func() {
			room <- struct{}{}
			defer func() { <-room }()
			work()
		})
	}
	for i, p := range disks {
		do(func() { d.Disks[i] = inspect(ctx, p, machine.Disk(p), o) })
	}
	for i, p := range wims {
		do(func() { d.WIMs[i] = images(p) })
	}
	wg.Wait()
	return d, ctx.Err()
}

// search lists the disk images and WIMs below a folder, by what their names promise.
func search(dir string, depth int, warn func(string, ...any)) (disks, wims []string) {
	n := 0
	// What may not be looked at is passed over.
	_ = filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return nil
		}
		if e.IsDir() && strings.Count(filepath.ToSlash(rel), "/")+1 >= depth && rel != "." {
			return fs.SkipDir
		}
		if n++; n > searchFiles {
			if warn != nil {
				warn("%s: only the first %d files were looked at", dir, searchFiles)
			}
			return fs.SkipAll
		}
		if !e.Type().IsRegular() {
			return nil
		}
		switch strings.ToLower(filepath.Ext(name)) {
		case ".vhd", ".vhdx", ".avhd", ".avhdx", ".img", ".raw", ".dd", ".qcow2":
			disks = append(disks, name)
		case ".wim", ".esd", ".swm":
			wims = append(wims, name)
		}
		return nil
	})
	return disks, wims
}

// images reads what a WIM has.
func images(path string) WIM {
	w := WIM{Path: path}
	r, err := wim.Open(path)
	if err != nil {
		w.Problem = err.Error()
		return w
	}
	defer r.Close()
	w.Size = r.Size()
	for _, i := range r.Images() {
		w.Images = append(w.Images, i.Name())
	}
	return w
}

// inspect looks at one disk.
func inspect(ctx context.Context, path string, h *host.Disk, o *DetectOptions) Disk {
	r := Disk{Path: path, Host: h}
	if h != nil {
		r.Size = h.Size
	}
	d, err := disk.Open(path)
	if err != nil {
		r.Problem = err.Error()
		return r
	}
	defer d.Close()
	r.Format, r.Scheme, r.Size = d.Format, d.Scheme.String(), d.Size()
	for i := range d.Partitions {
		r.Volumes = append(r.Volumes, inspectVolume(ctx, d, &d.Partitions[i], o))
	}
	return r
}

const (
	bitLocker = "-FVE-FS-"  // where NTFS has its name; BitLocker To Go differs only in the fields behind
	fatMost   = 8 << 30     // bytes of a FAT volume whose folders are read: EFI system partitions are smaller
	oemName   = 3           // offset of the name of the file system in its boot sector
	perVolume = time.Second // for counting
	sector    = 512         // bytes of a boot sector that are looked at
)

func inspectVolume(ctx context.Context, d *disk.Disk, p *disk.Partition, o *DetectOptions) Volume {
	v := Volume{Spec: fmt.Sprintf("%s:%d", d.Path, p.Number), Number: p.Number, Size: p.Size}
	section := d.Section(p)
	head := make([]byte, sector)
	if _, err := section.ReadAt(head, 0); err != nil {
		v.Problem = err.Error()
		return v
	}
	switch {
	case bytes.HasPrefix(head[oemName:], []byte(bitLocker)):
		v.FileSystem = "BitLocker"
	case p.NTFS:
		v.FileSystem = "NTFS"
		if err := v.readNTFS(ctx, d, p, o); err != nil {
			v.Problem = err.Error()
		}
	case p.Size <= fatMost:
		f, err := fat.NewVolume(section, p.Size)
		if err != nil {
			break // something else
		}
		v.FileSystem = fmt.Sprintf("FAT%d", f.Bits)
		t, err := f.Tree()
		if err != nil {
			v.Problem = err.Error()
			break
		}
		v.Boot = stores(t)
	}
	return v
}

// bootStores are the places of boot stores on a volume.
var bootStores = []Boot{{"Boot/BCD", host.BIOS}, {"EFI/Microsoft/Boot/BCD", host.UEFI}}

func stores(t *winfile.Tree) []Boot {
	var list []Boot
	for _, b := range bootStores {
		if e := t.Lookup(b.Path); e != nil && !e.Info.IsDir() {
			list = append(list, b)
		}
	}
	return list
}

// wanted is what is looked at below a Windows folder.
var wanted = []string{
	"System32/kernel32.dll", "System32/config/SOFTWARE", "System32/config/SYSTEM", "System32/drivers/wof.sys", "System32/drivers/wofadk.sys",
	"Boot/PCAT/bootmgr", "Boot/EFI/bootmgfw.efi",
}

func (v *Volume) readNTFS(ctx context.Context, d *disk.Disk, p *disk.Partition, o *DetectOptions) error {
	vol, err := ntfs.NewReader(d.Section(p), p.Size)
	if err != nil {
		return err
	}
	v.Label, v.Dirty, v.Unclean = vol.Label, vol.Dirty, vol.Log != ntfs.LogClean
	if v.Hibernated, err = vol.Hibernated(); err != nil {
		return err
	}
	if v.Free, err = vol.FreeBytes(); err != nil {
		return err
	}
	paths := []string{wof.OverlayPath}
	for _, b := range bootStores {
		paths = append(paths, b.Path)
	}
	top, err := vol.ReadDir(".")
	if err != nil {
		return err
	}
	for _, e := range top {
		if _, ok, err := vol.Lookup(e.Name() + "/System32/config/SYSTEM"); e.IsDir() && err == nil && ok {
			for _, w := range wanted {
				paths = append(paths, e.Name()+"/"+w)
				if strings.HasPrefix(w, "System32/config/") {
					for _, log := range regf.LogNames {
						paths = append(paths, e.Name()+"/"+w+log)
					}
				}
			}
		}
	}
	t, err := vol.Paths(ctx, paths...)
	if err != nil {
		return err
	}
	v.Boot = stores(t)
	v.System, err = readSystem(t)
	if v.System == nil || o.Quick {
		return err
	}
	limit := o.Limit
	if limit == 0 {
		limit = perVolume
	}
	count, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if whole, treeErr := vol.Tree(count); treeErr == nil {
		v.System.Files = countForms(whole)
	} else if count.Err() == nil {
		err = errors.Join(err, treeErr)
	}
	return err
}

func countForms(t *winfile.Tree) *Forms {
	f := &Forms{}
	seen := make(map[*winfile.Info]bool)
	for _, e := range t.All() {
		i := e.Info
		if i.IsDir() || i.Links > 1 && seen[i] {
			continue
		}
		if i.Links > 1 {
			seen[i] = true
		}
		provider := wof.Provider(0)
		if i.Reparse != nil && i.Reparse.Tag == winfile.TagWOF {
			provider, _ = wof.ProviderOf(i.Reparse) // what cannot be told counts as plain
		}
		switch provider {
		case wof.ProviderWIM:
			f.Pointers++
			f.PointerBytes += i.Size()
		case wof.ProviderFile:
			f.Compact++
			f.CompactBytes += i.Size()
		default:
			f.Plain++
			f.PlainBytes += i.Size()
		}
	}
	return f
}

var architectures = map[int]string{0: "x86", 5: "ARM", 6: "IA-64", 9: "x64", 12: "ARM64"}

const (
	firstPointers = 9600  // the first build whose kernel comes with wof.sys: Windows 8.1
	windows11     = 22000 // its registry still says 10
	sha2Build     = 9200  // from here on systems know SHA-2 signatures
)

// readSystem reads the facts of the Windows in a tree; nil if it has none.
func readSystem(t *winfile.Tree) (*System, error) {
	facts, err := winsys.Read(t)
	if facts == nil {
		return nil, err
	}
	s := &System{
		Folder: facts.Folder, Product: facts.ProductName, Edition: facts.EditionID, Arch: architectures[facts.Arch], Build: facts.Build,
		Languages: facts.Languages, Facts: *facts,
	}
	if len(s.Languages) == 0 && facts.DefaultLanguage != "" {
		s.Languages = []string{facts.DefaultLanguage}
	}
	s.Title = title(facts)
	s.Version = fmt.Sprintf("%d.%d.%d", facts.Major, facts.Minor, facts.Build)
	switch {
	case facts.UBR > 0:
		s.Version += fmt.Sprintf(".%d", facts.UBR)
	case facts.ServicePack > 0:
		s.Version += fmt.Sprintf(" SP%d", facts.ServicePack)
	}
	s.Overlay, s.Pointers = overlayDriver(t, facts)
	if facts.Build < sha2Build {
		s.Updates = updates(t, facts.Folder)
	}
	return s, err
}

// title is what people call a system.
func title(f *winsys.Facts) string {
	name := f.ProductName
	if f.Build >= windows11 {
		name = strings.Replace(name, "Windows 10", "Windows 11", 1)
	}
	if name == "" {
		name = "Windows"
	}
	if arch := architectures[f.Arch]; arch != "" && !strings.Contains(name, arch) {
		name += " " + arch
	}
	return name
}

// overlayDriver names the driver for pointer files that is there, and tells whether pointers will be read.
func overlayDriver(t *winfile.Tree, f *winsys.Facts) (string, bool) {
	for _, d := range f.BootDrivers {
		if !winfile.EqualFold(d.Name, "WofAdk") && !winfile.EqualFold(d.Name, "Wof") {
			continue
		}
		if e := t.Lookup(f.Folder + "/" + d.Image); e != nil && !e.Info.IsDir() {
			return strings.ToLower(filepath.Base(filepath.FromSlash(d.Image))), true
		}
	}
	if f.Build < firstPointers {
		return "", false
	}
	if t.Lookup(f.Folder+"/System32/drivers/wof.sys") != nil {
		return "wof.sys", true
	}
	return "", true
}

// matter are the updates of Windows 7 that decide whether a disk of pointers starts: signatures by SHA-2 (KB3033929, and what has it too),
// disks behind NVMe (KB2990941, KB3087873).
var matter = []string{"KB2990941", "KB3033929", "KB3087873", "KB3125574", "KB4474419", "KB4490628"}

const (
	packagesKey  = `Microsoft\Windows\CurrentVersion\Component Based Servicing\Packages`
	packageState = 0x70      // installed
	mostPackages = 1_000_000 // keys that are looked at
)

// updates lists those of matter that the servicing stack has as installed.
func updates(t *winfile.Tree, folder string) []string {
	h, err := winsys.OpenHive(t, folder+"/System32/config/SOFTWARE")
	if err != nil {
		return nil // as an error of the facts tells
	}
	key, err := h.Root().Lookup(packagesKey)
	if err != nil {
		return nil
	}
	packages, err := key.Subkeys()
	if err != nil || len(packages) > mostPackages {
		return nil
	}
	var list []string
	for _, p := range packages {
		name := strings.ToUpper(p.Name())
		for _, kb := range matter {
			if !strings.Contains(name, "_FOR_"+kb+"~") || slices.Contains(list, kb) {
				continue
			}
			if state, err := p.Uint("", "CurrentState"); err == nil && state == packageState {
				list = append(list, kb)
			}
		}
	}
	slices.SortFunc(list, cmp.Compare)
	return list
}

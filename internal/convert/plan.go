package convert

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"husk/internal/archive"
	"husk/internal/deploy"
	"husk/internal/disk"
	"husk/internal/host"
	"husk/internal/inplace"
	"husk/internal/mounted"
	"husk/internal/source"
	"husk/internal/store"
	"husk/internal/tree"
	"husk/internal/ui"
	"husk/internal/winsys"
	"husk/wim"
	"husk/winfile"
	"husk/wof"
)

// Form is what becomes of a system.
type Form string

const (
	VHD       Form = "vhd"      // a VHD of pointer files beside the WIM, which boot managers start
	WholeDisk Form = "disk"     // a new disk with boot files, the WIM and such a VHD
	InPlace   Form = "in-place" // the volume that it is on; its files become pointers
)

// Options tunes New.
type Options struct {
	System   string        // DISK[:PARTITION] with a Windows on it; a folder or FILE:IMAGE for new disks
	Target   string        // of VHD and WholeDisk
	Form     Form          // "" follows from the name of Target, or is InPlace without one
	Store    string        // the WIM, or the folder that it goes into; "" means beside the target, or on the system's own volume
	Scratch  string        // folder for the WIM until it is on the system's own volume; "" means beside the disk, or where there is room
	WIMDisk  string        // as deploy.Location has them: where the WIM will be at boot
	WIMPath  string        //
	Boot     string        // boot store that gets an entry, as registry.Open takes it; "" for none
	Name     string        // of the system, in the WIM and in menus; "" means its product name
	Firmware host.Firmware // that will start it; "" means as now
	Size     int64         // of the new disk, or of the VHD; 0 means what fits
	Compress string        // as archive.Options has it
	Restart  bool          // forget a conversion that was cut off
	DryRun   bool          // do not even finish a change of the volume that was cut off, which a plan in place has to wait for
	Replace  bool          // a target that exists may be replaced
	Threads  int
	UI       *ui.UI
}

// WIMName is what the WIM in a folder is called.
const WIMName = "wimboot.wim"

// insidePath is where the WIM goes on the system's own volume.
const insidePath = "wimboot/" + WIMName

// Plan is a conversion before anything is written.
type Plan struct {
	System   string       `json:"system"` // with the partition
	Windows  System       `json:"windows"`
	Form     Form         `json:"form"`
	Target   string       `json:"target,omitempty"`
	Store    string       `json:"store,omitempty"`  // folder of the store that gets a point; "" if the WIM is a file of its own
	WIM      string       `json:"wim"`              // file on this machine, of a store its first; on the system's own volume until it is there
	Inside   bool         `json:"inside,omitempty"` // it goes onto the system's own volume
	Adds     bool         `json:"adds"`             // to a WIM that exists
	Location wof.Location `json:"-"`                // of the WIM at boot; not of WholeDisk, which has its own
	VHDPath  string       `json:"vhdPath,omitempty"`
	Boot     string       `json:"boot,omitempty"`
	Image    string       `json:"image"` // name
	Estimate Estimate     `json:"estimate"`
	Resumes  string       `json:"resumes,omitempty"` // the last step of a conversion that was cut off
	Journal  string       `json:"-"`

	o           *Options
	uefi        bool
	fingerprint string
	begun       bool // the system has pointers into the WIM on its own volume: a conversion was cut off
}

// Estimate is what a conversion is expected to do, from names, sizes, and samples of contents.
type Estimate struct {
	Files        int   `json:"files"`
	Used         int64 `json:"used"`     // bytes of the files now
	Pointers     int   `json:"pointers"` // files that may become pointers
	PointerBytes int64 `json:"pointerBytes"`
	PlainBytes   int64 `json:"plainBytes"` // of what must stay as it is
	WIM          int64 `json:"wim"`        // bytes that the WIM will take, or that it will grow by
	Target       int64 `json:"target"`     // bytes of the new disk's file, or of what stays on the volume
	Free         int64 `json:"free"`       // where the WIM goes; -1 if not known
}

// Saved is what the system takes less, with its part of the WIM counted; negative if it takes more.
func (e *Estimate) Saved() int64 { return e.Used - e.WIM - e.Target }

// errRefused is what Refused knows.
var errRefused = errors.New("cannot be converted as it is")

// Refused reports whether something stands in the way that only the user may remove.
func Refused(err error) bool {
	return errors.Is(err, errRefused) || errors.Is(err, errOtherJob) || errors.Is(err, fs.ErrExist) || inplace.Refused(err)
}

func refuse(hint string, format string, args ...any) error {
	return ui.Hint(fmt.Errorf("%w: %s", errRefused, fmt.Sprintf(format, args...)), hint)
}

// New decides how a system is converted, and estimates what comes of it. Nothing is written, but that a change of the volume which a
// conversion in place made, and which was cut off, is finished.
func New(ctx context.Context, o *Options) (*Plan, error) {
	p := &Plan{o: o, Target: o.Target, Form: o.Form, Boot: o.Boot}
	if err := p.chooseForm(); err != nil {
		return nil, err
	}
	if err := p.settle(); err != nil {
		return nil, err
	}
	volume, err := p.findSystem(ctx)
	if err != nil {
		return nil, err
	}
	s, err := source.Open(ctx, p.System, &source.Options{Raw: p.Form == InPlace, Warn: o.UI.Warn})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if err := p.readSystem(s, volume); err != nil {
		return nil, err
	}
	if err := p.chooseStore(s); err != nil {
		return nil, err
	}
	if err := p.checkForms(s); err != nil {
		return nil, err
	}
	if err := p.locate(); err != nil {
		return nil, err
	}
	if err := p.estimate(ctx, s); err != nil {
		return nil, err
	}
	return p, p.checkRoom(s)
}

func (p *Plan) chooseForm() error {
	if p.Form == "" {
		switch {
		case p.Target == "":
			p.Form = InPlace
		case strings.EqualFold(filepath.Ext(p.Target), ".vhd"):
			p.Form = VHD
		default:
			p.Form = WholeDisk
		}
	}
	switch {
	case p.Form == InPlace && p.Target != "":
		return ui.Usage(fmt.Errorf("%s: a system that is converted in place has no target", p.Target))
	case p.Form != InPlace && p.Target == "":
		return ui.Usage(errors.New("no target: name the new disk"))
	case p.Form == VHD && !strings.EqualFold(filepath.Ext(p.Target), ".vhd"):
		return ui.Usage(fmt.Errorf("%s: want a name that ends in .vhd", p.Target))
	case p.Form != VHD && p.Boot != "":
		return ui.Usage(errors.New("an entry in a boot store goes with a VHD: other systems keep theirs, or bring one"))
	}
	return nil
}

// settle finishes a change of the volume that was cut off. Of a device that shows only when it is opened for changes.
func (p *Plan) settle() error {
	path, selector := source.Split(p.o.System)
	st, err := os.Stat(path)
	if p.Form != InPlace || p.o.DryRun || err != nil || st.IsDir() || st.Mode().IsRegular() && !inplace.Pending(path) {
		return nil // what is wrong with the name, others will say
	}
	number := 0
	if selector != "" {
		if number, err = strconv.Atoi(selector); err != nil {
			return ui.Usage(fmt.Errorf("%s:%s: want a partition number after the colon", path, selector))
		}
	}
	if number == 0 && !st.Mode().IsRegular() {
		return nil // which partition of the device will be known only later
	}
	v, err := inplace.Open(path, number)
	if err != nil {
		return err
	}
	return v.Close()
}

// findSystem turns the user's word into a volume with a Windows. Folders and images have none.
func (p *Plan) findSystem(ctx context.Context) (*Volume, error) {
	path, selector := source.Split(p.o.System)
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if st.IsDir() || source.IsWIM(path) || source.IsDisc(path) {
		if p.Form == InPlace {
			return nil, ui.Usage(fmt.Errorf("%s is no disk: it cannot be converted in place", path))
		}
		p.System = p.o.System
		return nil, nil
	}
	d := inspect(ctx, path, nil, &DetectOptions{Quick: true})
	if d.Problem != "" {
		return nil, errors.New(d.Problem)
	}
	var found []*Volume
	for i := range d.Volumes {
		v := &d.Volumes[i]
		named := selector != "" && fmt.Sprint(v.Number) == selector
		if named && v.FileSystem == "BitLocker" {
			return nil, refuse("turn BitLocker off in Windows first: manage-bde -off C:", "%s is encrypted with BitLocker", v.Spec)
		}
		if v.System != nil && (selector == "" || named) {
			found = append(found, v)
		}
		if named && v.System == nil {
			return nil, fmt.Errorf("%s: no Windows was found on it%s", v.Spec, because(v.Problem))
		}
	}
	switch len(found) {
	case 1:
		p.System = found[0].Spec
		return found[0], unmounted(path, st, found[0])
	case 0:
		why := ""
		for _, v := range d.Volumes {
			why += because(v.Problem)
		}
		return nil, ui.Hint(fmt.Errorf("%s: no Windows was found on it%s", p.o.System, why), "'husk detect %s' tells what is there", path)
	}
	var list []string
	for _, v := range found {
		list = append(list, v.Spec)
	}
	return nil, ui.Hint(fmt.Errorf("%s has several systems", path), "name one of %s", strings.Join(list, ", "))
}

// unmounted refuses a partition of a device that this machine uses: what is read of it would be of no one moment.
func unmounted(path string, st fs.FileInfo, v *Volume) error {
	if st.Mode()&fs.ModeDevice == 0 {
		return nil
	}
	device := path
	if m, err := host.Look(); err == nil && m.Disk(path) != nil {
		for _, part := range m.Disk(path).Partitions {
			if part.Number == v.Number && part.Path != "" {
				device = part.Path
			}
		}
	}
	users, err := mounted.Users(device)
	if err != nil || len(users) == 0 {
		return nil // where that cannot be told, the volume's own state still is
	}
	return refuse("unmount it first; the system that is running cannot be converted", "%s is in use: %s", v.Spec, strings.Join(users, ", "))
}

func because(problem string) string {
	if problem == "" {
		return ""
	}
	return ": " + problem
}

// readSystem reads what the system says of itself, and refuses those that cannot become husks.
func (p *Plan) readSystem(s *source.Source, v *Volume) error {
	w, err := readSystem(s.Tree)
	if w == nil {
		return errors.Join(fmt.Errorf("%s: there is no Windows in it", p.System), err)
	}
	if err != nil {
		p.o.UI.Warn("%s: %s", p.System, err)
	}
	p.Windows = *w
	p.uefi = p.o.Firmware == host.UEFI || p.o.Firmware == host.Unknown && s.Disk != nil && s.Disk.Scheme == disk.GPT
	if !w.Pointers {
		return refuse("put wofadk.sys of the Windows 10 ADK into the system first: husk driver add", "%s, build %d, has no driver for pointer files", w.Title, w.Build)
	}
	if v == nil || p.Form != InPlace {
		return nil
	}
	switch {
	case v.Hibernated:
		return refuse("shut Windows down fully first: shutdown /s /f /t 0, without fast startup", "%s is hibernated", v.Spec)
	case s.NTFS != nil:
		return inplace.Usable(s.Path, s.NTFS)
	}
	return nil
}

// chooseStore decides where the WIM goes.
func (p *Plan) chooseStore(s *source.Source) error {
	p.Inside = p.Form == InPlace && p.o.Store == ""
	switch {
	case p.Inside:
		dir, err := p.scratchDir()
		if err != nil {
			return err
		}
		p.WIM = filepath.Join(dir, filepath.Base(s.Path)+".husk.wim")
	case p.o.Store == "":
		p.Store = filepath.Dir(p.Target)
		p.WIM = filepath.Join(p.Store, WIMName)
	default:
		p.WIM = p.o.Store
		st, err := os.Stat(p.WIM)
		switch {
		case err == nil && st.IsDir(), err != nil && !strings.EqualFold(filepath.Ext(p.WIM), ".wim"):
			p.Store = p.WIM
			p.WIM = filepath.Join(p.WIM, WIMName)
		case err == nil && !source.IsWIM(p.WIM):
			return fmt.Errorf("%s is neither a WIM nor a folder", p.WIM)
		}
	}
	p.Image = p.o.Name
	if p.Image == "" {
		p.Image = p.Windows.Title
	}
	switch p.Form {
	case InPlace:
		p.Journal = p.WIM + journalMark
		if st, err := os.Stat(s.Path); err == nil && st.Mode().IsRegular() {
			p.Journal = s.Path + journalMark
		}
	default:
		p.Journal = p.Target + journalMark
	}
	n, err := readJournal(p.Journal)
	if err != nil {
		return err
	}
	if n != nil && len(n.notes) > 0 && !p.o.Restart {
		p.Resumes = string(n.notes[len(n.notes)-1].Step)
	}
	if p.Store != "" && strange(p.Store) {
		p.Store = "" // its WIMs are not ours to make layers of
	}
	if p.Store != "" {
		return p.lookStore()
	}
	r, err := wim.Open(p.WIM)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("%s: %w", p.WIM, err)
	default:
		defer r.Close()
		p.Adds = true
		if err := deploy.CheckFormat(r, p.WIM); err != nil {
			return err
		}
		if p.o.Compress != "" && p.Resumes == "" {
			return ui.Usage(fmt.Errorf("%s exists: what is added to it is compressed as it is", p.WIM))
		}
	}
	return p.targetFree()
}

// targetFree refuses a target that exists.
func (p *Plan) targetFree() error {
	if p.Form != InPlace && p.Resumes == "" && !p.o.Replace {
		if _, err := os.Lstat(p.Target); err == nil {
			return fmt.Errorf("%s: %w", p.Target, fs.ErrExist)
		}
	}
	return nil
}

// strange reports whether a folder that is no store has WIMs of others.
func strange(dir string) bool {
	wims, err := filepath.Glob(filepath.Join(dir, "*.[wW][iI][mM]"))
	return !store.Is(dir) && err == nil && slices.ContainsFunc(wims, func(w string) bool { return filepath.Base(w) != WIMName })
}

// lookStore looks at a store that gets a point, if it is there.
func (p *Plan) lookStore() error {
	wims, err := filepath.Glob(filepath.Join(p.Store, "*.wim"))
	if err != nil {
		return fmt.Errorf("%s: %w", p.Store, err)
	}
	p.Adds = store.Is(p.Store) || len(wims) > 0
	if p.Adds && p.Resumes == "" && p.o.Compress != "" {
		return ui.Usage(fmt.Errorf("%s is a store already: what is added to it is compressed as it is", p.Store))
	}
	return p.targetFree()
}

// scratchDir is where the WIM is made that goes onto the system's own volume: beside the file of a disk, or where the machine has room.
func (p *Plan) scratchDir() (string, error) {
	if p.o.Scratch != "" {
		return p.o.Scratch, nil
	}
	path, _ := source.Split(p.System)
	if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() {
		return filepath.Dir(path), nil
	}
	return os.TempDir(), nil
}

// checkForms refuses systems that are husks already, and notices a conversion that was cut off and whose journal is lost.
func (p *Plan) checkForms(s *source.Source) error {
	pointers := 0
	for _, e := range s.Tree.All() {
		if r := e.Info.Reparse; r != nil && r.Tag == winfile.TagWOF {
			if provider, err := wof.ProviderOf(r); err == nil && provider == wof.ProviderWIM {
				pointers++
			}
		}
	}
	if s.Links != nil {
		pointers += s.Links.Files
	}
	inside := p.Inside && p.Resumes == "" && s.Tree.Lookup(insidePath) != nil
	switch {
	case p.Resumes != "", pointers == 0 && !inside:
		return nil
	case inside && pointers > 0 && !p.finished(s), inside && pointers == 0 && p.ours(s):
		p.begun = true
		return nil
	case inside && pointers == 0:
		return refuse("move it away with 'husk fs cp' and 'husk fs rm', or put the WIM elsewhere: --store=FOLDER", "%s has a /%s already", p.System, insidePath)
	}
	return refuse("to store what has changed in it since, use 'husk point add'; to make it small again, 'husk slim'", "%s is a husk already: %d of its files are pointers", p.System, pointers)
}

// ours reports whether the WIM on the system's own volume is one that a conversion put there before it was cut off: of this system, and whole.
func (p *Plan) ours(s *source.Source) bool {
	e := s.Tree.Lookup(insidePath)
	if e.Info.Data == nil {
		return false
	}
	at, err := s.NTFS.BlobReaderAt(e.Info.Data)
	if err != nil {
		return false
	}
	r, err := wim.NewReader(at, e.Info.Data.Size)
	return err == nil && len(r.Images()) == 1 && r.Images()[0].Name() == p.Image && r.Images()[0].Info().WIMBoot
}

// finished reports whether the last thing was done that a conversion in place does.
func (p *Plan) finished(s *source.Source) bool {
	h, err := winsys.OpenHive(s.Tree, p.Windows.Folder+"/System32/config/SYSTEM")
	if err != nil {
		return false
	}
	n, err := h.Root().Uint("Setup", formValue)
	return err == nil && n == 1
}

// locate settles where the WIM, and the VHD, will be when Windows starts.
func (p *Plan) locate() error {
	diskSpec, path := p.o.WIMDisk, p.o.WIMPath
	switch {
	case p.Form == WholeDisk:
		if diskSpec != "" || path != "" {
			return ui.Usage(errors.New("a disk that starts by itself has its WIM on it: --wim-disk and --wim-path do not go with it"))
		}
		return nil
	case p.Inside:
		if diskSpec == "" {
			diskSpec = p.System
		}
		path = `\` + strings.ReplaceAll(insidePath, "/", `\`)
	case diskSpec == "" || path == "":
		at, err := mountedAt(p.WIM)
		if err != nil {
			return ui.Hint(fmt.Errorf("where %s will be at boot is not known: %w", p.WIM, err),
				"put it on a volume that Windows reads, or tell with --wim-disk and --wim-path; a TARGET that ends in .img or .vhdx becomes a disk that starts by itself")
		}
		if diskSpec == "" {
			diskSpec = at.Disk
		}
		if path == "" {
			path = at.Path
		}
	}
	var err error
	if p.Location, err = deploy.Location(diskSpec, path, p.WIM); err != nil {
		return err
	}
	if p.Form == VHD {
		p.VHDPath, err = p.vhdPath()
	}
	return err
}

// mountedAt is mounted.At for a file that need not exist yet, nor the folder for it.
func mountedAt(file string) (mounted.Place, error) {
	dir, rest := absolute(file), ""
	for {
		if _, err := os.Stat(dir); err == nil || filepath.Dir(dir) == dir {
			break
		}
		rest = filepath.Join(filepath.Base(dir), rest)
		dir = filepath.Dir(dir)
	}
	at, err := mounted.At(dir)
	if err == nil && rest != "" {
		at.Path = filepath.Join(at.Path, rest)
	}
	return at, err
}

// vhdPath is the path of the VHD at boot: it lies to the WIM as it does here.
func (p *Plan) vhdPath() (string, error) {
	rel, err := filepath.Rel(filepath.Dir(absolute(p.WIM)), absolute(p.Target))
	if err != nil || !filepath.IsLocal(rel) {
		if p.Boot != "" {
			return "", ui.Hint(fmt.Errorf("%s is not in the folder of %s: its path at boot is not known", p.Target, p.WIM), "put both into one folder")
		}
		return "", nil
	}
	dir := p.Location.Path[:strings.LastIndexByte(p.Location.Path, '\\')]
	return dir + `\` + strings.ReplaceAll(filepath.ToSlash(rel), "/", `\`), nil
}

// estimate counts what may become pointers and takes samples of how well contents compress.
func (p *Plan) estimate(ctx context.Context, s *source.Source) error {
	exclude, err := archive.Exclusions(p.System, s.Tree, "", p.o.UI)
	if err != nil {
		return err
	}
	t, _ := tree.Filter(s.Tree, exclude)
	p.fingerprint = fingerprint(t)
	ro := &wof.RuleOptions{BIOS: !p.uefi, Build: p.Windows.Build, Early: deploy.Early(t, p.o.UI)}
	rules, err := wof.NewRules(t, ro)
	if err != nil {
		return err
	}
	decided, err := rules.Decide(t, nothing{})
	if err != nil {
		return err
	}
	e := &p.Estimate
	totals := t.Totals()
	e.Files = totals.Files
	may := decided.Total(wof.NotInWIM)
	e.Pointers, e.PointerBytes = may.Files, may.Bytes
	plain := make(map[*winfile.Info]bool)
	for _, f := range decided.Plain {
		plain[f.Info] = f.Reason != wof.NotInWIM
	}
	points, stays := int64(0), int64(0)
	for i, n := range onDisk(s, t) {
		if stay, ok := plain[i]; ok && !stay {
			points += n
		} else {
			stays += n
		}
	}
	const record = 1 << 10
	e.Used = points + stays + int64(totals.Files+totals.Dirs)*record
	e.Target = stays + int64(totals.Files+totals.Dirs)*record
	if s.NTFS != nil {
		free, err := s.NTFS.FreeBytes()
		if err != nil {
			return fmt.Errorf("%s: %w", s.Path, err)
		}
		e.Used = s.NTFS.Clusters*int64(s.NTFS.ClusterSize) - free
	}
	if p.Form == InPlace {
		e.Target = e.Used - points
	}
	e.PlainBytes = stays
	ratio, err := sampleRatio(ctx, t)
	if err != nil {
		return err
	}
	e.WIM = int64(float64(totals.Bytes) * ratio)
	if p.Resumes != "" && p.Resumes != string(stepCapture) || p.begun {
		e.WIM = 0 // it is there
	}
	e.Free = -1
	if m, err := host.Look(); m != nil && (err == nil || len(m.Mounts) > 0) {
		if mount := m.MountOf(p.WIM); mount != nil {
			e.Free = mount.Free
		}
	}
	return ctx.Err()
}

// onDisk is what the contents of each file take: clusters of a volume; elsewhere their size.
func onDisk(s *source.Source, t *winfile.Tree) map[*winfile.Info]int64 {
	sizes := make(map[*winfile.Info]int64)
	for _, e := range t.All() {
		if _, ok := sizes[e.Info]; ok {
			continue
		}
		n := int64(0)
		for b := range e.Info.Blobs() {
			if s.NTFS == nil {
				n += b.Size
				continue
			}
			extents, err := s.NTFS.Extents(b)
			if err != nil { // content that is not on the volume: behind a pointer, or compact
				continue
			}
			for _, x := range extents {
				if x.LCN >= 0 {
					n += x.Clusters * int64(s.NTFS.ClusterSize)
				}
			}
		}
		sizes[e.Info] = n
	}
	return sizes
}

// nothing is a WIM without contents.
type nothing struct{}

func (nothing) Lookup(winfile.SHA1) (wof.Resource, bool) { return wof.Resource{}, false }

// Samples of contents: enough for an estimate that is some percent off.
const (
	samples     = 160
	sampleBytes = 64 << 10
)

// sampleRatio is how much smaller contents become, from parts of files that lie evenly in all bytes of a tree.
func sampleRatio(ctx context.Context, t *winfile.Tree) (float64, error) {
	var blobs []*winfile.Blob
	seen := make(map[*winfile.Blob]bool)
	total := int64(0)
	for _, e := range t.All() {
		if b := e.Info.Data; b != nil && b.Content != nil && !seen[b] {
			seen[b] = true
			blobs = append(blobs, b)
			total += b.Size
		}
	}
	slices.SortFunc(blobs, func(a, b *winfile.Blob) int { // near each other on the disk
		switch {
		case a.Order < b.Order:
			return -1
		case a.Order > b.Order:
			return 1
		}
		return 0
	})
	c := wof.NewCompactCompressor(wof.XPRESS4K)
	chunk := make([]byte, wof.XPRESS4K.ChunkSize())
	plain, stored := int64(0), int64(0)
	next, at := int64(0), int64(0)
	for _, b := range blobs {
		at += b.Size
		if at <= next {
			continue
		}
		weight := (at-next)/max(1, total/samples) + 1
		next += weight * max(1, total/samples)
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		part, err := head(b)
		if err != nil {
			return 0, err
		}
		for piece := range slices.Chunk(part, len(chunk)) {
			plain += weight * int64(len(piece))
			stored += weight * int64(c.Compress(chunk, piece))
		}
	}
	if plain == 0 {
		return 1, nil
	}
	return float64(stored) / float64(plain), nil
}

// checkRoom refuses what cannot end well.
func (p *Plan) checkRoom(s *source.Source) error {
	e := &p.Estimate
	const reserve = 64 << 20 // bytes that nobody plans with
	need := e.WIM
	if p.Form == VHD {
		need += e.Target
	}
	if p.Form == WholeDisk {
		need += e.Target + e.WIM
	}
	if e.Free >= 0 && need > e.Free {
		return ui.Hint(fmt.Errorf("%s: about %s are needed and %s are free", filepath.Dir(p.WIM), ui.Size(need), ui.Size(e.Free)),
			"choose another volume: 'husk detect' lists them")
	}
	if p.Inside && s.NTFS != nil && !p.begun && (p.Resumes == "" || p.Resumes == string(stepCapture)) {
		free, err := s.NTFS.FreeBytes()
		if err != nil {
			return fmt.Errorf("%s: %w", s.Path, err)
		}
		if e.WIM+reserve > free {
			return ui.Hint(fmt.Errorf("%s: the WIM needs about %s and %s are free on the volume", p.System, ui.Size(e.WIM+reserve), ui.Size(free)),
				"put the WIM onto another volume: --store=FOLDER")
		}
	}
	return nil
}

// uniqueName is a name that no image of a WIM has.
func uniqueName(r *wim.Reader, name string) string {
	taken := func(n string) bool {
		return slices.ContainsFunc(r.Images(), func(i *wim.Image) bool { return i.Name() == n })
	}
	if !taken(name) {
		return name
	}
	stamp := name + " " + time.Now().Format("2006-01-02 15:04:05")
	for n := 2; taken(stamp); n++ {
		stamp = fmt.Sprintf("%s %s (%d)", name, time.Now().Format("2006-01-02 15:04:05"), n)
	}
	return stamp
}

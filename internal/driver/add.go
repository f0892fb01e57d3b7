package driver

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"husk/internal/atomicfile"
	"husk/internal/inplace"
	"husk/internal/ondisk"
	"husk/internal/source"
	"husk/internal/ui"
	"husk/ntfs"
	"husk/pe"
	"husk/regf"
	"husk/winfile"
)

// maxDriver bounds the driver file, in bytes: Microsoft's have 200 KiB.
const maxDriver = 16 << 20

// FileAction is what happens to the driver's file.
type FileAction string

const (
	FileSame    FileAction = "same"    // it is there already
	FileNew     FileAction = "new"     // there is none
	FileReplace FileAction = "replace" // there is another one
)

// Plan is what adding the driver to a system comes to. Nothing is written before Apply.
type Plan struct {
	Target   string   // path of the file in the target
	Hive     string   // file that the settings are from; "" for the built-in ones
	Driver   *pe.Info // of the file to add
	Inbox    string   // why the system needs no such driver; then there is nothing else
	File     FileAction
	Old      *pe.Info // of the file to replace, if it is a program
	Sets     []string // control sets
	Changes  []Change // of the registry
	Update   *Update  // of 64-bit Windows 7; else nil
	Problems []error  // what speaks against it, with hints
	Fatal    error    // what cannot be overruled

	system  *System
	content []byte
}

// Versions of the driver. Those of the kits 1507 to 1607 start Windows 7; that of 1703 was signed badly.
var (
	firstGood = pe.Version{10, 0, 10240}
	badlyMade = pe.Version{10, 0, 15063}
	lastGood  = pe.Version{10, 0, 14393, 0xffff}
)

// Plan looks at a driver file and the system, and tells what would be done. hive is the kit's registration; "" means WofAdk.hiv beside
// the file, or the built-in one. warn hears of what may be wrong and is the user's to judge.
func (s *System) Plan(file, hive string, warn func(format string, args ...any)) (*Plan, error) {
	p := &Plan{system: s, Target: s.Facts.Folder + "/" + driversDir + "/" + fileName}
	if err := p.read(file); err != nil {
		return nil, err
	}
	if p.Inbox = s.inbox(); p.Inbox != "" {
		return p, nil
	}
	if err := s.canChange(); err != nil {
		return nil, err
	}
	p.judgeSystem()
	p.judgeDriver(warn)
	if err := p.compareFile(); err != nil {
		return nil, err
	}
	return p, p.changeHive(file, hive)
}

// read reads the driver. Only the overlay driver of the kit is known here: others come with an INF that says what they need.
func (p *Plan) read(file string) error {
	base := filepath.Base(file)
	if strings.EqualFold(base, "wof.sys") {
		return ui.Hint(fmt.Errorf("%s works in the Windows only that it came with", file), "take wofadk.sys from the Windows 10 ADK, version 1507 to 1607")
	}
	if !strings.EqualFold(base, fileName) {
		return ui.Hint(fmt.Errorf("%s is not %s, the driver that this command knows", file, fileName), "other drivers need what their INF says: add them with DISM, or with 'husk reg import'")
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return fmt.Errorf("%s is not a file", file)
	}
	if p.content, err = ondisk.ReadAt(f, 0, st.Size(), maxDriver); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if p.Driver, err = pe.Read(bytes.NewReader(p.content), int64(len(p.content))); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

// inbox tells how the system can read pointer files by itself.
func (s *System) inbox() string {
	for _, d := range s.Facts.BootDrivers {
		if strings.EqualFold(d.Name, "Wof") {
			if e := s.Source.Tree.Lookup(s.Facts.Folder + "/" + d.Image); e != nil {
				return "its own service Wof with " + s.Facts.Folder + "/" + d.Image
			}
		}
	}
	if s.Facts.Major > 6 || s.Facts.Major == 6 && s.Facts.Minor >= 3 {
		return fmt.Sprintf("Windows %d.%d, which has wof.sys", s.Facts.Major, s.Facts.Minor)
	}
	return ""
}

// canChange refuses in time what Apply could not write.
func (s *System) canChange() error {
	switch {
	case s.Source.Kind == source.WIM, s.Source.Kind == source.Optical:
		return ui.Hint(fmt.Errorf("%s: an image cannot be changed in place", s.Source.Path), "apply the image to a disk or folder, add the driver there, and capture it again")
	case s.Source.Kind == source.Volume && s.Source.NTFS == nil:
		return fmt.Errorf("%s: changing volumes that are not NTFS: %w", s.Source.Path, errors.ErrUnsupported)
	}
	if r := s.Hive.Recovery; r.Dirty && !r.Complete {
		return ui.Hint(fmt.Errorf("%s: %s: %w", s.Source.Path, s.hivePath, regf.ErrDirty), "let the Windows it belongs to shut down cleanly, then try again")
	}
	return nil
}

func (p *Plan) problem(err error) { p.Problems = append(p.Problems, err) }

// judgeSystem asks whether the system can have the driver at all.
func (p *Plan) judgeSystem() {
	f := p.system.Facts
	name := p.system.Source.Path
	switch {
	case f.Major == 0:
		p.problem(ui.Hint(fmt.Errorf("%s: which Windows it is does not show from the registry", name), "if you know that it is Windows 7 SP1 or 8, use --force"))
	case f.Major < 6 || f.Major == 6 && f.Minor < 1:
		p.problem(ui.Hint(fmt.Errorf("%s: Windows %d.%d, want 6.1 (Windows 7) or 6.2 (Windows 8)", name, f.Major, f.Minor), "the driver is not known to load on older systems"))
	case f.Minor == 1 && f.Build < servicePack1:
		p.problem(ui.Hint(fmt.Errorf("%s: Windows 7 build %d has no Service Pack 1", name, f.Build), "install Service Pack 1 first: the driver and its signature need it"))
	}
	if !p.system.bootStart("FltMgr") {
		p.problem(ui.Hint(fmt.Errorf("%s: the filter manager (service FltMgr) is not started at boot", name), "set it back: husk reg set %s SYSTEM 'CurrentControlSet\\Services\\FltMgr' Start 0 --type=REG_DWORD", name))
	}
	want, known := machines[f.Arch]
	switch {
	case f.Arch < 0:
		p.problem(ui.Hint(fmt.Errorf("%s: its architecture is not known", name), "if you know that it is %s, use --force", MachineName(p.Driver.Machine)))
	case !known || want != p.Driver.Machine:
		p.Fatal = ui.Hint(fmt.Errorf("the driver is for %s, the system %s is %s", MachineName(p.Driver.Machine), name, archName(f.Arch)), "take the driver for the system's architecture: the ADK has both, below Deployment Tools")
	}
}

// judgeDriver looks at version and signature.
func (p *Plan) judgeDriver(warn func(format string, args ...any)) {
	v, f := p.Driver.FileVersion, p.system.Facts
	switch {
	case v == pe.Version{}:
		warn("the driver does not say its version; those of the Windows 10 ADK 1507 to 1607 (10.0.10240 to 10.0.14393) are known to work")
	case v[0] == badlyMade[0] && v[2] == badlyMade[2]:
		warn("the driver is version %s, of the ADK 1703, whose drivers had a bad signature: take that of 1607 (10.0.14393)", v)
	case v.Compare(firstGood) < 0 || v.Compare(lastGood) > 0:
		warn("the driver is version %s; those of the Windows 10 ADK 1507 to 1607 (10.0.10240 to 10.0.14393) are known to work", v)
	}
	if p.Driver.Machine == pe.MachineI386 {
		return // 32-bit systems take unsigned drivers
	}
	if !p.Driver.Signed || len(p.Driver.Digests) == 0 {
		p.problem(ui.Hint(errors.New("the driver has no signature, and 64-bit Windows starts none without (0xC0000428)"), "take the signed file from the ADK"))
		return
	}
	if f.Major != 6 || f.Minor != 1 {
		return // later ones know SHA-2
	}
	p.Update = p.system.findUpdate()
	p.Update.Needed = !slices.Contains(p.Driver.Digests, "SHA-1")
	switch {
	case !p.Update.Needed:
		return
	case !p.Update.OK:
		p.problem(ui.Hint(fmt.Errorf("the driver is signed with %s alone, which this Windows 7 cannot check without the update %s (0xC0000428 at the start): %s",
			strings.Join(p.Driver.Digests, ", "), updateName, p.Update.missing()),
			"put the update KB3033929, the roll-up KB3125574 or a later monthly one into the system with DISM, or take a driver with a SHA-1 signature too"))
	case p.Update.Loader != (pe.Version{}) && !updatedLoader(p.Update):
		warn("winload.exe is %s, older than the update: if the start ends with 0xC0000428, install the update again", p.Update.Loader)
	}
}

// updatedLoader reports whether the loader is not that of Service Pack 1 itself.
func updatedLoader(u *Update) bool {
	const ownRevision = 17514
	return u.Loader.Compare(pe.Version{6, 1, servicePack1, ownRevision}) > 0
}

// compareFile finds out what happens to the file.
func (p *Plan) compareFile() error {
	s := p.system
	e := s.Source.Tree.Lookup(p.Target)
	if e == nil {
		p.File = FileNew
		return nil
	}
	if e.Info.IsDir() {
		return fmt.Errorf("%s: %s is a folder", s.Source.Path, p.Target)
	}
	p.File = FileReplace
	if isOverlay(e) || e.Info.Data == nil {
		return nil // as a pointer it could not be loaded
	}
	old, err := e.Info.Data.ReadAll(maxDriver)
	if err != nil {
		return fmt.Errorf("%s: %s: %w", s.Source.Path, p.Target, err)
	}
	if bytes.Equal(old, p.content) {
		p.File = FileSame
	}
	if info, err := pe.Read(bytes.NewReader(old), int64(len(old))); err == nil {
		p.Old = info
	}
	return nil
}

// changeHive sets the service in the hive in memory.
func (p *Plan) changeHive(file, hive string) (err error) {
	settings := builtin()
	if hive == "" {
		if hive, err = hiveBeside(file); err != nil {
			return err
		}
	}
	if p.Hive = hive; hive != "" {
		if settings, err = imported(hive); err != nil {
			return ui.Hint(err, "the kit's hive cannot be used: without it beside the driver the built-in values are set")
		}
	}
	sets, err := controlSets(p.system.Hive.Root())
	if err != nil {
		return err
	}
	if len(sets) == 0 {
		return fmt.Errorf("%s: %s has no control set", p.system.Source.Path, p.system.hivePath)
	}
	p.system.Hive.Now = winfile.FiletimeOf(time.Now())
	for _, set := range sets {
		changes, err := register(set, settings)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", p.system.Source.Path, p.system.hivePath, err)
		}
		p.Sets = append(p.Sets, set.Name())
		p.Changes = append(p.Changes, changes...)
	}
	return nil
}

// Nothing reports whether all is as it should be already.
func (p *Plan) Nothing() bool { return p.Inbox != "" || p.File == FileSame && len(p.Changes) == 0 }

// Apply writes file and hive: both, or neither.
func (p *Plan) Apply() error {
	if p.Nothing() {
		return nil
	}
	if p.Fatal != nil {
		return p.Fatal
	}
	hive, err := p.system.Hive.Bytes()
	if err != nil {
		return fmt.Errorf("%s: %s: %w", p.system.Source.Path, p.system.hivePath, err)
	}
	if p.system.Source.Kind == source.Folder {
		return p.applyFolder(hive)
	}
	return p.applyVolume(hive)
}

// applyVolume changes the volume in one transaction.
func (p *Plan) applyVolume(hive []byte) error {
	return p.system.edit(func(e *ntfs.Editor) error {
		if err := p.editFile(e); err != nil || len(p.Changes) == 0 {
			return err
		}
		return e.Replace(p.system.hivePath, winfile.NewBlob(hive))
	})
}

// edit changes the volume of the system: all that change does, or nothing.
func (s *System) edit(change func(e *ntfs.Editor) error) error {
	path := s.Source.Path
	pending := inplace.Pending(path)
	v, err := inplace.Open(path, s.Source.Part.Number)
	if err != nil {
		return err
	}
	if pending { // the plan was made from a volume in the middle of a change
		err = ui.Hint(errors.New("a change that was interrupted has been completed or dropped first"), "run the command again")
	} else if err = change(v.Editor); err == nil {
		err = v.Editor.Commit()
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return errors.Join(err, v.Close())
}

func (p *Plan) editFile(e *ntfs.Editor) error {
	switch p.File {
	case FileReplace:
		return e.Replace(p.Target, winfile.NewBlob(p.content))
	case FileNew:
		dir := p.system.Facts.Folder + "/" + driversDir
		if p.system.Source.Tree.Lookup(dir) == nil {
			if err := e.Mkdir(dir); err != nil {
				return err
			}
		}
		return e.Add(p.Target, &winfile.Info{Attributes: winfile.AttrArchive, Links: 1, Data: winfile.NewBlob(p.content)})
	}
	return nil
}

// applyFolder writes both files beside their names before either gets it. If the second cannot, the first is taken back.
func (p *Plan) applyFolder(hive []byte) (err error) {
	src := p.system.Source
	var done []func() error
	defer func() {
		if err != nil {
			for _, undo := range slices.Backward(done) {
				err = errors.Join(err, undo())
			}
		}
	}()
	var commits []func() error
	if p.File != FileSame {
		name, err := hostPath(src, p.Target)
		if err != nil {
			return err
		}
		if err := os.Mkdir(filepath.Dir(name), 0o755); err == nil {
			done = append(done, func() error { return os.Remove(filepath.Dir(name)) })
		} else if !errors.Is(err, fs.ErrExist) {
			return err
		}
		old, err := os.ReadFile(name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		f, err := newFile(name, p.content)
		if err != nil {
			return err
		}
		defer f.Abort()
		commits = append(commits, func() error {
			err := f.Commit()
			if err == nil {
				done = append(done, func() error { return putBack(name, old, p.File == FileNew) })
			}
			return err
		})
	}
	if len(p.Changes) > 0 {
		name, err := hostPath(src, p.system.hivePath)
		if err != nil {
			return err
		}
		f, err := newFile(name, hive)
		if err != nil {
			return err
		}
		defer f.Abort()
		commits = append(commits, f.Commit)
	}
	for _, commit := range commits {
		if err := commit(); err != nil {
			return err
		}
	}
	return nil
}

// newFile writes a file under a temporary name, with the permissions of the one that it replaces.
func newFile(name string, b []byte) (*atomicfile.File, error) {
	f, err := atomicfile.Create(name, true)
	if err != nil {
		return nil, err
	}
	if st, statErr := os.Stat(name); statErr == nil {
		if err = os.Chmod(f.Name(), st.Mode().Perm()); errors.Is(err, fs.ErrPermission) {
			err = nil
		}
	}
	if err == nil {
		_, err = f.Write(b)
	}
	if err != nil {
		f.Abort()
		return nil, err
	}
	return f, nil
}

// putBack makes a file what it was.
func putBack(name string, old []byte, none bool) error {
	if none {
		return os.Remove(name)
	}
	f, err := newFile(name, old)
	if err != nil {
		return err
	}
	defer f.Abort()
	return f.Commit()
}

// hostPath is where a path of the tree is in the file system of this host: names as they are written there, as far as they exist.
func hostPath(src *source.Source, path string) (string, error) {
	e := src.Tree.Root
	name := src.Path
	for part := range strings.SplitSeq(path, "/") {
		if e != nil {
			if e = e.Child(part); e != nil {
				part = e.Name
			}
		}
		if !filepath.IsLocal(part) {
			return "", fmt.Errorf("%s: a name that this system cannot have: %q", src.Path, part)
		}
		name = filepath.Join(name, part)
	}
	return name, nil
}

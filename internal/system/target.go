package system

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"husk/internal/disk"
	"husk/internal/inplace"
	"husk/internal/place"
	"husk/internal/source"
	"husk/internal/ui"
	"husk/internal/winsys"
	"husk/ntfs"
	"husk/winfile"
	"husk/wof"
)

// Form is how the files of a system are kept.
type Form string

const (
	Same     Form = ""        // as the system has it
	Pointers Form = "wimboot" // in the layers of the store, as far as Windows allows
	Compact  Form = "compact" // compressed, on the disk
	Plain    Form = "plain"
)

// target is the system that is to be changed: its disk is locked until it is closed.
type target struct {
	path   string
	number int // of the partition, as the user gave it; 0 means the only one
	edit   *disk.Edit
	part   *disk.Partition
	device bool // not a file that another can be put in the place of

	// What is on it; nil if it cannot be read.
	src     *source.Source // with contents: pointer and compact files are resolved, or have what their pointers say
	overlay *wof.Overlay   // may be nil
	form    Form
	alg     wof.Algorithm // of compact files
	uefi    bool          // its loader reads pointers or compact files
	damage  error         // why it cannot be read
}

// parseSystem parts DISK[:PARTITION].
func parseSystem(spec string) (path string, number int, err error) {
	path, selector := source.Split(spec)
	if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() { // a link stays one: what is made beside a disk is made where the disk is
		if path, err = filepath.EvalSymlinks(path); err != nil {
			return "", 0, err
		}
	}
	if source.IsWIM(path) || source.IsDisc(path) {
		return "", 0, ui.Usage(fmt.Errorf("%s is an image and no system: want a disk", path))
	}
	if selector != "" {
		if number, err = strconv.Atoi(selector); err != nil || number < 1 {
			return "", 0, ui.Usage(fmt.Errorf("%s: want a partition number after the colon", spec))
		}
	}
	return path, number, nil
}

// openTarget locks the disk of a system and reads what is on it.
func openTarget(ctx context.Context, spec string, wims []string, u *ui.UI) (_ *target, err error) {
	t := &target{}
	if t.path, t.number, err = parseSystem(spec); err != nil {
		return nil, err
	}
	st, err := os.Stat(t.path)
	if err != nil {
		return nil, err
	}
	if st.IsDir() {
		return nil, ui.Usage(fmt.Errorf("%s is a folder, want the disk of a system", t.path))
	}
	t.device = st.Mode()&os.ModeDevice != 0
	if inplace.Pending(t.path) { // what is on the disk is only known when that is done
		v, err := inplace.Open(t.path, t.number)
		if err == nil {
			err = v.Close()
		}
		if err != nil && !inplace.Refused(err) {
			return nil, err
		}
		t.damage = err
	}
	if t.edit, err = disk.OpenEdit(t.path); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.close())
		}
	}()
	if t.number == 0 {
		t.part, err = t.edit.NTFS()
	} else {
		t.part, err = t.edit.Partition(t.number)
	}
	if err != nil {
		return nil, err
	}
	if !t.part.NTFS && !t.wasNTFS() {
		return nil, ui.Hint(fmt.Errorf("%s: partition %d is no NTFS volume", t.path, t.part.Number), "'husk info %s' lists the partitions", t.path)
	}
	if t.damage != nil {
		return t, nil
	}
	if t.damage = t.read(ctx, wims, u); t.damage != nil && ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return t, nil
}

// wasNTFS reports whether the partition has the copy of the boot sector that NTFS keeps at its end.
func (t *target) wasNTFS() bool {
	sector := make([]byte, t.edit.SectorSize)
	if t.part.Size < int64(len(sector)) {
		return false
	}
	if _, err := t.edit.Section(t.part).ReadAt(sector, t.part.Size-int64(len(sector))); err != nil {
		return false
	}
	return strings.HasPrefix(string(sector[3:]), "NTFS    ")
}

func (t *target) close() error {
	var errs []error
	if t.src != nil {
		errs = append(errs, t.src.Close())
		t.src = nil
	}
	if t.edit != nil {
		errs = append(errs, t.edit.Close())
		t.edit = nil
	}
	return errors.Join(errs...)
}

// spec names the system.
func (t *target) spec() string {
	if t.number == 0 {
		return t.path
	}
	return t.path + ":" + strconv.Itoa(t.number)
}

// read reads the tree of the system and how its files are kept.
func (t *target) read(ctx context.Context, wims []string, u *ui.UI) error {
	s, err := source.FromDisk(ctx, &t.edit.Disk, t.part, &source.Options{Raw: true, WIMs: wims, Warn: u.Warn})
	if err != nil {
		return err
	}
	t.src = s
	if t.overlay, err = wof.ReadOverlay(s.Tree); err != nil {
		t.overlay = nil
	}
	t.formOf(s)
	if err := s.Resolve(s.Tree, &source.Options{WIMs: wims, Warn: u.Warn}); err != nil {
		u.Warn("%s", err)
	}
	claim(s.Tree)
	return nil
}

// formOf finds in which form most of the files of the system are.
func (t *target) formOf(s *source.Source) {
	m, _ := place.New(s) // the form of a file does not need the overlay
	var pointers, compact int
	algorithms := make(map[wof.Algorithm]int)
	for _, e := range s.Tree.All() {
		switch m.KindOf(e.Info) {
		case place.WIM:
			pointers++
		case place.Compact:
			compact++
			if c, err := wof.CompactOf(e.Info.Reparse); err == nil {
				algorithms[c.Algorithm]++
			}
		}
	}
	switch {
	case pointers >= compact && pointers > 0:
		t.form = Pointers
	case compact > 0:
		t.form = Compact
		for a, n := range algorithms {
			if n > algorithms[t.alg] || n == algorithms[t.alg] && a < t.alg {
				t.alg = a
			}
		}
	default:
		t.form = Plain
	}
	if dir := winsys.Folder(s.Tree); dir != "" {
		for _, name := range []string{"/System32/ntoskrnl.exe", "/System32/winload.efi"} {
			if e := s.Tree.Lookup(dir + name); e != nil {
				k := m.KindOf(e.Info)
				t.uefi = t.uefi || k == place.WIM || k == place.Compact
			}
		}
	}
}

// volumeFacts are the properties of the old volume that the new one keeps.
func (t *target) volumeFacts() (label string, serial uint64, cluster int, boot []byte, err error) {
	const bootSize = 8 << 10
	section := t.edit.Section(t.part)
	boot = make([]byte, bootSize)
	if _, err := section.ReadAt(boot, 0); err != nil && !errors.Is(err, io.EOF) {
		return "", 0, 0, nil, err
	}
	if !strings.HasPrefix(string(boot[3:]), "NTFS    ") {
		boot = nil
	}
	v, err := ntfs.NewReader(section, t.part.Size)
	if err != nil {
		return "", 0, 0, boot, nil // it is damaged; its boot code may be all the same
	}
	return v.Label, v.Serial, v.ClusterSize, boot, nil
}

// lookup finds a path in a tree by its exact components, ignoring case: unlike winfile.Tree.Lookup it takes no short name for a long one.
func lookup(t *winfile.Tree, path string) *winfile.Entry {
	e := t.Root
	if path == "." {
		return e
	}
	for part := range strings.SplitSeq(path, "/") {
		if e = childOf(e, part); e == nil {
			return nil
		}
	}
	return e
}

func childOf(e *winfile.Entry, name string) *winfile.Entry {
	var fold *winfile.Entry
	for _, c := range e.Children {
		if c.Name == name {
			return c
		}
		if fold == nil && winfile.EqualFold(c.Name, name) {
			fold = c
		}
	}
	return fold
}

package driver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"husk/internal/source"
	"husk/internal/ui"
	"husk/internal/winsys"
	"husk/pe"
	"husk/regf"
	"husk/winfile"
)

// System is an offline Windows system that is open for looking at its drivers.
type System struct {
	Source *source.Source // as it is on its volume: pointer files are pointer files
	Facts  *winsys.Facts
	Hive   *regf.Hive // SYSTEM

	hivePath string
	resolved *source.Source // with the contents of pointer files; nil if no file that matters is one
	absent   error          // why there is no resolved source
}

// Open opens the system in FILE[:IMAGE] or a folder. warn hears of what is odd and does no harm.
func Open(ctx context.Context, spec string, warn func(format string, args ...any)) (_ *System, err error) {
	src, err := source.Open(ctx, spec, &source.Options{Warn: warn, Exclude: unneeded, Raw: true})
	if err != nil {
		return nil, err
	}
	s := &System{Source: src}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	dir := winsys.Folder(src.Tree)
	if dir == "" {
		return nil, ui.Hint(fmt.Errorf("%s: no Windows folder", src.Path), "name the folder or the partition that Windows is on: FILE:NUMBER")
	}
	s.hivePath = dir + "/System32/config/SYSTEM"
	if s.hasPointers(dir) {
		s.resolved, s.absent = source.Open(ctx, spec, &source.Options{Exclude: unneeded})
		if s.absent != nil {
			s.resolved = nil
		}
	}
	if s.Facts, err = winsys.Read(s.tree()); err != nil && s.absent == nil {
		return nil, fmt.Errorf("%s: %w", src.Path, err)
	}
	if s.Facts.Arch < 0 {
		s.Facts.Arch = ArchOf(s.tree(), dir)
	}
	if s.Hive, err = winsys.OpenHive(s.tree(), s.hivePath); err != nil {
		return nil, fmt.Errorf("%s: %w", src.Path, err)
	}
	return s, nil
}

// Close closes the files.
func (s *System) Close() error {
	err := s.Source.Close()
	if s.resolved != nil {
		err = errors.Join(err, s.resolved.Close())
	}
	return err
}

// tree is where contents are read.
func (s *System) tree() *winfile.Tree {
	if s.resolved != nil {
		return s.resolved.Tree
	}
	return s.Source.Tree
}

// wanted are the names below the Windows folder that matter, in lower case; * stands for any ending.
var wanted = []string{
	"system32/config/system*", "system32/config/software*", "system32/kernel32.dll", "system32/ntoskrnl.exe", "system32/ci.dll",
	"system32/winload.*", "system32/*.sys", "system32/drivers/*",
	"system32/catroot/{f750e6c3-38ee-11d1-85e5-00c04fc295ee}/package*",
}

// unneeded keeps the scan of a folder to what matters.
func unneeded(name string, isDir bool) bool {
	names := strings.Split(strings.ToLower(name), "/")[1:] // whatever the Windows folder is called
	for _, w := range wanted {
		parts := strings.Split(w, "/")
		if len(names) > len(parts) || !isDir && len(names) < len(parts) {
			continue
		}
		same := true
		for i, n := range names {
			ok, err := path.Match(parts[i], n)
			same = same && err == nil && ok
		}
		if same {
			return false
		}
	}
	return true
}

// hasPointers reports whether a file that matters is a pointer or compact.
func (s *System) hasPointers(dir string) bool {
	top := s.Source.Tree.Lookup(dir)
	for name, e := range (&winfile.Tree{Root: top}).All() {
		if isOverlay(e) && !unneeded(dir+"/"+name, false) {
			return true
		}
	}
	return false
}

// isOverlay reports whether a file is a pointer or compact: one that only the overlay driver can read.
func isOverlay(e *winfile.Entry) bool {
	return e.Info.Reparse != nil && e.Info.Reparse.Tag == winfile.TagWOF
}

// maxProgram bounds the program files that are read: a kernel has 10 MiB.
const maxProgram = 64 << 20

// program reads what a program file below the Windows folder says of itself.
func (s *System) program(name string) (*pe.Info, error) {
	e := s.tree().Lookup(s.Facts.Folder + "/" + name)
	switch {
	case e == nil || e.Info.IsDir():
		return nil, &fs.PathError{Op: "read", Path: name, Err: fs.ErrNotExist}
	case isOverlay(e):
		return nil, fmt.Errorf("%s: a pointer file: %w", name, s.absent)
	case e.Info.Data == nil:
		return nil, fmt.Errorf("%s: %w: it is empty", name, pe.ErrFormat)
	}
	b, err := e.Info.Data.ReadAll(maxProgram)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	i, err := pe.Read(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return i, nil
}

// Boot is a driver that the boot loader loads.
type Boot struct {
	winsys.Driver
	Info    *pe.Info // nil if the file is missing or no program
	Missing bool
	Pointer bool  // the file is a pointer or compact: on a BIOS, and before Windows 8.1, the loader cannot read it
	Foreign bool  // it is for another machine than the system
	Err     error // why Info is nil, unless Missing
}

// BootDrivers lists the boot-start drivers in the order of their keys.
func (s *System) BootDrivers() []Boot {
	var list []Boot
	for _, d := range s.Facts.BootDrivers {
		b := Boot{Driver: d}
		if e := s.Source.Tree.Lookup(s.Facts.Folder + "/" + d.Image); e != nil {
			b.Pointer = isOverlay(e)
		}
		b.Info, b.Err = s.program(d.Image)
		if errors.Is(b.Err, fs.ErrNotExist) {
			b.Missing, b.Err = true, nil
		}
		b.Foreign = b.Info != nil && s.Facts.Arch >= 0 && machines[s.Facts.Arch] != b.Info.Machine
		list = append(list, b)
	}
	return list
}

// machines of program files by processor architecture.
var machines = map[int]uint16{0: pe.MachineI386, 9: pe.MachineAMD64, 12: pe.MachineARM64}

// MachineName is what people call a machine of program files.
func MachineName(machine uint16) string {
	switch machine {
	case pe.MachineI386:
		return "x86"
	case pe.MachineAMD64:
		return "x64"
	case pe.MachineARM64:
		return "arm64"
	}
	return fmt.Sprintf("%#x", machine)
}

// archName is what people call a processor architecture.
func archName(arch int) string {
	if m, ok := machines[arch]; ok {
		return MachineName(m)
	}
	return "unknown"
}

// controlSets are the keys ControlSet001 and so on that the hive has.
func controlSets(root *regf.Key) ([]*regf.Key, error) {
	keys, err := root.Subkeys()
	if err != nil {
		return nil, err
	}
	var sets []*regf.Key
	for _, k := range keys {
		digits, ok := strings.CutPrefix(strings.ToLower(k.Name()), "controlset")
		if ok && len(digits) == 3 && strings.Trim(digits, "0123456789") == "" {
			sets = append(sets, k)
		}
	}
	return sets, nil
}

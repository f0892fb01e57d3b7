// Package registry opens the hives that users name, finds keys by the names that running systems have for them, and puts changed
// hives back: into their file, or into the volume they are on.
package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"husk/internal/atomicfile"
	"husk/internal/disk"
	"husk/internal/source"
	"husk/internal/ui"
	"husk/internal/winsys"
	"husk/regf"
	"husk/winfile"
)

// Hive is an open hive and where it came from.
type Hive struct {
	*regf.Hive
	Name string // for messages: "SYSTEM", "win7.vhd: Windows/System32/config/SYSTEM"

	base   string         // last name of the path, in upper case
	file   string         // the hive file, if it is one of this host
	source *source.Source // else where it is
	disk   *disk.Disk     // and the disk of that, if it is on one
	path   string         // and under which slash path
	set    string         // control set that CurrentControlSet stands for; "" if the hive has none
}

// Open opens the hive that the first of args name: a hive file, or a source (FILE[:IMAGE] or a folder) and the name or path of a hive in
// it. It returns the arguments that are left.
func Open(ctx context.Context, args []string, warn func(format string, args ...any)) (_ *Hive, rest []string, err error) {
	if IsHive(args[0]) {
		h := &Hive{Name: args[0], file: args[0], base: strings.ToUpper(filepath.Base(args[0]))}
		if h.Hive, err = regf.Open(args[0]); err != nil {
			return nil, nil, err
		}
		return h, args[1:], h.opened(warn)
	}
	if len(args) < 2 {
		if st, err := os.Stat(args[0]); err == nil && st.Mode().IsRegular() && !source.IsWIM(args[0]) {
			return nil, nil, ui.Hint(fmt.Errorf("%s: %w", args[0], regf.ErrNotHive), "for a hive on a disk, name the disk and the hive: %s SYSTEM", args[0])
		}
		return nil, nil, ui.Usage(fmt.Errorf("%s: want the name of a hive in it, such as SYSTEM", args[0]))
	}
	h := &Hive{}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.Close())
		}
	}()
	if err := h.find(ctx, args[0], args[1], warn); err != nil {
		return nil, nil, err
	}
	s, path := h.source, h.path
	h.Name, h.base = s.Path+": "+path, strings.ToUpper(path[strings.LastIndexByte(path, '/')+1:])
	if h.Hive, err = winsys.OpenHive(s.Tree, path); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", s.Path, err)
	}
	if s.Kind == source.Folder {
		h.file = filepath.Join(s.Path, filepath.FromSlash(actualPath(s.Tree, path)))
	}
	return h, args[2:], h.opened(warn)
}

// IsHive reports whether a file starts as a hive does.
func IsHive(name string) bool {
	if st, err := os.Stat(name); err != nil || !st.Mode().IsRegular() {
		return false
	}
	f, err := os.Open(name)
	if err != nil {
		return false
	}
	defer f.Close()
	var magic [4]byte
	_, err = io.ReadFull(f, magic[:])
	return err == nil && string(magic[:]) == "regf"
}

// onlyHives keeps the scan of a folder to the names where hives can be: those of Windows, and the path that is asked for.
func onlyHives(asked string) func(path string, isDir bool) bool {
	want := []string{"*/system32/config/*", "*/system32/kernel32.dll", "boot/bcd*", "efi/microsoft/boot/bcd*"}
	want = append(want, strings.ToLower(strings.Trim(strings.ReplaceAll(asked, `\`, "/"), "/"))+"*")
	return func(path string, isDir bool) bool {
		names := strings.Split(strings.ToLower(path), "/")
		return !slices.ContainsFunc(want, func(w string) bool {
			parts := strings.Split(w, "/")
			if len(names) > len(parts) || !isDir && len(names) < len(parts) {
				return false
			}
			for i, n := range names {
				begin, any := strings.CutSuffix(parts[i], "*")
				if n != begin && !(any && strings.HasPrefix(n, begin)) {
					return false
				}
			}
			return true
		})
	}
}

// actualPath is a path as its names are written in the tree.
func actualPath(t *winfile.Tree, path string) string {
	e := t.Root
	var names []string
	for part := range strings.SplitSeq(path, "/") {
		e = e.Child(part)
		names = append(names, e.Name)
	}
	return strings.Join(names, "/")
}

// opened tells of the state the hive was found in.
func (h *Hive) opened(warn func(format string, args ...any)) error {
	if set, err := winsys.ControlSet(h.Root()); err == nil {
		h.set = set
	}
	switch r := h.Recovery; {
	case !r.Dirty:
	case r.Complete:
		warn("%s was not closed cleanly (%s); its log was replayed: %s", h.Name, r.Reason, ui.Size(r.Bytes))
	default:
		warn("%s was not closed cleanly (%s), and its logs are missing or do not help: the latest changes are not in it", h.Name, r.Reason)
	}
	for _, n := range h.Recovery.Notes {
		warn("%s: %s", h.Name, n)
	}
	return nil
}

// Close closes the source.
func (h *Hive) Close() (err error) {
	if h.source != nil {
		err = h.source.Close()
	}
	if h.disk != nil {
		err = errors.Join(err, h.disk.Close())
	}
	return err
}

const (
	machine    = `HKEY_LOCAL_MACHINE`
	currentSet = "CurrentControlSet"
)

// Prefix is what the root of the hive is called in the registry of a running system.
func (h *Hive) Prefix() string {
	switch h.base {
	case "DEFAULT":
		return `HKEY_USERS\.DEFAULT`
	case "NTUSER.DAT":
		return "HKEY_CURRENT_USER"
	case "USRCLASS.DAT":
		return `HKEY_CURRENT_USER\Software\Classes`
	case "BCD":
		return machine + `\BCD00000000`
	}
	return machine + `\` + h.base
}

var rootNames = map[string]string{
	"HKLM": machine, "HKCU": "HKEY_CURRENT_USER", "HKU": "HKEY_USERS", "HKCR": "HKEY_CLASSES_ROOT", "HKCC": "HKEY_CURRENT_CONFIG",
}

// Relative turns a full name such as HKLM\SYSTEM\CurrentControlSet\Services into a path below the root of the hive, which stands
// for prefix. A name elsewhere is an error.
func (h *Hive) Relative(name, prefix string) (string, error) {
	full, under := fullName(name), fullName(prefix)
	if !winfile.EqualFold(full, under) {
		n := len(under)
		if len(full) <= n || full[n] != '\\' || !winfile.EqualFold(full[:n], under) {
			return "", fmt.Errorf("key %s is not below %s, which the hive is", full, under)
		}
		return h.Path(full[n+1:]), nil
	}
	return "", nil
}

// fullName expands HKLM and its like.
func fullName(name string) string {
	name = strings.Trim(name, `\`)
	root, rest, more := strings.Cut(name, `\`)
	if full := rootNames[strings.ToUpper(root)]; full != "" {
		root = full
	}
	if !more {
		return root
	}
	return root + `\` + rest
}

// Path turns a path below the root, or a full name, into one below the root: CurrentControlSet becomes the set that Windows would
// use.
func (h *Hive) Path(path string) string {
	path = strings.Trim(path, `\`)
	first, _, _ := strings.Cut(path, `\`)
	if up := strings.ToUpper(first); strings.HasPrefix(up, "HKEY_") || rootNames[up] != "" {
		if below, err := h.Relative(path, h.Prefix()); err == nil {
			return below
		}
	}
	return h.inSet(path)
}

// Place is Path for a key that is to be made: a full name that is not below the root of the hive is an error, where Path would take it for
// the name of a key.
func (h *Hive) Place(path string) (string, error) {
	below := h.Path(path)
	first, _, _ := strings.Cut(below, `\`)
	if up := strings.ToUpper(first); !strings.HasPrefix(up, "HKEY_") && rootNames[up] == "" {
		return below, nil
	}
	if _, err := h.Root().Subkey(first); err == nil {
		return below, nil // there is a key of such a name
	}
	return h.Relative(path, h.Prefix())
}

// inSet makes CurrentControlSet at the start of a path the set that Windows would use.
func (h *Hive) inSet(path string) string {
	first, rest, more := strings.Cut(path, `\`)
	if h.set == "" || !winfile.EqualFold(first, currentSet) {
		return path
	}
	if _, err := h.Root().Subkey(first); err == nil {
		return path // it is there itself
	}
	if !more {
		return h.set
	}
	return h.set + `\` + rest
}

// Touch makes changes from here on carry the present time.
func (h *Hive) Touch() { h.Now = winfile.FiletimeOf(time.Now()) }

// CanSave says in time what Save would refuse.
func (h *Hive) CanSave() error {
	if r := h.Recovery; r.Dirty && !r.Complete {
		return ui.Hint(fmt.Errorf("%s: %w", h.Name, regf.ErrDirty), "put its logs (.LOG1, .LOG2) beside it, or let the Windows it belongs to shut down cleanly")
	}
	switch {
	case h.file != "":
		return atomicfile.Check(h.file, true)
	case h.source.Kind == source.Optical:
		return ui.Hint(fmt.Errorf("%s: changing an ISO image: %w", h.source.Path, errors.ErrUnsupported), "write a changed copy with --output")
	case h.source.Kind == source.WIM:
		return ui.Hint(fmt.Errorf("%s: %w", h.Name, errWIM), "apply the image to a disk, change the hive there and capture it again; or write a changed copy with --output")
	}
	return nil
}

var errWIM = errors.New("a hive inside a WIM cannot be changed in place")

// Save puts the hive back where it came from.
func (h *Hive) Save() error {
	if err := h.CanSave(); err != nil {
		return err
	}
	if h.file != "" {
		return h.SaveAs(h.file, true)
	}
	b, err := h.Bytes()
	if err != nil {
		return fmt.Errorf("%s: %w", h.Name, err)
	}
	return h.replaceInVolume(b)
}

// SaveAs writes the hive to a file, which appears complete or not at all. One that exists is an fs.ErrExist error without replace.
func (h *Hive) SaveAs(name string, replace bool) error {
	b, err := h.Bytes()
	if err != nil {
		return fmt.Errorf("%s: %w", h.Name, err)
	}
	f, err := atomicfile.Create(name, replace)
	if err != nil {
		return err
	}
	defer f.Abort()
	if st, err := os.Stat(name); err == nil {
		if err := os.Chmod(f.Name(), st.Mode().Perm()); err != nil && !errors.Is(err, fs.ErrPermission) {
			return err
		}
	}
	if _, err := f.Write(b); err != nil {
		return err
	}
	return f.Commit()
}

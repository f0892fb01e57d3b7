package install

import (
	"fmt"
	"path/filepath"
	"strings"

	"husk/bcd"
	"husk/guid"
	"husk/internal/ui"
	"husk/winfile"
)

// menu is one boot store and where it belongs.
type menu struct {
	path string
	efi  bool
	main bool // on the partition with Windows, else on the one before
}

// newIDs gives the ids of the system one after the other.
func (s *System) newIDs() func() guid.GUID {
	ids := s.ids[:]
	return func() guid.GUID {
		id := ids[0]
		ids = ids[1:]
		return id
	}
}

// locale is the language of the boot menu; "" means English.
func (b *builder) locale() string {
	if b.o.Locale != "" {
		return b.o.Locale
	}
	return b.boot.facts.DefaultLanguage
}

// Entry is what one line of a boot menu starts.
type Entry struct {
	Store  string `json:"store"` // slash path on the volume that the firmware reads
	ID     string `json:"id"`
	Title  string `json:"title"`
	Device string `json:"device"`
	Path   string `json:"path"`
}

// listMenu tells of the entries of a store.
func (b *builder) listMenu(store *bcd.Store, m menu) error {
	entries, err := store.Entries()
	if err != nil {
		return err
	}
	for _, o := range entries {
		l := Entry{Store: m.path, ID: bcd.Alias(o.ID), Title: o.Description()}
		for _, x := range []struct {
			id   bcd.ElementID
			into *string
		}{{bcd.DeviceElement, &l.Device}, {bcd.PathElement, &l.Path}} {
			if e, err := o.Element(x.id); err == nil {
				*x.into = strings.Join(e.Show(o.Type), " ")
			}
		}
		b.r.Menu = append(b.r.Menu, l)
	}
	return nil
}

// addStore puts a boot store into a tree.
func (b *builder) addStore(t *winfile.Tree, m menu, devices []bcd.Device) error {
	timeout := b.o.Timeout
	if timeout < 0 {
		timeout = 0
		if len(devices)+len(b.r.RAM) > 1 {
			timeout = 10
		}
	}
	store, err := bcd.NewMenu(bcd.Menu{Release: b.boot.release(), EFI: m.efi, Locale: b.locale(), Timeout: uint64(timeout)})
	if err != nil {
		return err
	}
	for i, s := range b.r.Systems {
		if m.efi && s.facts.Arch != b.boot.facts.Arch {
			if b.plan.firmware == UEFI {
				return ui.Hint(fmt.Errorf("%s: UEFI firmware for %s does not start it", s.Title, architectures[b.boot.facts.Arch]),
					"leave it out, or use --firmware=both and start it by BIOS")
			}
			b.o.UI.Warn("%s: UEFI firmware for %s does not start it; it is in the BIOS menu only", s.Title, architectures[b.boot.facts.Arch])
			continue
		}
		id, err := store.AddWindows(bcd.Windows{Release: s.release(), EFI: m.efi, X86: s.facts.Arch == 0, Device: devices[i],
			SystemRoot: `\` + s.facts.Folder, Description: s.Title, DetectHAL: s.release() == bcd.Windows7}, s.newIDs())
		if err != nil {
			return err
		}
		s.Entry = bcd.Alias(id)
		if b.recovery != nil {
			if err := b.addRecovery(store, m, id); err != nil {
				return err
			}
		}
	}
	if err := b.addRAMEntries(store, m); err != nil {
		return err
	}
	if err := b.listMenu(store, m); err != nil {
		return err
	}
	file, err := store.Bytes()
	if err != nil {
		return err
	}
	for _, ext := range []string{".LOG", ".LOG1", ".LOG2"} { // of a store that the image was captured with
		dir, err := folder(t, filepath.ToSlash(filepath.Dir(m.path)), t.Root.Info)
		if err != nil {
			return err
		}
		for i, e := range dir.Children {
			if winfile.EqualFold(e.Name, "BCD"+ext) {
				e.Info.Links--
				dir.Children = append(dir.Children[:i:i], dir.Children[i+1:]...)
				break
			}
		}
	}
	info := newFile(file)
	info.Attributes |= winfile.AttrHidden | winfile.AttrSystem
	return place(t, m.path, info)
}

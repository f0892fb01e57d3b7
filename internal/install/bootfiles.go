package install

import (
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"husk/winfile"
)

// rule copies what a Windows folder has of boot files to where boot managers look.
type rule struct {
	from     string // below Windows\Boot: a file, or a folder with all that is in it
	to       string // slash path on the volume that the firmware reads
	required bool
}

var biosRules = []rule{
	{"PCAT/bootmgr", "bootmgr", true},
	{"PCAT/bootnxt", "BOOTNXT", false},
	{"PCAT", "Boot", false}, // without what is above
	{"Fonts", "Boot/Fonts", false},
	{"Resources", "Boot/Resources", false},
}

var efiRules = []rule{
	{"EFI", "EFI/Microsoft/Boot", false},
	{"EFI/bootmgfw.efi", "EFI/Microsoft/Boot/bootmgfw.efi", true},
	{"Fonts", "EFI/Microsoft/Boot/Fonts", false},
	{"Resources", "EFI/Microsoft/Boot/Resources", false},
}

// removable is what firmware starts from a disk that it has no entry for, by architecture.
var removable = map[int]string{0: "bootia32.efi", 9: "bootx64.efi", 12: "bootaa64.efi"}

// hasBIOS and hasEFI tell whether a system brings a boot manager for the firmware.
func hasBIOS(t *winfile.Tree, windows string) bool {
	return t.Lookup(windows+"/Boot/PCAT/bootmgr") != nil
}

func hasEFI(t *winfile.Tree, windows string) bool {
	return t.Lookup(windows+"/Boot/EFI/bootmgfw.efi") != nil
}

// addBIOS puts the boot files for BIOS of a system into a tree.
func addBIOS(to, from *winfile.Tree, windows string) error {
	if err := apply(to, from, windows, biosRules); err != nil {
		return err
	}
	for _, hidden := range []string{"bootmgr", "BOOTNXT", "Boot"} {
		if e := to.Root.Child(hidden); e != nil {
			e.Info.Attributes |= winfile.AttrHidden | winfile.AttrSystem
		}
	}
	return nil
}

// addEFI puts the boot files for UEFI of a system into a tree.
func addEFI(to, from *winfile.Tree, windows string, arch int) error {
	if err := apply(to, from, windows, efiRules); err != nil {
		return err
	}
	name, ok := removable[arch]
	if !ok {
		return fmt.Errorf("no UEFI boot manager is known for architecture %d", arch)
	}
	return put(to, "EFI/Boot/"+name, from.Lookup(windows+"/Boot/EFI/bootmgfw.efi").Info)
}

func apply(to, from *winfile.Tree, windows string, rules []rule) error {
	for _, r := range rules {
		source := windows + "/Boot/" + r.from
		e := from.Lookup(source)
		if e == nil {
			if r.required {
				return &fs.PathError{Op: "boot files", Path: source, Err: fs.ErrNotExist}
			}
			continue
		}
		if !e.Info.IsDir() {
			if err := put(to, r.to, e.Info); err != nil {
				return err
			}
			continue
		}
		for p, f := range (&winfile.Tree{Root: e}).All() {
			if f.Info.IsDir() || r.from == "PCAT" && (winfile.EqualFold(p, "bootmgr") || winfile.EqualFold(p, "bootnxt")) {
				continue
			}
			if err := put(to, r.to+"/"+p, f.Info); err != nil {
				return err
			}
		}
	}
	return nil
}

// put makes or replaces a file in a tree with the content and times of another. Folders on the way are made.
func put(t *winfile.Tree, name string, of *winfile.Info) error { return place(t, name, like(of)) }

// like is a plain file with the content and times of another.
func like(i *winfile.Info) *winfile.Info {
	return &winfile.Info{
		Attributes: i.Attributes &^ (winfile.AttrReparse | winfile.AttrSparse | winfile.AttrCompressed | winfile.AttrDirectory),
		Created:    i.Created, Written: i.Written, Accessed: i.Accessed, Changed: i.Changed,
		Links: 1, Data: i.Data,
	}
}

// newFile is a file of this moment.
func newFile(data []byte) *winfile.Info {
	now := winfile.FiletimeOf(time.Now())
	return &winfile.Info{Attributes: winfile.AttrArchive, Created: now, Written: now, Accessed: now, Changed: now, Links: 1, Data: winfile.NewBlob(data)}
}

// place makes or replaces a file in a tree.
func place(t *winfile.Tree, name string, info *winfile.Info) error {
	dir, base := path.Split(name)
	parent, err := folder(t, dir, info)
	if err != nil {
		return err
	}
	info.Security = parent.Info.Security
	if e := parent.Child(base); e != nil {
		if e.Info.IsDir() {
			return fmt.Errorf("%s is a folder in the image, want a file", name)
		}
		e.Info.Links-- // its other names keep what they have
		e.Info = info
		return nil
	}
	parent.Children = append(parent.Children, &winfile.Entry{Name: base, Info: info})
	return nil
}

// folder finds a folder, or makes it and those above it.
func folder(t *winfile.Tree, name string, like *winfile.Info) (*winfile.Entry, error) {
	e := t.Root
	for part := range strings.SplitSeq(strings.Trim(name, "/"), "/") {
		if part == "" {
			continue
		}
		next := e.Child(part)
		if next == nil {
			next = &winfile.Entry{Name: part, Info: &winfile.Info{
				Attributes: winfile.AttrDirectory, Created: like.Created, Written: like.Written, Accessed: like.Accessed,
				Changed: like.Changed, Links: 1, Security: e.Info.Security,
			}}
			e.Children = append(e.Children, next)
		}
		if !next.Info.IsDir() {
			return nil, fmt.Errorf("%s is a file in the image, want a folder", name)
		}
		e = next
	}
	return e, nil
}

// emptyTree is a tree of only a root, as old as the root of another.
func emptyTree(like *winfile.Tree) *winfile.Tree {
	i := like.Root.Info
	return &winfile.Tree{Root: &winfile.Entry{Info: &winfile.Info{
		Attributes: winfile.AttrDirectory, Created: i.Created, Written: i.Written, Accessed: i.Accessed, Changed: i.Changed, Links: 1,
		Security: i.Security,
	}}}
}

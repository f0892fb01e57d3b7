package install

import (
	"fmt"

	"husk/internal/ui"
	"husk/internal/winsys"
	"husk/winfile"
)

// Adopt changes the SYSTEM hive of a system in a tree, whose Windows folder is given, for a VHD of pointer files of its own: the drive letters
// of the machine that it was captured on are forgotten, C: is the volume of the VHD with this disk signature, as deploy.Make divides it, and
// servicing keeps new files in the form of the disk.
func Adopt(t *winfile.Tree, windows string, signature uint32) error {
	return personalise(t, windows, identity{signature: signature, offset: firstPart}, "WimBoot")
}

// Bootable changes the SYSTEM hive of the system in a tree, as Install does, for a disk of its own with this signature, as deploy.Make divides
// it. form is "WimBoot" or "Compact" if its files are that, else "". name is what errors call the source.
func Bootable(t *winfile.Tree, name string, signature uint32, form string) error {
	facts, err := winsys.Read(t)
	if err != nil {
		return ui.Hint(fmt.Errorf("%s: %w", name, err), "the image is damaged or not complete: try 'husk verify %s'", name)
	}
	if facts == nil {
		return fmt.Errorf("%s: there is no Windows in it", name)
	}
	if err := checkHive(t); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return personalise(t, facts.Folder, identity{signature: signature, offset: firstPart}, form)
}

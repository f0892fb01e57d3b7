package install

import "husk/winfile"

// Adopt changes the SYSTEM hive of a system in a tree, whose Windows folder is given, for a VHD of pointer files of its own: the drive letters
// of the machine that it was captured on are forgotten, C: is the volume of the VHD with this disk signature, as deploy.Make divides it, and
// servicing keeps new files in the form of the disk.
func Adopt(t *winfile.Tree, windows string, signature uint32) error {
	return personalise(t, windows, identity{signature: signature, offset: firstPart}, "WimBoot")
}

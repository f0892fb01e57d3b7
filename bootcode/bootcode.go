package bootcode

import (
	_ "embed"
	"fmt"
)

var (
	//go:embed mbr.bin
	mbrCode string
	//go:embed ntfs.bin
	ntfsCode string
	//go:embed fat32.bin
	fat32Code string
)

// The fields of a boot sector that belong to the file system, and stay when boot code is put in.
const (
	fieldsStart = 0x03
	ntfsCodeAt  = 0x54
	fat32CodeAt = 0x5a
)

// MBR returns the 440 bytes before the disk signature of a master boot record, as mbr.Table.BootCode takes them. The code starts the
// first active partition.
func MBR() []byte { return []byte(mbrCode) }

// NTFS returns the 8192 bytes of $Boot, as ntfs.BuildOptions.BootSector takes them. The fields at 0x03 to 0x53 are zeros. The volume must
// have sectors of 512 bytes, and know in its hidden sectors where it is on the disk.
func NTFS() []byte { return []byte(ntfsCode) }

// FAT32 returns a boot sector of 512 bytes. The fields at 0x03 to 0x59 are zeros. The volume must have sectors of 512 bytes, and know in
// its hidden sectors where it is on the disk.
func FAT32() []byte { return []byte(fat32Code) }

// PutNTFS replaces the code in the first 8192 bytes of an NTFS volume. The last sector of the volume holds a copy of the first 512,
// which is the caller's to renew.
func PutNTFS(boot []byte) error {
	if len(boot) < len(ntfsCode) || string(boot[fieldsStart:fieldsStart+8]) != "NTFS    " {
		return fmt.Errorf("bootcode: %d bytes, want the %d at the start of an NTFS volume", len(boot), len(ntfsCode))
	}
	put(boot, ntfsCode, ntfsCodeAt)
	return nil
}

// PutFAT32 replaces the code in the first sector of a FAT32 volume.
func PutFAT32(sector []byte) error {
	const magic = "FAT32   "
	const magicAt = 0x52
	if len(sector) < len(fat32Code) || string(sector[magicAt:magicAt+len(magic)]) != magic {
		return fmt.Errorf("bootcode: %d bytes, want the %d at the start of a FAT32 volume", len(sector), len(fat32Code))
	}
	put(sector, fat32Code, fat32CodeAt)
	return nil
}

// put copies the jump and what follows the fields.
func put(sector []byte, code string, codeAt int) {
	copy(sector[:fieldsStart], code)
	copy(sector[codeAt:], code[codeAt:])
}

// Package ramdisk makes small disk images that a boot loader reads into memory as a whole, to start Windows from there.
//
// A system that is on a virtual disk, as pointer files or plain, is laid out anew on a disk as small as its files allow: one MBR, one
// NTFS volume with boot code, boot manager and a boot store of its own. Pointer files stay what they are, but for those that are read
// before the overlay driver is there; the WIM stays on its physical disk.
//
//	grub4dos     map --mem --top loads the disk (fixed VHD, raw, or either compressed with gzip), hides its BIOS drive behind it, and
//	             starts the boot manager on it. Windows goes on with a driver that finds grub4dos's drive table in low memory
//	boot manager ramdisk=[device]\file with the offset of the volume loads a fixed VHD, too. Whether a Windows kernel goes on from
//	             there is not known: an experiment
//
// Sources: grub4dos 0.4.6a, README and stage2/builtins.c, dec.c (what map --mem takes); the boot managers of Windows 7, 10 and UEFI,
// tried with ramdisk devices.
package ramdisk

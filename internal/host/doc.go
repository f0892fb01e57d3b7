// Package host tells what the machine that husk runs on has: disks, what is mounted with its free space, and the firmware.
//
//	/sys/block/*        disks: size, sectors, model, whether they turn, whether they can be removed; partitions
//	/proc/self/mountinfo   what is mounted where; statfs gives the free space
//	/sys/firmware/efi   there if UEFI started the machine
//
// On Windows the same comes from device and volume requests that need no rights. Elsewhere physical disks are not listed: disk images
// and folders work all the same.
//
// Sources: Linux Documentation/ABI/stable/sysfs-block, testing/sysfs-firmware-efi, filesystems/proc.rst; Microsoft, winioctl.h and
// ntddstor.h.
package host

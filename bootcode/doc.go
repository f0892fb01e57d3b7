// Package bootcode holds the machine code that starts Windows' boot manager where the firmware is a BIOS.
//
// It is husk's own, written from the on-disk formats. The chain, each link at linear address 7C00h with the drive in DL:
//
//	BIOS    reads sector 0 of the disk
//	MBR     reads the first sector of the active partition
//	NTFS    reads the other 15 sectors of $Boot, finds \bootmgr in the root directory, and reads it to 20000h
//	FAT32   does the same in one sector
//	bootmgr runs at 2000:0000, with the boot sector still at 7C00h: its hidden sectors tell which partition that was
//
// Disks are read by sector number (INT 13h extensions). What goes wrong is said on the screen; Ctrl+Alt+Del restarts.
//
// The code is assembled with nasm from the *.asm files beside this one; "go generate" does that.
//
// Sources: package mbr, package ntfs and Microsoft's "FAT: General Overview of On-Disk Format" 1.03 for the formats; what bootmgr
// needs was found by starting it with each part of the state changed.
package bootcode

//go:generate nasm -Wall -f bin -o mbr.bin mbr.asm
//go:generate nasm -Wall -f bin -o ntfs.bin ntfs.asm
//go:generate nasm -Wall -f bin -o fat32.bin fat32.asm

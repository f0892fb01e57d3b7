// Package system does what is done to a system as a whole: tells how it stands to its store, puts it back to a point, and makes a disk
// that has grown small again.
//
//	STORE:POINT ── Open ──> tree, layers ─┐
//	                                      ├─ Restore ──> NAME.new ── read back, synced ──> NAME, and the old one NAME.old
//	disk ── what is on it and nowhere else ┘
//	disk ── Survey ──> what is behind pointers, what became local, which layers
//	disk ── Slim ──> a new point of the store, and pointers to it
//
// A system is an NTFS volume of a disk: in a VHD, a VHDX, a raw image, a block device or a bare volume. Everything around it on the disk,
// boot partitions and boot code and identities, stays as it is.
package system

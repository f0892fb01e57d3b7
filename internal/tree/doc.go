// Package tree holds the ends of the road that are not disk formats: a folder of the host as the source or the sink of a
// [winfile.Tree], and the comparison of two trees.
//
//	folder ── ScanFolder ──> winfile.Tree ── ApplyFolder ──> folder
//	                              │
//	                  Filter, Subtree, Compare
//
// A folder of Windows holds everything itself. A mounted ntfs-3g volume does so through extended attributes, named
// system.ntfs_*. Elsewhere the sink keeps in attributes named user.ntfs_* what the host's file system cannot hold, and the
// source reads them back, so that a folder round trip, or a copy with rsync -X or tar --xattrs, loses nothing:
//
//	ntfs_attrib         u32, FILE_ATTRIBUTE_*; absent where it is the default for the kind of file
//	ntfs_acl            self-relative security descriptor
//	ntfs_times          four FILETIMEs: created, written, accessed, changed
//	ntfs_dos_name       short name; of a hard-linked file the short name and the path it belongs to, NUL between and after
//	ntfs_reparse_data   REPARSE_DATA_BUFFER
//	ntfs_reparse_fixed  present if an absolute target was made relative to the image root
//	ntfs_object_id      16 or 64 bytes
//	ntfs_ea             FILE_FULL_EA_INFORMATION list
//	ntfs_stream.NAME    named stream (user.NAME on ntfs-3g)
//
// Integers are little-endian in user.*, in the machine's order in system.*. Linux refuses user.* on symbolic links; there they
// are trusted.*, which only root may write and read. The written time in ntfs_times counts only while the file still has it,
// so that a file edited later shows its new times.
//
// Sources: ntfs-3g, "Extended attributes" (names and shapes of system.ntfs_*); [MS-FSCC] 2.1.2, 2.4.15.
package tree

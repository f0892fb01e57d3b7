// Package mount shows a tree as a file system of the host, through FUSE.
//
//	winfile.Tree ──> View        what a POSIX file system shows of it: numbers, modes, links, attributes
//	                  │
//	                  ├─ blobs   contents, read anywhere; a bounded number is held open
//	                  │
//	                  └─ FUSE    nodes that ask the view (Linux, macOS)
//
//	winfile.Tree ──> Overlay     names and metadata change in the tree, contents in files of a staging directory
//	                  │
//	                  ├─ FUSE    nodes that change it
//	                  │
//	                  └─ Commit  the tree becomes a new version of an image in its WIM
//
// Metadata of Windows is in extended attributes with the names and shapes that ntfs-3g gives them, integers in the machine's order:
//
//	system.ntfs_attrib        u32, FILE_ATTRIBUTE_*          system.ntfs_attrib_be   the same, big-endian
//	system.ntfs_times         created, written, accessed, changed: FILETIME u64       system.ntfs_times_be
//	system.ntfs_crtime        created                        system.ntfs_crtime_be
//	system.ntfs_acl           self-relative security descriptor
//	system.ntfs_reparse_data  REPARSE_DATA_BUFFER
//	system.ntfs_object_id     16 or 64 bytes
//	system.ntfs_dos_name      short name; of a hard-linked file each short name and the path it belongs to, NUL between and after
//	system.ntfs_ea            FILE_FULL_EA_INFORMATION list
//	user.NAME                 named stream NAME, up to 64 KiB; or the stream is opened as file:NAME, see [Streams]
//
// Symbolic links and junctions are relative links inside the mount, whatever drive they name; a target that climbs out of the root
// stays at the root, as in Windows. Other reparse points are symbolic links that lead nowhere, as with ntfs-3g: what they stand for
// is not in the tree, and their data would be taken for the file's.
//
// A View does not change. Where an Overlay is mounted, relative links are shown as they were made. A commit is asked for through an
// extended attribute of the root, user.husk.commit, so that the program that unmounts waits for it and hears why it failed.
//
// Sources: ntfs-3g, "Extended attributes"; fuse(4); [MS-FSCC] 2.4.15.
package mount

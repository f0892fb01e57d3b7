// Package wof makes and reads what the Windows Overlay Filter keeps on a volume: files whose unnamed data lies in a WIM, and files
// whose unnamed data is compressed.
//
// A pointer file is an ordinary NTFS file, with its own names, times, security and named streams, whose unnamed data is a
// hole of the right length and whose reparse point says where the content is. Microsoft calls the way it was made WIMBoot:
//
//	reparse point of a pointer file, 96 bytes           reparse point of a compact file, 24 bytes
//	0x00  u32  tag 0x80000017                           0x00  u32  tag 0x80000017
//	0x04  u16  data length 88, u16 reserved             0x04  u16  data length 16, u16 reserved
//	0x08  u32  WOF version 1, u32 provider 1 (WIM)      0x08  u32  WOF version 1, u32 provider 2 (file)
//	0x10  u32  version 2, u32 flags                     0x10  u32  version 1, u32 algorithm
//	0x18  u64  data source id
//	0x20       SHA-1 of the content
//	0x34       SHA-1 of the WIM's blob table as stored
//	0x48  u64  size, u64 stored size, u64 offset of the resource in the WIM
//
// The data source id is looked up in a file of the same volume, \System Volume Information\WimOverlay.dat ([Overlay]):
//
//	0x00  header      24 bytes: magic, version, entry size, number of entries, next data source id
//	0x18  entries     40 bytes each: data source id, place of the location, WIM type, image index, WIM GUID
//	      locations   104 bytes and a path each: a BCD file device, that is partition, disk and path
//
// Partition and disk are those of the volume that holds the WIM, on the disk that it lies on; a volume in a VHD may name a
// partition outside it.
//
// A compact file is the same, but for its content, which is in a named stream of its own, WofCompressedData. Microsoft calls a system
// of them Compact OS. The stream is, byte for byte, what a resource of a WIM with the same codec and chunk size is:
//
//	table       where each chunk but the first starts, from the end of the table: u32, or u64 if the content has 4 GiB or more
//	chunks      4, 8 or 16 KiB in XPRESS, or 32 KiB in LZX; raw where that is not smaller
//
// [Rules] decide which files of an image may be pointer files, and [Resolve] turns the pointer files of a volume's tree
// into the files they stand for; so it does with compact files. [CompactEncoder] makes their streams.
//
// Sources: [MS-FSCC] 2.1.2 (reparse points), Microsoft's wofapi.h and ntifs.h (ioctl structures), wimlib 1.14.5 (the rest of
// both formats). Both were tried with Microsoft's own boot manager; the tests hold the bytes that it took. It looks content up by
// SHA-1 in the WIM that the data source id names, and checks neither the other fields nor the WIM GUID. The kernel's driver
// may be stricter, so all of them are written right.
package wof

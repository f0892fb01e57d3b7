// Package wim reads and writes Windows Imaging (WIM) archives.
//
// A WIM stores each distinct file content once, as a blob keyed by SHA-1, and one directory tree (image) per system.
// Integers are little-endian. Only the header's place is fixed; it locates the rest:
//
//	0x00  header           208 bytes
//	      resources        blobs: raw, or a chunk table and compressed chunks
//	      metadata         one resource per image: security descriptors, then directory entries
//	      blob table       50-byte entries: resource header, part number, reference count, SHA-1
//	      XML data         UTF-16LE with BOM: name, description and sizes of each image
//	      integrity table  optional: SHA-1 of each 10 MiB from the end of the header to the end of the blob table
//
// A compressed resource is cut into chunks of equal plain size, so that a place in it is found without what is before:
//
//	chunk table   offset of chunks 1 to n-1 from the end of the table; 4 bytes each, 8 if the plain size is over 4 GiB
//	chunk 0 …     a chunk that is as long as its plain bytes is raw
//
// A metadata resource holds the security descriptors and then the lists of directory entries, each list closed by 8 zero
// bytes; an entry of a directory has the offset of the list of its children:
//
//	0x00  total length u32, number u32, size of each u64, self-relative descriptors, padding to 8
//	      root entry, end of list
//	      children of the root, end of list
//	      children of its first directory, end of list …
//
// Whatever is past the places that the header names is invisible. [Append] uses that: it writes behind the old end, and one
// write of the header makes it valid.
//
// A solid resource (version 0xe00, ESD files) has many contents one after the other in its chunks, which do not know of them:
//
//	plain size u64, chunk size u32, codec u32, stored size of each chunk u32, chunks
//
// A row of blob table entries with the solid flag has the solid resources and the blobs, whose offsets count through the plain
// bytes of all resources of the row.
//
// A delta WIM lacks blobs that another WIM has; [Reader.Reference] brings them together. A split WIM (.swm) is a set of files, each with its
// own header and blob table; the metadata is in the first: [OpenSet] reads it, [Split] writes it.
//
// A pipable WIM, which wimlib invented, can be written and read front to back. Its first header has no places; the last 208 bytes are a
// complete one. XML data and metadata precede the contents, and each resource tells of itself:
//
//	0x00  magic u64 0x2b9b9ba2443db9d8, plain size u64, SHA-1, flags u32
//	      compressed: stored size u32 and chunk …, then the chunk table
//	      else: plain bytes
//
// [WritePipe] writes this form, [PipeReader] reads it from a pipe, and a Reader reads it from a file.
//
// Sources: Microsoft, "Windows Imaging File Format (WIM)", 2007; for what that text lacks (tagged items, stream placement,
// solid resources), wimlib 1.14.5 and files written by DISM.
package wim

// Package udf reads UDF file systems, the form of Windows installation discs: their files may have more than 4 GiB.
//
// An image is made of logical sectors of 2048 bytes on optical discs (512 to 4096 elsewhere). Integers are little-endian. Nearly every
// structure begins with a tag of 16 bytes: what it is, a checksum of the tag, a CRC of what follows, and the sector or block it stands in.
//
//	byte 32768     volume recognition sequence: BEA01, NSR02 or NSR03, TEA01; CD001 first if it is an ISO 9660 image too ("bridge")
//	sector 256     anchor: where the two volume descriptor sequences are; copies in the last sector and 256 before it
//	               main sequence: primary volume, partitions, logical volume (block size, partition maps, file set), end
//	               reserve sequence: the same once more
//	partition      logical blocks, counted from its start:
//	                 file set       root directory, name
//	                 file entry     one for each file: type, size, times, and its extents, or the content itself
//	                 directory      a file of file identifiers: name, attributes, block of the file entry
//	                 extents        of at most 1 GiB each, by short (in this partition) or long descriptors
//
// Names are OSTA compressed Unicode: one byte 8 or 16, then Latin-1 or big-endian UTF-16.
//
// Read are UDF 1.02 to 2.01 with partition maps of type 1. What needs virtual, sparable or metadata partitions (UDF 2.50 and later, packet
// writing) wraps errors.ErrUnsupported. Named streams are not read; a warning names their files.
//
// Sources: ECMA-167, 3rd edition, 1997; OSTA, "Universal Disk Format Specification", revisions 1.02 and 2.01.
package udf

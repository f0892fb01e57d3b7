// Package iso9660 reads ISO 9660 images and their Joliet names.
//
// An image is made of sectors of 2048 bytes; extents are counted in logical blocks, which nearly always have the same size. Numbers of
// directories and descriptors are there twice, little-endian and big-endian; the first are read.
//
//	sector 16   volume descriptors, one for each sector: type, "CD001", version
//	              1    primary: label, block size, root directory record; names in capitals
//	              2    supplementary: the same with the names of Joliet, in big-endian UTF-16, if its escape sequence says so
//	              255  end
//	            directories: records of 33 bytes and a name, none of which crosses a sector
//	            extents of files; of more than 4 GiB, as consecutive records of one name
//
// Joliet is preferred to the primary tree. Rock Ridge is not read. Interleaved files wrap errors.ErrUnsupported.
//
// Sources: ECMA-119, 2nd edition, 1987 (ISO 9660), and 4th edition, 2019, annex for Joliet; Microsoft, "Joliet Specification", 1995.
package iso9660

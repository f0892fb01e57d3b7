// Package gpt reads and writes GUID partition tables.
//
// A table stands twice on the disk, in sectors of 512 or 4096 bytes. Integers are little-endian, also the first three
// fields of a GUID:
//
//	sector 0     protective MBR   so that older programs see a full disk
//	sector 1     header           92 bytes: where both headers and the entries are, disk GUID, two CRC-32
//	sector 2     entries          128 of 128 bytes: type GUID, unique GUID, first and last sector, attributes, name
//	             partitions
//	last-32      entries          the same again (for sectors of 512 bytes)
//	last         header           the same, with its own place and that of its entries
//
// Source: UEFI Specification 2.10, 5.3 "GUID Partition Table (GPT) Disk Layout".
package gpt

// Package regf reads and writes registry hives: the files that hold the registry of Windows, such as SYSTEM, SOFTWARE, NTUSER.DAT
// and the boot store BCD.
//
// A hive is a base block and a row of bins. Bins are full of cells, allocated or free; the tree is made of allocated cells that
// point to each other by offset from the first bin:
//
//	0x0000  base block   4096 bytes: sequence numbers, version, root cell, size of the bins, checksum
//	0x1000  bin          "hbin", own offset, size (n × 4096), then cells without gaps
//	          cell       int32 size (negative: allocated), then data
//	        bin          …
//
//	base block ─> nk key ─┬─> sk security descriptor, shared by keys, all in one ring
//	                      ├─> class name
//	                      ├─> value list ─> vk value ─> data, or db ─> segment list ─> segments of 16344 bytes
//	                      └─> lf, lh, li list of subkeys, or ri list of such lists ─> nk …
//
// Beside the file lie its logs (LOG1 and LOG2, or one LOG). A hive whose two sequence numbers differ, or whose base block has a
// wrong checksum, is dirty: what was written last is in the logs only. [Parse] replays them in memory.
//
// A [Hive] is a tree of keys that is read from the file as it is visited, so that damage in one place hides nothing elsewhere.
// Keys and values can be changed; [Hive.Bytes] lays out a new, compact file of the whole tree. What a hive means is kept: names,
// order of values, types, data, times, flags, class names, security descriptors, bits of layered and virtualised keys. What a
// file merely carries is made anew: offsets, free space and what was left in it, upper bounds of lengths, volatile subkey counts,
// identifiers of transaction logs. The same tree gives the same bytes.
//
// Names are WTF-8 strings as in package winfile; they are equal if their upper case by Windows' table is.
//
// Sources: M. Suhanov, "Windows registry file format specification" (base block, cells, logs, Marvin32); libyal libregf and
// hivex documentation; limits of subkey lists follow from a list filling one page.
package regf

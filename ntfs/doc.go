// Package ntfs reads NTFS 3.1 volumes, builds new ones in one pass and edits them in place.
//
// Everything on a volume is a file, the file table included. A file is one record of the $MFT (more if it overflows): a
// header and a list of attributes, each resident (value inside the record) or non-resident (value in runs of clusters).
// Integers are little-endian. Only the boot sector's place is fixed; it locates the $MFT, and that locates the rest:
//
//	0x00      $Boot        8 KiB: boot sector (geometry, place of $MFT and $MFTMirr) and boot code
//	          $MFT         records of 1024 bytes (4096 where sectors have 4096), numbered from 0
//	            0 $MFT  1 $MFTMirr  2 $LogFile  3 $Volume  4 $AttrDef  5 . (root)  6 $Bitmap  7 $Boot
//	            8 $BadClus  9 $Secure  10 $UpCase  11 $Extend  24 $Quota  25 $ObjId  26 $Reparse
//	          $I30         per directory: a B-tree of $FILE_NAME copies, its root in the record, 4 KiB blocks outside
//	          $Secure      $SDS: every security descriptor once, and again 256 KiB further; $SII, $SDH: indexes over it
//	          $Bitmap      one bit per cluster
//	          data         the rest
//	last sector            copy of the boot sector
//
// Records and index blocks are protected against torn writes: the last word of each 512 bytes is replaced by a
// sequence number, the true words stand in an array in the header ("fixups").
//
// [NewLayout] decides everything about a new volume before its first byte is written: record numbers, what is resident,
// runs, index trees, security ids. [Layout.Write] then streams it out. [OpenEditor] changes files of a volume that nothing has mounted.
//
// Sources: [MS-FSCC], [MS-DTYP]; bytes of volumes made by Windows 10 and by mkntfs; the libfsntfs format document (Joachim
// Metz); the structure names and checks of ntfs-3g and of Linux fs/ntfs3, as facts.
package ntfs

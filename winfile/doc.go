// Package winfile holds the words that WIM images, NTFS volumes and folders share: file attributes, FILETIMEs, UTF-16
// names, reparse points, security descriptors, named streams, hard links, and the one tree type that stands between
// every source and every sink.
//
// A [Tree] is made of entries and infos. An [Entry] is a name in a directory; an [Info] is the file behind it. A hard
// link is a second entry with the same info:
//
//	Tree.Root -> Entry "" ─> Info (directory)
//	               ├─ Entry "Windows" ─> Info (directory)
//	               │     └─ Entry "notepad.exe" ─┐
//	               └─ Entry "WinSxS"             ├─> Info (file) ─> Data *Blob, Streams, Security, times …
//	                     └─ Entry "notepad.exe" ─┘
//
// File contents are blobs: a size, a SHA-1 where known, and the [Content] that can read them. A source (folder, volume,
// image) makes the tree and is the content of its blobs; a sink walks the tree and reads the blobs it wants through
// [ReadBlobs], in the order that suits the source.
//
// Names are Go strings in WTF-8: UTF-8, with an unpaired UTF-16 surrogate as the three bytes that UTF-8 would use for
// its code point. Every sequence of UTF-16 units has exactly one such string, so no name is changed on the way.
//
// Sources: [MS-FSCC] (attributes, reparse tags), [MS-DTYP] (FILETIME), "The WTF-8 encoding" (Simon Sapin, 2022).
package winfile

// Package reshape changes the files of an NTFS volume in place: it puts files in and takes them out, and turns plain files into pointers
// into a WIM or compact files, and either back into plain ones.
//
//	inplace.Open ──> source.FromDisk ──> rules of wof: which files
//	                       │
//	                       └─ batches: read ── hash, compress ──> Editor ──> Commit
//
// A batch is read as a whole before anything of it is written. What is committed stays; a command that was cut off goes on where it
// was when it is run again, as files that have their new form are passed over.
package reshape

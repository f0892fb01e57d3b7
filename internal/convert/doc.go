// Package convert finds installed Windows systems and makes husks of them: the files of a system go into a WIM, and what the system starts
// from are pointers into it.
//
//	system ── capture ──> WIM ── verify ──┬── VHD of pointer files          beside the WIM; an entry in a boot store
//	                                      ├── disk that starts by itself    boot files, the WIM, the VHD
//	                                      └── the system's own volume       its files become pointers in place
//
// Nothing that the system starts from is written to before the WIM is complete and was read back. Each step ends in one rename, or in
// transactions of the editor, and is noted in a journal beside the target: a conversion that was cut off anywhere leaves the old system as
// it was, or with some of its files behind pointers that can be read, and the same command goes on from there.
package convert

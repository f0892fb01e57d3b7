// Package faultfs is, in tests only, a disk that fails: a folder that is mounted once more through FUSE, where the n-th read, write, sync,
// truncation or change of a name answers with an error, that one alone or all after it too, as of a device that is gone.
//
// Nothing is cached between the program and the fault: files are read and written directly, names are looked up each time.
package faultfs

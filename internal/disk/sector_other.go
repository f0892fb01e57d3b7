//go:build !linux

package disk

import "os"

// sectorSize is the logical sector size of what holds a disk. Only Linux is asked about devices.
func sectorSize(*os.File) int { return 512 }

// nextData returns the first range of a file at or after off that is no hole. Only Linux is asked.
func nextData(_ *os.File, off, size int64) (start, end int64) { return off, size }

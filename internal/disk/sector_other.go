//go:build !linux

package disk

import "os"

// sectorSize is the logical sector size of what holds a disk. Only Linux is asked about devices.
func sectorSize(*os.File) int { return 512 }

// Package mounted tells how this system uses disks: where on which partition a file lies, and whether a device is in use.
package mounted

// Place is where a file lies.
type Place struct {
	Disk string // "/dev/sda:2"
	Path string // on the volume: "/wimboot/wimboot.wim"
}

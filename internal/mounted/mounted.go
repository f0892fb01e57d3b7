// Package mounted tells how this system uses disks: where on which partition a file lies, and whether a device is in use.
package mounted

// Place is where a file lies.
type Place struct {
	Disk string // "/dev/sda:2"
	Path string // on the volume: "/wimboot/wimboot.wim"
}

// Device is a block device.
type Device struct {
	Name      string // "sdb1"
	Disk      string // the whole disk that it is a part of, or itself: "sdb"
	Partition int    // 0 if it is a whole disk
	ReadOnly  bool
	Optical   bool
	Model     string // "ATA Samsung SSD 850"; may be empty
	Backing   string // of a loop device: the file that is its disk
}

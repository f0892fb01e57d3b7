package host

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unsafe"

	"golang.org/x/sys/windows"
)

// Requests and structures of winioctl.h and ntddstor.h.
const (
	ioctlStorageQueryProperty   = 0x002d1400
	ioctlDiskGeometryEx         = 0x000700a0
	ioctlVolumeDiskExtents      = 0x00560000
	ioctlDiskIsWritable         = 0x00070024
	propertyDevice              = 0
	propertyAlignment           = 6
	propertySeekPenalty         = 7
	maxDisks                    = 64 // numbers that are tried; those in use may have gaps
	firmwareBIOS, firmwareEFI   = 1, 2
	seekPenaltyDescriptorLength = 9
)

var getFirmwareType = windows.NewLazySystemDLL("kernel32.dll").NewProc("GetFirmwareType")

// Look reads what the machine has. What could not be read is an error beside the rest.
func Look() (*Machine, error) {
	m := &Machine{Firmware: firmware()}
	for n := range maxDisks {
		if d, ok := readDisk(n); ok {
			m.Disks = append(m.Disks, d)
		}
	}
	return m, m.readMounts()
}

// firmware is not known of Windows 7, which has no call for it.
func firmware() Firmware {
	if getFirmwareType.Find() != nil {
		return Unknown
	}
	var kind uint32
	if ok, _, _ := getFirmwareType.Call(uintptr(unsafe.Pointer(&kind))); ok == 0 {
		return Unknown
	}
	switch kind {
	case firmwareBIOS:
		return BIOS
	case firmwareEFI:
		return UEFI
	}
	return Unknown
}

func diskPath(n int) string { return fmt.Sprintf(`\\.\PhysicalDrive%d`, n) }

// openDevice opens a device for questions that need no rights.
func openDevice(path string) (windows.Handle, error) {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return windows.InvalidHandle, err
	}
	return windows.CreateFile(name, 0, windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE, nil, windows.OPEN_EXISTING, 0, 0)
}

// ask sends a request and returns what came back, which may be cut at 4 KiB.
func ask(h windows.Handle, code uint32, in []byte) ([]byte, error) {
	out := make([]byte, 4096)
	var n uint32
	var src *byte
	if len(in) > 0 {
		src = &in[0]
	}
	err := windows.DeviceIoControl(h, code, src, uint32(len(in)), &out[0], uint32(len(out)), &n, nil)
	return out[:n], err
}

// property asks for one STORAGE_PROPERTY_ID in its standard form.
func property(h windows.Handle, id uint32) []byte {
	in := make([]byte, 12)
	binary.LittleEndian.PutUint32(in, id)
	b, err := ask(h, ioctlStorageQueryProperty, in)
	if err != nil {
		return nil
	}
	return b
}

func readDisk(n int) (Disk, bool) {
	h, err := openDevice(diskPath(n))
	if err != nil {
		return Disk{}, false
	}
	defer windows.CloseHandle(h)
	d := Disk{Path: diskPath(n), Sector: 512, Physical: 512}
	if g, err := ask(h, ioctlDiskGeometryEx, nil); err == nil && len(g) >= 32 { // DISK_GEOMETRY of 24 bytes, then the size
		d.Sector = int(binary.LittleEndian.Uint32(g[20:]))
		d.Size = int64(binary.LittleEndian.Uint64(g[24:]))
	}
	if b := property(h, propertyDevice); len(b) >= 36 { // STORAGE_DEVICE_DESCRIPTOR
		d.Removable = b[10] != 0
		d.Model = strings.TrimSpace(cString(b, 12) + " " + cString(b, 16))
	}
	if b := property(h, propertySeekPenalty); len(b) >= seekPenaltyDescriptorLength {
		d.Rotational = b[8] != 0
	}
	if b := property(h, propertyAlignment); len(b) >= 24 { // STORAGE_ACCESS_ALIGNMENT_DESCRIPTOR
		d.Physical = int(binary.LittleEndian.Uint32(b[20:]))
	}
	_, err = ask(h, ioctlDiskIsWritable, nil)
	d.ReadOnly = errors.Is(err, windows.ERROR_WRITE_PROTECT)
	return d, true
}

// cString is the text whose offset in b stands at a place of b.
func cString(b []byte, place int) string {
	off := binary.LittleEndian.Uint32(b[place:])
	if off == 0 || uint64(off) >= uint64(len(b)) {
		return ""
	}
	s, _, _ := strings.Cut(string(b[off:]), "\x00")
	return strings.TrimSpace(s)
}

func (m *Machine) readMounts() error {
	letters, err := windows.GetLogicalDrives()
	if err != nil {
		return err
	}
	own, err := windows.GetSystemWindowsDirectory()
	if err != nil {
		own = ""
	}
	for i := range 26 {
		if letters&(1<<i) == 0 {
			continue
		}
		root := string(rune('A'+i)) + `:\`
		name, err := windows.UTF16PtrFromString(root)
		if err != nil {
			return err
		}
		if kind := windows.GetDriveType(name); kind != windows.DRIVE_FIXED && kind != windows.DRIVE_REMOVABLE {
			continue
		}
		mount := Mount{Path: root, Device: `\\.\` + root[:2]}
		var flags uint32
		var fsName [64]uint16
		if windows.GetVolumeInformation(name, nil, 0, nil, nil, &flags, &fsName[0], uint32(len(fsName))) != nil {
			continue // no medium, or a volume that is locked
		}
		mount.Type, mount.ReadOnly = windows.UTF16ToString(fsName[:]), flags&windows.FILE_READ_ONLY_VOLUME != 0
		var free, size uint64
		if windows.GetDiskFreeSpaceEx(name, &free, &size, nil) != nil {
			continue
		}
		mount.Free, mount.Size = int64(free), int64(size)
		m.locate(&mount, strings.HasPrefix(strings.ToUpper(own), root))
		m.Mounts = append(m.Mounts, mount)
	}
	return nil
}

// locate finds the disk of a volume.
func (m *Machine) locate(mount *Mount, system bool) {
	h, err := openDevice(mount.Device)
	if err != nil {
		return
	}
	defer windows.CloseHandle(h)
	b, err := ask(h, ioctlVolumeDiskExtents, nil) // VOLUME_DISK_EXTENTS: a count, then 24 bytes each
	if err != nil || len(b) < 32 || binary.LittleEndian.Uint32(b) != 1 {
		return
	}
	mount.Disk = diskPath(int(binary.LittleEndian.Uint32(b[8:])))
	d := m.Disk(mount.Disk)
	if d == nil {
		return
	}
	d.System = d.System || system
	d.Partitions = append(d.Partitions, Partition{
		Offset: int64(binary.LittleEndian.Uint64(b[16:])), Size: int64(binary.LittleEndian.Uint64(b[24:])),
	})
}

package ramdisk

import (
	"strings"

	"husk/bcd"
	"husk/guid"
)

// AddGrub adds the entry that chains to grub4dos, whose loader is at path on a device of the boot manager's, unless it is there.
func AddGrub(store *bcd.Store, description string, device bcd.Device, path string) (added bool, err error) {
	entries, err := store.Entries()
	if err != nil {
		return false, err
	}
	for _, o := range entries {
		if e, err := o.Element(bcd.PathElement); err == nil && o.Type == bcd.BootSector {
			if s, err := e.Text(); err == nil && strings.EqualFold(s, path) {
				return false, nil
			}
		}
	}
	_, err = store.AddBootSector(description, device, path, nil)
	return err == nil, err
}

// AddRAMDisk adds the entry by which the boot manager itself loads a fixed VHD at path on a volume, and starts the system in it, unless
// one for that file is there. That boot managers do so is known; that a Windows kernel goes on from there is not.
func (r *Result) AddRAMDisk(store *bcd.Store, on bcd.Descriptor, path string, efi bool) (added bool, err error) {
	where := bcd.RAMDisk{On: on, Path: path}
	entries, err := store.Entries()
	if err != nil {
		return false, err
	}
	for _, o := range entries {
		if e, err := o.Element(bcd.DeviceElement); err == nil && o.Type == bcd.OSLoader {
			if d, err := e.Device(); err == nil && strings.EqualFold(bcd.Device{Where: d.Where}.String(), bcd.Device{Where: where}.String()) {
				return false, nil
			}
		}
	}
	options := guid.New()
	o, err := store.Create(options, bcd.DeviceOptions)
	if err != nil {
		return false, err
	}
	if err := o.SetText(bcd.DescriptionElement, r.Title); err != nil {
		return false, err
	}
	if err := o.SetInteger(bcd.RAMDiskOffsetElement, uint64(r.Offset)); err != nil {
		return false, err
	}
	s := system{facts: r.Windows}
	_, err = store.AddWindows(bcd.Windows{
		Release: s.release(), EFI: efi, X86: r.Windows.Arch == 0, SystemRoot: `\` + r.Windows.Folder,
		Device: bcd.Device{Options: options, Where: where}, Description: r.Title + " in RAM (experimental)",
		DetectHAL: s.release() == bcd.Windows7,
	}, nil)
	return err == nil, err
}

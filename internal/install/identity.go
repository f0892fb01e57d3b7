package install

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"husk/guid"
	"husk/internal/winsys"
	"husk/regf"
	"husk/winfile"
)

var le = binary.LittleEndian

// identity is how a system knows the volume that it is on.
type identity struct {
	gpt       bool
	signature uint32    // MBR
	offset    int64     // of the partition in bytes, MBR
	partition guid.GUID // GPT
}

// mountedDevice is the value of a drive letter in MountedDevices.
func (id identity) mountedDevice() []byte {
	if id.gpt {
		return append([]byte("DMIO:ID:"), id.partition[:]...)
	}
	return le.AppendUint64(le.AppendUint32(nil, id.signature), uint64(id.offset))
}

const (
	mountedDevices = "MountedDevices"
	systemDrive    = `\DosDevices\C:`
	setupKey       = "Setup"
)

// personalise changes the SYSTEM hive of a system in a tree: drive letters of the machine that it was captured on are forgotten, and C:
// is the volume that it will be on. form is the value of Setup that has servicing keep new files in the form of the disk, WimBoot or
// Compact, or nothing. more are further changes of the hive.
func personalise(t *winfile.Tree, windows string, id identity, form string, more ...func(*regf.Key) error) error {
	name := windows + "/System32/config/SYSTEM"
	h, err := winsys.OpenHive(t, name)
	if err != nil {
		return err
	}
	fail := func(err error) error { return fmt.Errorf("%s: %w", name, err) }
	root := h.Root()
	if err := root.Delete(mountedDevices); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fail(err)
	}
	k, err := root.Create(mountedDevices)
	if err != nil {
		return fail(err)
	}
	if err := k.SetBinary(systemDrive, id.mountedDevice()); err != nil {
		return fail(err)
	}
	if form != "" {
		setup, err := root.Create(setupKey)
		if err == nil {
			err = setup.SetDWord(form, 1)
		}
		if err != nil {
			return fail(err)
		}
	}
	for _, change := range more {
		if err := change(root); err != nil {
			return fail(err)
		}
	}
	b, err := h.Bytes()
	if err != nil {
		return fail(err)
	}
	e := t.Lookup(name)
	replaceData(e, b)
	for _, ext := range regf.LogNames { // they belong to what the hive was
		if log := t.Lookup(name + ext); log != nil && !log.Info.IsDir() {
			replaceData(log, nil)
		}
	}
	return nil
}

// keepSmall has Windows leave the dynamic VHD that it starts from as it is, instead of growing it to its full size first. Source: the
// documentation of FsDepends' VirtualDiskExpandOnMount.
func keepSmall(root *regf.Key) error {
	const (
		parameters   = `\Services\FsDepends\Parameters`
		expand       = "VirtualDiskExpandOnMount"
		doNotExpand  = 4
		controlSet   = "ControlSet"
		controlSet00 = len(controlSet) + 3 // with its number
	)
	keys, err := root.Subkeys()
	if err != nil {
		return err
	}
	for _, k := range keys {
		if n := k.Name(); len(n) != controlSet00 || !strings.EqualFold(n[:len(controlSet)], controlSet) {
			continue
		}
		p, err := root.Create(k.Name() + parameters)
		if err == nil {
			err = p.SetDWord(expand, doNotExpand)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// replaceData gives one name of a file new content; other names keep the old.
func replaceData(e *winfile.Entry, b []byte) {
	info := *e.Info
	e.Info.Links--
	info.Links = 1
	info.Data = winfile.NewBlob(b)
	info.Attributes &^= winfile.AttrSparse | winfile.AttrCompressed
	e.Info = &info
}

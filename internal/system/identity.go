package system

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"path"
	"strings"

	"husk/bcd"
	"husk/internal/disk"
	"husk/internal/winsys"
	"husk/regf"
	"husk/winfile"
)

// identity is how Windows and boot stores know a volume.
type identity struct {
	where  bcd.Partition
	letter []byte // the value of a drive letter in MountedDevices
}

// identityOf is that of a partition; not ok of a bare volume, whose disk is not known.
func identityOf(d *disk.Disk, p *disk.Partition) (identity, bool) {
	switch d.Scheme {
	case disk.MBR:
		letter := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint32(nil, d.Signature), uint64(p.Offset))
		return identity{bcd.MBRPartition(d.Signature, p.Offset), letter}, d.Signature != 0
	case disk.GPT:
		return identity{bcd.GPTPartition(d.GUID, p.GUID), append([]byte("DMIO:ID:"), p.GUID[:]...)}, true
	}
	return identity{}, false
}

const (
	mountedDevices = "MountedDevices"
	systemDrive    = `\DosDevices\C:`
)

// driveOf is what a system has as the volume of its drive C:; nil if it does not tell.
func driveOf(t *winfile.Tree) []byte {
	h, _, err := systemHive(t)
	if err != nil {
		return nil
	}
	k, err := h.Root().Subkey(mountedDevices)
	if err != nil {
		return nil
	}
	v, err := k.Value(systemDrive)
	if err != nil {
		return nil
	}
	return v.Data
}

func systemHive(t *winfile.Tree) (*regf.Hive, string, error) {
	name, err := winsys.HivePath(t, "SYSTEM")
	if err != nil {
		return nil, "", err
	}
	h, err := winsys.OpenHive(t, name)
	return h, name, err
}

// adopt makes the system of a tree one of the volume that it will be on, if the system that was there knew itself as that and the
// point is of another volume: a point that was added elsewhere then starts here. It reports whether anything was changed.
func adopt(t *winfile.Tree, here identity, before []byte) (bool, error) {
	now := driveOf(t)
	if now == nil || bytes.Equal(now, here.letter) || before != nil && !bytes.Equal(before, here.letter) {
		return false, nil
	}
	h, name, err := systemHive(t)
	if err != nil {
		return false, err
	}
	k, err := h.Root().Subkey(mountedDevices)
	if err != nil {
		return false, err
	}
	values, err := k.Values()
	if err != nil {
		return false, err
	}
	var stale []string
	for _, v := range values {
		if v.Name != systemDrive && bytes.Equal(v.Data, here.letter) && strings.HasPrefix(v.Name, `\DosDevices\`) {
			stale = append(stale, v.Name)
		}
	}
	for _, n := range stale { // another letter of this volume
		if err := k.DeleteValue(n); err != nil {
			return false, err
		}
	}
	if err := k.SetBinary(systemDrive, here.letter); err != nil {
		return false, err
	}
	if err := putHive(t, h, name); err != nil {
		return false, err
	}
	return true, adoptStores(t, now, here)
}

// putHive puts a changed hive back into its tree. Its logs belong to what it was.
func putHive(t *winfile.Tree, h *regf.Hive, name string) error {
	b, err := h.Bytes()
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	replaceData(t.Lookup(name), b)
	for _, ext := range regf.LogNames {
		if log := lookup(t, name+ext); log != nil && !log.Info.IsDir() {
			replaceData(log, nil)
		}
	}
	return nil
}

// replaceData gives one name of a file new content; other names keep the old.
func replaceData(e *winfile.Entry, b []byte) {
	info := *e.Info
	e.Info.Links--
	info.Links, info.Data = 1, winfile.NewBlob(b)
	info.Attributes &^= winfile.AttrSparse | winfile.AttrCompressed
	e.Info = &info
}

// adoptStores has the boot stores in a tree start the volume that they will be on instead of the one that the system knew as its own.
func adoptStores(t *winfile.Tree, was []byte, here identity) error {
	for _, name := range []string{"Boot/BCD", "EFI/Microsoft/Boot/BCD"} {
		e := lookup(t, name)
		if e == nil || e.Info.Data == nil {
			continue
		}
		h, err := winsys.OpenHive(t, name)
		if err != nil {
			return err
		}
		s, err := bcd.Of(h)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		changed, err := repoint(s, was, here)
		if err != nil {
			return fmt.Errorf("%s: %w", path.Clean(name), err)
		}
		if changed {
			if err := putHive(t, h, name); err != nil {
				return err
			}
		}
	}
	return nil
}

// repoint changes the devices of a boot store that are the old volume.
func repoint(s *bcd.Store, was []byte, here identity) (changed bool, _ error) {
	objects, err := s.Objects()
	if err != nil {
		return false, err
	}
	for _, o := range objects {
		elements, err := o.Elements()
		if err != nil {
			return changed, err
		}
		for _, e := range elements {
			d, err := e.Device()
			if err != nil {
				continue
			}
			p, ok := d.Where.(bcd.Partition)
			if !ok || p.In != nil || !bytes.Equal(letterOf(p), was) {
				continue
			}
			d.Where = here.where
			if err := o.SetDevice(e.ID, d); err != nil {
				return changed, err
			}
			changed = true
		}
	}
	return changed, nil
}

// letterOf is what MountedDevices would have for a partition.
func letterOf(p bcd.Partition) []byte {
	if p.Style == bcd.GPT {
		return append([]byte("DMIO:ID:"), p.ID[:]...)
	}
	return append(append([]byte(nil), p.Disk[:4]...), p.ID[:8]...)
}

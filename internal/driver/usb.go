package driver

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"husk/internal/source"
	"husk/internal/ui"
	"husk/internal/winsys"
	"husk/ntfs"
	"husk/regf"
	"husk/winfile"
)

// Drivers between a system and a disk behind USB, and those of other controllers on which its WIM may be. Windows 7 starts the former on
// demand, which is too late for the disk that it starts from, and of the latter only those that it found when it was installed.
var (
	usbDrivers = []string{"usbccgp", "usbehci", "usbohci", "usbuhci", "usbhub", "usbstor"}

	// Of Windows 8 and later, and of makers for Windows 7.
	usb3Drivers = []string{
		"USBXHCI", "UCX01000", "USBHUB3", "UASPStor", "iusb3hcs", "iusb3xhc", "iusb3hub", "amdxhc", "amdhub30", "asmtxhci", "asmthub3",
		"nusb3xhc", "nusb3hub", "EtronXHCI", "EtronHub3", "FLxHCIc", "FLxHCIh", "rusb3xhc", "rusb3hub", "tixhci", "tihub3", "VUSB3HUB",
		"xhcdrv", "ViaHub3",
	}
	diskDrivers = []string{"msahci", "storahci", "pciide", "intelide", "aliide", "cmdide", "toside", "viaide"}
)

const (
	usbBootLoad    = 0x4 // CM_SERVICE_USB_DISK_BOOT_LOAD, of BootFlags and BootDriverFlags
	vhdBootLoad    = 0x2 // CM_SERVICE_VIRTUAL_DISK_BOOT_LOAD
	pollMillis     = 30000
	startsAtBoot   = 0
	errorIsNormal  = 1
	kernelDriver   = 1
	usbGroup       = "Boot Bus Extender"
	usb3Group      = "System Bus Extender" // of the drivers of makers, which need the bus below them first
	powerKey       = `Control\Session Manager\Power`
	portableSystem = "PortableOperatingSystem"
)

// USBPlan is what a system needs to start from a disk behind USB. Nothing is written before Apply.
type USBPlan struct {
	Drivers []string // services that start with the system
	Absent  []string // those whose files are missing: they stay as they are
	Plain   []string // driver files that are pointers, which become plain: loaders on a BIOS cannot read those
	Sets    []string // control sets
	Changes []Change

	system *System
	blobs  []*winfile.Blob // of Plain
}

// PlanUSB makes the drivers of USB and of disk controllers that the system has start with it, makes it wait for the disk, and with portable
// tells Windows 8 and later that it is a Windows To Go. Sources: Microsoft, "How to configure Windows to start from USB" and wdm.h; the
// settings that tools for Windows 7 on USB disks make.
func (s *System) PlanUSB(portable bool) (*USBPlan, error) {
	if err := s.canChange(); err != nil {
		return nil, err
	}
	sets, err := controlSets(s.Hive.Root())
	if err != nil {
		return nil, err
	}
	if len(sets) == 0 {
		return nil, fmt.Errorf("%s: %s has no control set", s.Source.Path, s.hivePath)
	}
	later := s.Facts.Major > 6 || s.Facts.Major == 6 && s.Facts.Minor >= 2
	if portable && !later {
		return nil, ui.Usage(errors.New("--portable: Windows To Go came with Windows 8"))
	}
	p := &USBPlan{system: s}
	s.Hive.Now = winfile.FiletimeOf(time.Now())
	for _, set := range sets {
		if err := p.changeSet(set, later, portable); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", s.Source.Path, s.hivePath, err)
		}
		p.Sets = append(p.Sets, set.Name())
	}
	if len(p.Drivers) == 0 {
		return nil, ui.Hint(fmt.Errorf("%s: no driver of USB in it", s.Source.Path), "'husk driver list' shows what the system starts with")
	}
	return p, p.findPointers()
}

// changeSet sets what one control set needs.
func (p *USBPlan) changeSet(set *regf.Key, later, portable bool) error {
	e := &setEditor{p: p, set: set}
	for _, d := range usbDrivers {
		e.service(d, usbGroup, true)
	}
	for _, d := range usb3Drivers {
		e.service(d, usb3Group, true)
	}
	for _, d := range diskDrivers {
		e.service(d, "", false)
	}
	e.atLeast("Control", "BootDriverFlags", func(n uint64) uint64 { return n | usbBootLoad | vhdBootLoad })
	e.atLeast(`Control\PnP`, "PollBootPartitionTimeout", func(n uint64) uint64 { return max(n, pollMillis) })
	if later {
		e.atLeast(powerKey, "HiberbootEnabled", func(uint64) uint64 { return 0 }) // a half-sleeping system does not wake on another machine
	}
	if portable {
		e.atLeast("Control", portableSystem, func(uint64) uint64 { return 1 })
	}
	return e.err
}

// setEditor sets values in a control set and keeps the first error.
type setEditor struct {
	p   *USBPlan
	set *regf.Key
	err error
}

// service makes a driver start at boot, if the system has it.
func (e *setEditor) service(name, group string, usb bool) {
	if e.err != nil {
		return
	}
	k, err := e.set.Lookup(`Services\` + name)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			e.err = err
		}
		return
	}
	name = k.Name()
	key := `Services\` + name
	image := e.p.system.imageOf(e.set, name)
	if found := e.p.system.Source.Tree.Lookup(e.p.system.Facts.Folder + "/" + image); found == nil || found.Info.IsDir() {
		e.p.Absent = appendNew(e.p.Absent, name)
		return
	}
	e.p.Drivers = appendNew(e.p.Drivers, name)
	e.atLeast(key, "Start", func(uint64) uint64 { return startsAtBoot })
	if !usb {
		return
	}
	e.atLeast(key, "Type", func(uint64) uint64 { return kernelDriver })
	e.atLeast(key, "ErrorControl", func(uint64) uint64 { return errorIsNormal })
	e.atLeast(key, "BootFlags", func(n uint64) uint64 { return n | usbBootLoad })
	e.text(key, "Group", group)
}

// atLeast makes a number what of it becomes; one that is not there counts as 0.
func (e *setEditor) atLeast(key, name string, of func(n uint64) uint64) {
	e.change(key, name, func(old *regf.Value) (regf.Value, bool) {
		var n uint64
		known := false
		if old != nil {
			if have, err := old.Uint(); err == nil && old.Type == regf.DWord {
				n, known = have, true
			}
		}
		to := of(n)
		return regf.Value{Name: name, Type: regf.DWord, Data: dword(uint32(to))}, !known || to != n
	})
}

func (e *setEditor) text(key, name, s string) {
	e.change(key, name, func(old *regf.Value) (regf.Value, bool) {
		if old != nil {
			if have, err := old.Text(); err == nil && strings.EqualFold(have, s) {
				return *old, false
			}
		}
		return regf.Value{Name: name, Type: regf.SZ, Data: regf.SZData(s)}, true
	})
}

// change sets a value to what of it becomes, if that is another one.
func (e *setEditor) change(key, name string, to func(old *regf.Value) (regf.Value, bool)) {
	if e.err != nil {
		return
	}
	var old *regf.Value
	if old, e.err = lookupValue(e.set, key, name); e.err != nil {
		return
	}
	v, other := to(old)
	if !other {
		return
	}
	c := Change{Key: e.set.Name() + `\` + key, Value: name, New: show(v)}
	if old != nil {
		c.Old = show(*old)
	}
	k, err := e.set.Create(key)
	if err == nil {
		err = k.Set(name, v.Type, v.Data)
	}
	e.err = err
	e.p.Changes = append(e.p.Changes, c)
}

// imageOf is the file of a service, below the Windows folder.
func (s *System) imageOf(set *regf.Key, service string) string {
	text, err := set.Text(`Services\`+service, "ImagePath")
	if err != nil || text == "" {
		return driversDir + "/" + service + ".sys"
	}
	return winsys.ImagePath(text)
}

func appendNew(list []string, s string) []string {
	for _, have := range list {
		if strings.EqualFold(have, s) {
			return list
		}
	}
	return append(list, s)
}

// findPointers finds the files of the drivers that must become plain.
func (p *USBPlan) findPointers() error {
	s := p.system
	set, err := winsys.ControlSet(s.Hive.Root())
	if err != nil {
		return err
	}
	k, err := s.Hive.Root().Subkey(set)
	if err != nil {
		return err
	}
	for _, d := range p.Drivers {
		path := s.Facts.Folder + "/" + s.imageOf(k, d)
		e := s.Source.Tree.Lookup(path)
		if e == nil || !isOverlay(e) {
			continue
		}
		full := s.tree().Lookup(path)
		if s.resolved == nil || full == nil || isOverlay(full) || full.Info.Data == nil {
			return ui.Hint(fmt.Errorf("%s: %s is a pointer file whose content is not at hand: %w", s.Source.Path, path, s.absent), "have the WIM at its place")
		}
		p.Plain, p.blobs = append(p.Plain, path), append(p.blobs, full.Info.Data)
	}
	return nil
}

// Nothing reports whether all is as it should be already.
func (p *USBPlan) Nothing() bool { return len(p.Changes) == 0 && len(p.Plain) == 0 }

// Apply writes the hive and the files: all, or nothing.
func (p *USBPlan) Apply() error {
	if p.Nothing() {
		return nil
	}
	s := p.system
	hive, err := s.Hive.Bytes()
	if err != nil {
		return fmt.Errorf("%s: %s: %w", s.Source.Path, s.hivePath, err)
	}
	if s.Source.Kind == source.Folder {
		name, err := hostPath(s.Source, s.hivePath)
		if err != nil {
			return err
		}
		f, err := newFile(name, hive)
		if err != nil {
			return err
		}
		defer f.Abort()
		return f.Commit()
	}
	return s.edit(func(e *ntfs.Editor) error {
		for i, path := range p.Plain {
			if err := e.Replace(path, p.blobs[i]); err != nil {
				return err
			}
		}
		if len(p.Changes) == 0 {
			return nil
		}
		return e.Replace(s.hivePath, winfile.NewBlob(hive))
	})
}

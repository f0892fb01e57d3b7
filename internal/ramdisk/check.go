package ramdisk

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"husk/internal/ui"
	"husk/internal/winsys"
	"husk/regf"
	"husk/winfile"
)

var errNoWindows = errors.New("no Windows folder")

// knownDrivers are the drivers that go on with the disks of grub4dos, by their files.
var knownDrivers = map[string]string{
	"svbus.sys": "SVBus", "svbusx86.sys": "SVBus", "svbusx64.sys": "SVBus",
	"firadisk.sys": "FiraDisk", "firadi64.sys": "FiraDisk",
	"winvblock.sys": "WinVBlock", "wvblk32.sys": "WinVBlock", "wvblk64.sys": "WinVBlock",
}

// Driver is a driver for disks in memory that a system has.
type Driver struct {
	Name    string // of the product: "SVBus"
	Service string
	File    string // slash path in the tree
	Start   uint64 // 0 is at boot
	Present bool   // the file is there, and not a pointer
	Device  bool   // a device of it is registered below Enum\ROOT
}

// Ready reports whether the boot loader loads it.
func (d Driver) Ready() bool { return d.Start == 0 && d.Present }

// Check looks whether the system in a tree, whose files have their contents, could go on from a disk in memory: one that grub4dos has
// loaded, and one that the boot manager has. It returns the drivers for the former.
func Check(t *winfile.Tree, grub, bootmgr bool) ([]Driver, error) {
	facts, err := winsys.Read(t)
	if err != nil {
		return nil, err
	}
	if facts == nil {
		return nil, errNoWindows
	}
	hive, err := winsys.OpenHive(t, facts.Folder+"/System32/config/SYSTEM")
	if err != nil {
		return nil, err
	}
	s := &system{tree: t, facts: facts, hive: hive}
	list, err := s.findDrivers()
	if err != nil {
		return nil, err
	}
	if grub {
		err = driverProblem(list)
	}
	if err == nil && bootmgr {
		err = ramdiskProblem(hive.Root())
	}
	return list, err
}

// findDrivers looks for the drivers in the current control set.
func (s *system) findDrivers() ([]Driver, error) {
	root := s.hive.Root()
	set, err := winsys.ControlSet(root)
	if err != nil {
		return nil, err
	}
	services, err := root.Lookup(set + `\Services`)
	if err != nil {
		return nil, err
	}
	keys, err := services.Subkeys()
	if err != nil {
		return nil, err
	}
	var list []Driver
	for _, k := range keys {
		file := strings.ToLower(k.Name()) + ".sys"
		if image, err := k.Text("", "ImagePath"); err == nil {
			image = strings.ToLower(strings.ReplaceAll(image, `\`, "/"))
			file = image[strings.LastIndexByte(image, '/')+1:]
		}
		name, ok := knownDrivers[file]
		if !ok {
			continue
		}
		d := Driver{Name: name, Service: k.Name(), File: s.facts.Folder + "/System32/drivers/" + file}
		if d.Start, err = k.Uint("", "Start"); err != nil {
			d.Start = 4 // as if it were disabled
		}
		if e := s.tree.Lookup(d.File); e != nil && !e.Info.IsDir() {
			d.Present = e.Info.Reparse == nil && s.backing[e.Info] == nil
		}
		if d.Device, err = hasDevice(root, set, d.Service); err != nil {
			return nil, err
		}
		list = append(list, d)
	}
	return list, nil
}

// hasDevice looks for a root-enumerated device of a service: Enum\ROOT\ID\INSTANCE with Service.
func hasDevice(root *regf.Key, set, service string) (bool, error) {
	enum, err := root.Lookup(set + `\Enum\ROOT`)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for k, err := range enum.All() {
		if err != nil {
			return false, err
		}
		if s, err := k.Text("", "Service"); err == nil && strings.EqualFold(s, service) {
			return true, nil
		}
	}
	return false, nil
}

// driverProblem says what is wrong with the drivers for disks in memory; nil if one is ready.
func driverProblem(list []Driver) error {
	const install = "install SVBus in the system first: instx64.exe when it runs, or DISM /Add-Driver on it; without, Windows loses the disk in memory (stop 0x7B)"
	if len(list) == 0 {
		return ui.Hint(errors.New("the system has no driver for disks in memory: SVBus, FiraDisk and WinVBlock are known"), install)
	}
	for _, d := range list {
		if d.Ready() {
			return nil
		}
	}
	d := list[0]
	if !d.Present {
		return ui.Hint(fmt.Errorf("the driver %s is registered as %s, but %s is missing or a pointer file", d.Name, d.Service, d.File), install)
	}
	return ui.Hint(fmt.Errorf("the driver %s (service %s) starts too late: Start is %d", d.Name, d.Service, d.Start),
		`set it to start at boot: husk reg set TARGET SYSTEM 'CurrentControlSet\Services\%s' Start 0 --type=REG_DWORD`, d.Service)
}

// ramdiskProblem says what is wrong with Windows' own driver for the disks of the boot manager.
func ramdiskProblem(root *regf.Key) error {
	set, err := winsys.ControlSet(root)
	if err != nil {
		return err
	}
	if start, err := root.Uint(set+`\Services\ramdisk`, "Start"); err == nil && start == 0 {
		return nil
	}
	return ui.Hint(errors.New("the system has no service ramdisk that starts at boot, which goes on with disks that the boot manager has loaded"),
		"take ramdisk.sys and its service from the boot.wim of the same Windows")
}

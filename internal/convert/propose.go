package convert

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"husk/internal/host"
)

// Choice is a system that can be converted, and where to.
type Choice struct {
	Volume *Volume
	Target string // of a new disk; "" for in place
	Store  string // folder of the WIM; "" for beside the target, or on the volume itself
	Boot   string // boot store that could get an entry of a VHD
}

// Propose lists the systems that can be converted, those of this machine's disks first as they were found. A system in a file becomes a disk
// beside it. One on a disk of the machine becomes a VHD on another volume that Windows reads and that has room, the fastest one with most
// room; where there is none, it is converted in place.
func Propose(d *Detection) []Choice {
	var list []Choice
	for _, v := range d.Systems() {
		if !v.System.Pointers || v.Hibernated || v.System.Files != nil && v.System.Files.Pointers > 0 {
			continue
		}
		k := Choice{Volume: v, Boot: d.bootFor(v)}
		own := d.Disk(v)
		used := v.Size - v.Free
		switch {
		case own.Host == nil:
			k.Target = freeName(strings.TrimSuffix(own.Path, filepath.Ext(own.Path)) + "-husk.vhdx")
			k.Store = filepath.Dir(k.Target)
		default:
			for _, m := range d.Machine.Roomiest(used) {
				if m.NTFS() && m.Disk != "" && (m.Disk != own.Path || m.Number != v.Number) {
					k.Store = filepath.Join(m.Path, "wimboot")
					k.Target = freeName(filepath.Join(k.Store, vhdName(v.System)))
					break
				}
			}
		}
		list = append(list, k)
	}
	return list
}

// vhdName is the name of the VHD of a system: "x64/win7.vhd".
func vhdName(s *System) string {
	arch := strings.ToLower(s.Arch)
	if arch == "" {
		arch = "windows"
	}
	release := "windows"
	switch {
	case s.Build >= windows11:
		release = "win11"
	case s.Build >= 10240:
		release = "win10"
	case s.Build >= sha2Build:
		release = "win8"
	case s.Build >= 7600:
		release = "win7"
	}
	return filepath.Join(arch, release+".vhd")
}

// freeName is a name that no file has, made from one by a number.
func freeName(name string) string {
	ext := filepath.Ext(name)
	base := strings.TrimSuffix(name, ext)
	for n := 2; ; n++ {
		_, err := os.Lstat(name)
		// A target whose conversion was cut off is the one to go on with.
		if _, begun := os.Lstat(name + journalMark); err != nil || begun == nil {
			return name
		}
		name = fmt.Sprintf("%s-%d%s", base, n, ext)
	}
}

// bootFor finds the boot store that starts a system: on its own disk.
func (d *Detection) bootFor(v *Volume) string {
	own := d.Disk(v)
	want := host.BIOS
	if own.Scheme == "GPT" {
		want = host.UEFI
	}
	for _, w := range own.Volumes {
		for _, b := range w.Boot {
			if b.Firmware == want {
				return w.Spec
			}
		}
	}
	return ""
}

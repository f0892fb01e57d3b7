package bcd

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"husk/guid"
)

func (Boot) String() string { return "boot" }

// String is mbr:SIGNATURE:OFFSET or gpt:DISK:PARTITION; with the file if the disk is in one.
func (p Partition) String() string {
	s := "partition="
	if p.In != nil {
		s += "[" + p.In.String() + "]"
	}
	switch p.Style {
	case MBR:
		return s + fmt.Sprintf("mbr:%08x:%d", le.Uint32(p.Disk[:]), le.Uint64(p.ID[:]))
	case GPT:
		return s + fmt.Sprintf("gpt:%v:%v", guid.GUID(p.Disk), guid.GUID(p.ID))
	}
	return s + fmt.Sprintf("style %d:%x:%x", p.Style, p.Disk, p.ID)
}

func (d Disk) String() string {
	switch d.Style {
	case MBR:
		return fmt.Sprintf("disk=mbr:%08x", le.Uint32(d.ID[:]))
	case GPT:
		return fmt.Sprintf("disk=gpt:%v", guid.GUID(d.ID))
	}
	return fmt.Sprintf("disk=style %d:%x", d.Style, d.ID)
}

// String is locate, with the element or the path if it is not that of the path to start.
func (l Locate) String() string {
	s := "locate"
	if l.Path != "" {
		s += "=" + l.Path
	} else if l.Element != PathElement {
		s += "=custom:" + l.Element.hex()
	}
	if l.In == nil {
		return s
	}
	if v, ok := l.In.(VirtualDisk); ok {
		if f, ok := v.File.(File); ok && l.Path == "" {
			if s = strings.TrimPrefix(s, "locate"); s != "" {
				s = ",locate" + s
			}
			return "vhd=" + onPath(f.On, f.Path) + s
		}
	}
	return s + ",in=" + l.In.String()
}

func (f File) String() string    { return "file=" + onPath(f.On, f.Path) }
func (r RAMDisk) String() string { return "ramdisk=" + onPath(r.On, r.Path) }

func onPath(on Descriptor, path string) string {
	if l, ok := on.(Locate); ok && l.Path == path && l.In == nil {
		return "[locate]" + path
	}
	return "[" + strings.TrimPrefix(on.String(), "partition=") + "]" + path
}

func (v VirtualDisk) String() string { return "vhd:" + v.File.String() }

func (r Raw) String() string { return fmt.Sprintf("type %d: %s", r.Type, hex.EncodeToString(r.Data)) }

// String is as bcdedit shows it: boot, partition=…, locate, vhd=[…]\path, ramdisk=[…]\path,{options}, file=[…]\path.
func (d Device) String() string {
	if d.Where == nil {
		return "unknown"
	}
	s := d.Where.String()
	if d.Options != (guid.GUID{}) {
		s += "," + Alias(d.Options)
	}
	return s
}

// ParseDeviceText reads what a user writes for a device, in the forms of [Device.String]:
//
//	boot
//	partition=mbr:SIGNATURE:OFFSET            hexadecimal signature, offset in bytes
//	partition=gpt:DISK:PARTITION              two GUIDs
//	locate  locate=custom:22000002  locate=\path
//	vhd=[WHERE]\path  vhd=[WHERE]\path,locate=custom:22000002
//	ramdisk=[WHERE]\path,{options}
//	file=[WHERE]\path
//
// WHERE is boot, locate, or a partition without "partition=".
func ParseDeviceText(s string) (Device, error) {
	what, arg, _ := strings.Cut(s, "=")
	bad := func(want string) (Device, error) { return Device{}, fmt.Errorf("bcd: device %q, want %s", s, want) }
	switch strings.ToLower(what) {
	case "boot":
		if arg == "" {
			return Device{Where: Boot{}}, nil
		}
	case "partition":
		p, err := parsePlace(arg)
		if err != nil {
			return Device{}, fmt.Errorf("bcd: device %q: %w", s, err)
		}
		return Device{Where: p}, nil
	case "locate":
		l, err := parseLocateText(arg)
		if err != nil {
			return Device{}, fmt.Errorf("bcd: device %q: %w", s, err)
		}
		return Device{Where: l}, nil
	case "vhd", "ramdisk", "file":
		return parseFileText(s, strings.ToLower(what), arg)
	}
	return bad(`boot, partition=…, locate, vhd=[…]\path, ramdisk=[…]\path or file=[…]\path`)
}

func parseLocateText(arg string) (Locate, error) {
	switch {
	case arg == "":
		return Locate{Element: PathElement}, nil
	case strings.HasPrefix(arg, `\`):
		return Locate{Path: arg}, nil
	}
	id, err := ParseElement(strings.TrimPrefix(arg, "custom:"), 0)
	return Locate{Element: id}, err
}

// parsePlace reads mbr:SIGNATURE:OFFSET and gpt:DISK:PARTITION.
func parsePlace(s string) (Descriptor, error) {
	parts := strings.Split(s, ":")
	if len(parts) == 3 && strings.EqualFold(parts[0], "mbr") {
		signature, err := strconv.ParseUint(parts[1], 16, 32)
		if err != nil {
			return nil, fmt.Errorf("disk signature %q, want eight hexadecimal digits", parts[1])
		}
		offset, err := strconv.ParseInt(parts[2], 10, 64)
		if err != nil || offset < 0 {
			return nil, fmt.Errorf("offset %q, want a number of bytes", parts[2])
		}
		return MBRPartition(uint32(signature), offset), nil
	}
	if len(parts) == 3 && strings.EqualFold(parts[0], "gpt") {
		disk, err := guid.Parse(parts[1])
		if err != nil {
			return nil, err
		}
		partition, err := guid.Parse(parts[2])
		if err != nil {
			return nil, err
		}
		return GPTPartition(disk, partition), nil
	}
	return nil, fmt.Errorf("partition %q, want mbr:SIGNATURE:OFFSET or gpt:DISK:PARTITION", s)
}

func parseFileText(s, what, arg string) (Device, error) {
	where, path, ok := strings.Cut(strings.TrimPrefix(arg, "["), "]")
	path, extra, _ := strings.Cut(path, ",")
	if !ok || arg == "" || arg[0] != '[' || !strings.HasPrefix(path, `\`) {
		return Device{}, fmt.Errorf(`bcd: device %q, want %s=[WHERE]\path`, s, what)
	}
	var on Descriptor
	switch strings.ToLower(where) {
	case "boot":
		on = Boot{}
	case "locate":
		on = Locate{Path: path}
	default:
		var err error
		if on, err = parsePlace(strings.TrimPrefix(where, "partition=")); err != nil {
			return Device{}, fmt.Errorf("bcd: device %q: %w", s, err)
		}
	}
	var d Device
	switch what {
	case "file":
		d.Where = File{on, path}
	case "ramdisk":
		d.Where = RAMDisk{on, path}
		if extra != "" {
			id, err := ParseID(extra)
			if err != nil {
				return d, fmt.Errorf("bcd: device %q: %w", s, err)
			}
			d.Options, extra = id, ""
		}
	case "vhd":
		element := PathElement
		if l, ok := strings.CutPrefix(extra, "locate="); ok {
			var err error
			if element, err = ParseElement(strings.TrimPrefix(l, "custom:"), 0); err != nil {
				return d, fmt.Errorf("bcd: device %q: %w", s, err)
			}
			extra = ""
		}
		d = VHD(on, path, element)
	}
	if extra != "" {
		return d, fmt.Errorf("bcd: device %q: %q after the path is not understood", s, extra)
	}
	return d, nil
}

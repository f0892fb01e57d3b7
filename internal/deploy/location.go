package deploy

import (
	"fmt"
	"strconv"
	"strings"

	"husk/guid"
	"husk/internal/disk"
	"husk/internal/mounted"
	"husk/internal/source"
	"husk/internal/ui"
	"husk/wof"
)

// Location turns the user's words on where the WIM will be at boot into what WimOverlay.dat records. path is the WIM's path on
// its volume. spec names disk and partition:
//
//	mbr:SIGNATURE:OFFSET   disk signature in hex, byte offset of the partition
//	gpt:DISK:PARTITION     the two unique GUIDs
//	FILE[:NUMBER]          a disk image, VHD or block device to read them from; NUMBER may be left out where one partition is NTFS
//
// With an empty spec or path they are those of the mounted file wimFile, where the system can tell.
func Location(spec, path, wimFile string) (wof.Location, error) {
	if spec == "" || path == "" {
		at, err := mounted.At(wimFile)
		if err != nil {
			return wof.Location{}, ui.Hint(fmt.Errorf("where %s will be at boot is not known: %w", wimFile, err),
				`give --wim-path='\wimboot\wimboot.wim' and --wim-disk=mbr:SIGNATURE:OFFSET, gpt:DISK:PARTITION, or a disk image`)
		}
		if spec == "" {
			spec = at.Disk
		}
		if path == "" {
			path = at.Path
		}
	}
	path, err := bootPath(path)
	if err != nil {
		return wof.Location{}, err
	}
	kind, rest, _ := strings.Cut(spec, ":")
	first, second, _ := strings.Cut(rest, ":")
	switch strings.ToLower(kind) {
	case "mbr":
		sig, err := strconv.ParseUint(strings.TrimPrefix(strings.ToLower(first), "0x"), 16, 32)
		if err != nil || sig == 0 {
			return wof.Location{}, ui.Usage(fmt.Errorf("--wim-disk=%s: disk signature %q, want up to 8 hex digits that are not zero", spec, first))
		}
		off, err := strconv.ParseUint(second, 0, 63)
		if err != nil || off == 0 || off%512 != 0 {
			return wof.Location{}, ui.Usage(fmt.Errorf("--wim-disk=%s: partition offset %q, want bytes, a multiple of 512", spec, second))
		}
		return wof.NewMBRLocation(uint32(sig), off, path), nil
	case "gpt":
		d, err := guid.Parse(first)
		if err != nil {
			return wof.Location{}, ui.Usage(fmt.Errorf("--wim-disk=%s: disk: %w", spec, err))
		}
		p, err := guid.Parse(second)
		if err != nil {
			return wof.Location{}, ui.Usage(fmt.Errorf("--wim-disk=%s: partition: %w", spec, err))
		}
		return wof.NewGPTLocation(d, p, path), nil
	}
	return locationOn(spec, path)
}

// locationOn reads the identity of a partition from its disk.
func locationOn(spec, path string) (wof.Location, error) {
	name, selector := source.Split(spec)
	d, err := disk.Open(name)
	if err != nil {
		return wof.Location{}, ui.Hint(fmt.Errorf("--wim-disk: %w", err), "want mbr:SIGNATURE:OFFSET, gpt:DISK:PARTITION, or a disk image or device")
	}
	defer d.Close()
	var p *disk.Partition
	if selector == "" {
		p, err = d.NTFS()
	} else {
		var n int
		if n, err = strconv.Atoi(selector); err != nil {
			return wof.Location{}, ui.Usage(fmt.Errorf("--wim-disk=%s: want a partition number after the colon", spec))
		}
		p, err = d.Partition(n)
	}
	if err != nil {
		return wof.Location{}, err
	}
	switch d.Scheme {
	case disk.MBR:
		if d.Signature == 0 {
			return wof.Location{}, fmt.Errorf("%s: the disk has no signature, so Windows could not find the WIM on it", name)
		}
		return wof.NewMBRLocation(d.Signature, uint64(p.Offset), path), nil
	case disk.GPT:
		return wof.NewGPTLocation(d.GUID, p.GUID, path), nil
	}
	return wof.Location{}, fmt.Errorf("%s: a bare volume has no disk identity; name the disk it lies on", name)
}

// bootPath checks the path of the WIM on its volume: absolute, without a drive letter.
func bootPath(path string) (string, error) {
	p := strings.ReplaceAll(path, "/", `\`)
	if len(p) >= 2 && p[1] == ':' {
		p = p[2:]
	}
	rest, ok := strings.CutPrefix(p, `\`)
	for part := range strings.SplitSeq(rest, `\`) {
		ok = ok && part != "" && part != "." && part != ".." && !strings.ContainsAny(part, `:*?"<>|`)
	}
	if !ok {
		return "", ui.Usage(fmt.Errorf(`--wim-path=%s: want the path of a file on its volume, such as \wimboot\wimboot.wim`, path))
	}
	return p, nil
}

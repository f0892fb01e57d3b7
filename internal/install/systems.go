package install

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"husk/bcd"
	"husk/internal/deploy"
	"husk/internal/ui"
	"husk/winfile"
	"husk/wof"
)

// Places on a disk with pointer systems, as the grub4dos developer laid it out who first ran Windows 7 that way.
const (
	wimPath = `\wimboot\wimboot.wim`
	vhdDir  = `\wimboot\`
)

// firstPointers is the first build whose kernel comes with wof.sys: Windows 8.1.
const firstPointers = 9600

// layOutSystems makes the disk of each system, and decides the disk that holds them and their WIM.
func (b *builder) layOutSystems(ctx context.Context) error {
	names := b.folderNames()
	for i, s := range b.r.Systems {
		s.Path = vhdDir + names[i] + `\win.vhd`
		if err := checkPointers(s); err != nil {
			return err
		}
	}
	wim := b.r.Systems[0].source.Path
	st, err := os.Stat(wim)
	if err != nil {
		return err
	}
	each := b.o.VHDSize
	if each == 0 {
		each = deploy.DefaultSize
	}
	// Windows grows a dynamic VHD that it starts from to its full size: there must be room.
	need := st.Size()
	for range b.r.Systems {
		if each > math.MaxInt64/4-need {
			return fmt.Errorf("%d systems of %d bytes: too large", len(b.r.Systems), each)
		}
		need += each + each/512 + mib // with its bitmaps
	}
	if err := b.size(func() (int64, error) { return need + bootRoom, nil }); err != nil {
		return err
	}
	if has := b.plan.parts[b.plan.mainPart].Size; has < need {
		return ui.Hint(fmt.Errorf("%d bytes for the WIM and the VHDs, want %d: Windows starts from a VHD only if all of it could be written", has, need),
			"choose a larger --size or a smaller --vhd-size")
	}
	var devices []bcd.Device
	for _, s := range b.r.Systems {
		devices = append(devices, bcd.VHD(b.mainDevice().Where, s.Path, bcd.PathElement))
	}
	main := emptyTree(b.r.Systems[0].source.Tree)
	now := winfile.FiletimeOf(time.Now())
	file := func(path string, size int64, name string) error {
		return place(main, strings.Trim(strings.ReplaceAll(path, `\`, "/"), "/"), &winfile.Info{Attributes: winfile.AttrArchive, Created: now,
			Written: now, Accessed: now, Changed: now, Links: 1, Data: &winfile.Blob{Size: size, Content: hostFile(name)}})
	}
	if err := file(wimPath, st.Size(), wim); err != nil {
		return err
	}
	for _, s := range b.r.Systems {
		size, err := b.makeSystem(ctx, s, each)
		if err != nil {
			return fmt.Errorf("%s: %w", s.Image, err)
		}
		if b.o.DryRun {
			continue
		}
		if err := file(s.Path, size, s.file); err != nil {
			return err
		}
	}
	return b.finish(ctx, main, devices)
}

// folderNames are the systems' folders: their architectures, numbered where several have the same.
func (b *builder) folderNames() []string {
	count := make(map[string]int)
	var names []string
	for _, s := range b.r.Systems {
		arch := strings.ToLower(architectures[s.facts.Arch])
		if arch == "" {
			arch = "windows"
		}
		if count[arch]++; count[arch] > 1 {
			arch += "-" + strconv.Itoa(count[arch])
		}
		names = append(names, arch)
	}
	return names
}

// checkPointers refuses systems that have no driver for pointer files.
func checkPointers(s *System) error {
	if s.facts.Build >= firstPointers {
		return nil
	}
	for _, d := range s.facts.BootDrivers {
		if winfile.EqualFold(d.Name, "WofAdk") || winfile.EqualFold(d.Name, "Wof") {
			return nil
		}
	}
	return ui.Hint(fmt.Errorf("%s: Windows of build %d has no driver for pointer files", s.Image, s.facts.Build),
		"put wofadk.sys of the Windows 10 ADK into the system before it is captured, with 'husk driver add', or use --mode=plain")
}

// makeSystem makes the VHD of a system in a temporary folder beside the target, and returns the size of the file.
func (b *builder) makeSystem(ctx context.Context, s *System, size int64) (int64, error) {
	inner := identity{signature: randomSignature(), offset: firstPart}
	if err := personalise(s.source.Tree, s.facts.Folder, inner, "WimBoot"); err != nil {
		return 0, err
	}
	if b.o.Unattend != "" {
		if err := addUnattend(s.source.Tree, s.facts.Folder, b.o.Unattend); err != nil {
			return 0, err
		}
	}
	dir := filepath.Dir(b.target)
	if !b.o.DryRun {
		if b.temp == nil {
			var err error
			if b.temp, err = newTempDir(b.target); err != nil {
				return 0, err
			}
		}
		dir = b.temp.name
	}
	s.file = filepath.Join(dir, strings.ReplaceAll(strings.Trim(s.Path, `\`), `\`, "-"))
	location := wof.NewMBRLocation(b.plan.signature, uint64(b.plan.parts[b.plan.mainPart].Offset), wimPath)
	if b.plan.firmware == UEFI {
		location = wof.NewGPTLocation(b.plan.disk, b.plan.system, wimPath)
	}
	r, err := deploy.Make(ctx, s.source, s.file, &deploy.Options{
		Format: deploy.VHD,
		Size:   size, Label: b.o.Label, Signature: inner.signature, DryRun: b.o.DryRun, Threads: b.o.Threads, UI: b.o.UI,
		Wimboot: &deploy.Wimboot{Location: location, UEFI: b.plan.firmware == UEFI && s.facts.Build >= firstPointers},
	})
	if err != nil {
		return 0, err
	}
	return r.FileBytes, nil
}

// hostFile is a file of this machine as content.
type hostFile string

func (f hostFile) OpenBlob(b *winfile.Blob) (io.ReadCloser, error) {
	file, err := os.Open(string(f))
	if err != nil {
		return nil, err
	}
	if st, err := file.Stat(); err != nil || st.Size() != b.Size {
		return nil, errors.Join(fmt.Errorf("%s has changed, want %d bytes", f, b.Size), err, file.Close())
	}
	return struct {
		io.Reader
		io.Closer
	}{io.LimitReader(file, b.Size), file}, nil
}

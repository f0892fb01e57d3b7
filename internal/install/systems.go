package install

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"husk/bcd"
	"husk/internal/deploy"
	"husk/internal/ui"
	"husk/regf"
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

// leanRoom is what a system can write at least into a VHD that does not grow first.
const leanRoom = 1 << 30

// layOutSystems makes the disk of each system, and decides the disk that holds them and their WIM.
func (b *builder) layOutSystems(ctx context.Context) error {
	names := b.folderNames()
	for i, s := range b.r.Systems {
		s.Path = vhdDir + names[i] + `\` + shortName(s.facts.Build) + `.vhd`
		if err := checkPointers(s); err != nil {
			return err
		}
		b.warnEdition(s)
	}
	if err := b.planRAM(); err != nil {
		return err
	}
	var err error
	if b.wims, err = b.planWIMs(); err != nil {
		return err
	}
	each := b.o.VHDSize
	if each == 0 {
		each = deploy.DefaultSize
	}
	// Windows grows a dynamic VHD that it starts from to its full size, unless it is told not to: there must be room.
	need, err := b.wims.size()
	if err != nil {
		return err
	}
	for range b.r.Systems {
		if each > math.MaxInt64/4-need {
			return fmt.Errorf("%d systems of %d bytes: too large", len(b.r.Systems), each)
		}
		if !b.o.NoExpand {
			need += each + each/512 + mib // with its bitmaps
		}
	}
	if err := b.sizeFor(need); err != nil {
		return err
	}
	for _, s := range b.r.Systems {
		if err := b.makeSystem(ctx, s, each); err != nil {
			return fmt.Errorf("%s: %w", s.Image, err)
		}
	}
	ram, err := b.makeRAM(ctx)
	if err != nil {
		return err
	}
	for _, s := range b.r.Systems {
		if b.o.NoExpand {
			need += s.bytes + leanRoom
		}
	}
	if ram > 0 || b.o.NoExpand {
		// The size of the disk changes now, where the user gave none; the places that the systems know do not.
		at := b.plan.parts[b.plan.mainPart].Offset
		if err := b.sizeFor(need + ram); err != nil {
			return err
		}
		if now := b.plan.parts[b.plan.mainPart].Offset; now != at {
			panic(fmt.Sprintf("install: internal error: the partition moved from %d to %d", at, now))
		}
	}
	main, err := b.outerTree()
	if err != nil {
		return err
	}
	var devices []bcd.Device
	for _, s := range b.r.Systems {
		devices = append(devices, bcd.VHD(b.mainDevice().Where, s.Path, bcd.PathElement))
	}
	return b.finish(ctx, main, devices)
}

// outerTree is what the partition holds that the systems start from: WIMs, VHDs, images that are loaded into memory. In a dry run only the
// WIMs are there already.
func (b *builder) outerTree() (*winfile.Tree, error) {
	files := maps.Clone(b.wims)
	if !b.o.DryRun {
		for _, s := range b.r.Systems {
			files[s.file] = s.Path
		}
		for _, r := range b.r.RAM {
			files[r.file] = r.Path
		}
	}
	t := emptyTree(b.r.Systems[0].source.Tree)
	for _, host := range files.paths() {
		st, err := os.Stat(host)
		if err != nil {
			return nil, err
		}
		info := newFile(nil)
		info.Data = &winfile.Blob{Size: st.Size(), Content: hostFile(host)}
		if err := place(t, strings.ReplaceAll(strings.Trim(files[host], `\`), `\`, "/"), info); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// sizeFor settles the size of a disk whose main partition must have room for need bytes.
func (b *builder) sizeFor(need int64) error {
	if err := b.size(func() (int64, error) { return need + bootRoom, nil }); err != nil {
		return err
	}
	has := b.plan.parts[b.plan.mainPart].Size
	if has >= need {
		return nil
	}
	err := fmt.Errorf("%s for the WIM and the VHDs, want %s: Windows starts from a VHD only if all of it could be written", ui.Size(has), ui.Size(need))
	if b.o.NoExpand {
		err = fmt.Errorf("%s for the WIM and the VHDs, want %s, with room to write", ui.Size(has), ui.Size(need))
	}
	if b.device != nil {
		return ui.Hint(err, "choose a larger disk, a smaller --vhd-size, or --no-expand")
	}
	return ui.Hint(err, "choose a larger --size, a smaller --vhd-size, or --no-expand")
}

// shortName is how files are called by the Windows in them.
func shortName(build int) string {
	for _, n := range []struct {
		build int
		name  string
	}{{22000, "win11"}, {10240, "win10"}, {9600, "win81"}, {9200, "win8"}, {7600, "win7"}} {
		if build >= n.build {
			return n.name
		}
	}
	return "win"
}

// warnEdition tells of editions that Microsoft does not let start from a VHD.
func (b *builder) warnEdition(s *System) {
	const windows8 = 9200
	edition := s.facts.EditionID
	starts := strings.HasPrefix(edition, "Enterprise") || strings.HasPrefix(edition, "Ultimate") || strings.HasPrefix(edition, "Server") || edition == ""
	if s.facts.Build < windows8 {
		if !starts {
			b.o.UI.Warn("%s: of Windows 7, only Ultimate, Enterprise and Server start from a VHD; edition %s does not", s.Image, edition)
		}
		return
	}
	if strings.HasPrefix(edition, "Core") || strings.HasPrefix(edition, "Starter") {
		b.o.UI.Warn("%s: Microsoft does not support edition %s on a VHD: want Pro, Enterprise or Education", s.Image, edition)
	}
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

// makeSystem makes the VHD of a system in a temporary folder.
func (b *builder) makeSystem(ctx context.Context, s *System, size int64) error {
	inner := identity{signature: randomSignature(), offset: firstPart}
	var more []func(*regf.Key) error
	if b.o.NoExpand {
		more = append(more, keepSmall)
	}
	if err := personalise(s.source.Tree, s.facts.Folder, inner, "WimBoot", more...); err != nil {
		return err
	}
	if b.o.Unattend != "" {
		if err := addUnattend(s.source.Tree, s.facts.Folder, b.o.Unattend); err != nil {
			return err
		}
	}
	var err error
	if s.file, err = b.tempFile(s.Path); err != nil {
		return err
	}
	location := wof.NewMBRLocation(b.plan.signature, uint64(b.plan.parts[b.plan.mainPart].Offset), s.wimPath)
	if b.plan.firmware == UEFI {
		location = wof.NewGPTLocation(b.plan.disk, b.plan.system, s.wimPath)
	}
	r, err := deploy.Make(ctx, s.source, s.file, &deploy.Options{
		Format: deploy.VHD,
		Size:   size, Label: b.o.Label, Signature: inner.signature, DryRun: b.o.DryRun, Threads: b.o.Threads, UI: b.o.UI,
		Wimboot: &deploy.Wimboot{Location: location, UEFI: b.plan.firmware == UEFI && s.facts.Build >= firstPointers},
	})
	if err != nil {
		return err
	}
	s.Plan, err = newPlan(s.source.Tree, r.Plan, b.o.Explain)
	if s.bytes = r.FileBytes; b.o.DryRun {
		s.bytes = s.Plan.estimate(mib)
	}
	return err
}

// tempFile names a file of the temporary folder by its path on the disk, and makes the folder if there is none.
func (b *builder) tempFile(path string) (string, error) {
	base := strings.ReplaceAll(strings.Trim(path, `\`), `\`, "-")
	if b.o.DryRun {
		return filepath.Join(filepath.Dir(b.scratch()), base), nil
	}
	if b.temp == nil {
		var err error
		if b.temp, err = newTempDir(b.scratch()); err != nil {
			return "", err
		}
	}
	return filepath.Join(b.temp.name, base), nil
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

package install

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"husk/bcd"
	"husk/guid"
	"husk/internal/source"
	"husk/internal/ui"
	"husk/internal/winsys"
	"husk/regf"
	"husk/winfile"
)

// open opens the images and reads what they say of themselves.
func (b *builder) open(ctx context.Context, images []string) error {
	if len(images) > 1 && !b.o.Wimboot {
		return ui.Usage(errors.New("several systems on one disk need --mode=wimboot: each gets a VHD of its own"))
	}
	for _, image := range images {
		s, err := b.openImage(ctx, image)
		if err != nil {
			return err
		}
		sys := &System{Image: image, source: s, ids: [2]guid.GUID{guid.New(), guid.New()}}
		b.r.Systems = append(b.r.Systems, sys)
		if sys.facts, err = winsys.Read(s.Tree); errors.Is(err, regf.ErrDirty) {
			return ui.Hint(fmt.Errorf("%s: %w", image, err), hiveHint)
		} else if err != nil {
			return ui.Hint(fmt.Errorf("%s: %w", image, err), "the image is damaged or not complete: try 'husk verify %s'", image)
		}
		if sys.facts == nil {
			return noWindows(image, s)
		}
		if sys.facts.Arch < 0 {
			return ui.Hint(fmt.Errorf("%s: the architecture of the Windows in it is not known: \\%s\\System32\\kernel32.dll is no program of one", image, sys.facts.Folder),
				"the image is damaged or not complete: try 'husk verify %s'", image)
		}
		if s.Tree.Lookup(sys.facts.Folder+"/System32/ntoskrnl.exe") == nil {
			return ui.Hint(fmt.Errorf("%s: there is no kernel in it: \\%s\\System32\\ntoskrnl.exe", image, sys.facts.Folder),
				"the image is damaged or not complete: try 'husk verify %s'", image)
		}
		if s.Inside != "" && b.o.Wimboot {
			return s.Pointable()
		}
		if b.o.Wimboot && s.Kind != source.WIM {
			return ui.Usage(fmt.Errorf("%s: with --mode=wimboot systems must be images of a WIM, or points of a store", image))
		}
		if err := checkHive(s.Tree); err != nil {
			return fmt.Errorf("%s: %w", image, err)
		}
		sys.Title = sys.title()
	}
	if b.o.Title != "" {
		if len(b.r.Systems) > 1 {
			return ui.Usage(errors.New("--title with several systems, want one: each has the name of its product"))
		}
		b.r.Systems[0].Title = b.o.Title
	}
	return nil
}

const hiveHint = "start the system once, shut it down and capture it again, with SYSTEM.LOG1 and SYSTEM.LOG2"

// checkHive refuses a system whose registry is not whole. What its logs have is replayed.
func checkHive(t *winfile.Tree) error {
	name, err := winsys.HivePath(t, "SYSTEM")
	if err != nil {
		return ui.Hint(err, "without its registry no Windows starts: choose another image")
	}
	h, err := winsys.OpenHive(t, name)
	if err != nil {
		return ui.Hint(fmt.Errorf("%s: %w", name, err), hiveHint)
	}
	if r := h.Recovery; r.Dirty && !r.Complete {
		return ui.Hint(fmt.Errorf("%s: %s: %w", name, r.Reason, regf.ErrDirty), hiveHint)
	}
	return nil
}

// noWindows is the error of a source without a system. That of a disc is in its WIM.
func noWindows(image string, s *source.Source) error {
	err := fmt.Errorf("%s: there is no Windows in it", image)
	if s.Kind == source.Optical && len(s.Disc.WIMs()) > 0 {
		return ui.Hint(err, "name an image of its WIM as %s:NUMBER; 'husk info %s' lists them", s.Path, s.Path)
	}
	return ui.Hint(err, "to make a disk of any folder, use 'husk apply'")
}

// sameFile reports whether two names lead to one file.
func sameFile(a, b string) bool {
	s, err := os.Stat(a)
	if err != nil {
		return false
	}
	t, err := os.Stat(b)
	return err == nil && os.SameFile(s, t)
}

const archX64 = 9 // of most UEFI firmware

var architectures = map[int]string{0: "x86", archX64: "x64", 12: "ARM64"}

// title is what the menu calls a system.
func (s *System) title() string {
	name := s.facts.ProductName
	const windows11 = 22000 // its registry still says 10
	if s.facts.Build >= windows11 {
		name = strings.Replace(name, "Windows 10", "Windows 11", 1)
	}
	if name == "" {
		name = s.source.Name()
	}
	if arch := architectures[s.facts.Arch]; arch != "" && !strings.Contains(name, arch) {
		name += " " + arch
	}
	return name
}

// release is the generation of a system's boot files.
func (s *System) release() bcd.Release {
	switch {
	case s.facts.Build >= 10240:
		return bcd.Windows10
	case s.facts.Build >= 9200:
		return bcd.Windows8
	}
	return bcd.Windows7
}

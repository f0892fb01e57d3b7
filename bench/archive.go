package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// archive measures the WIM: in, out, and the disks made from it.
func (b *bench) archive() error {
	for _, step := range []func() error{b.capture, b.append, b.verify, b.apply, b.pointers} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) capture() error {
	ours, theirs := b.path("husk.wim"), b.path("wimlib.wim")
	r, err := b.compare("capture --wimboot",
		command{args: []string{"husk", "capture", b.trees[0], ours, "first", "--wimboot", "--yes", "--quiet"}},
		"wimlib-imagex capture --wimboot", &command{
			args:  []string{"wimlib-imagex", "capture", b.trees[0], theirs, "first", "--wimboot"},
			ready: func() error { return remove(theirs) },
		})
	if err != nil {
		return err
	}
	return b.sizes(r, ours, theirs)
}

// sizes notes the sizes of two files and how much larger the first is.
func (b *bench) sizes(r *row, ours, theirs string) error {
	n, err := size(ours)
	if err != nil {
		return err
	}
	m, err := size(theirs)
	if err != nil {
		return err
	}
	r.Notes = append(r.Notes, fmt.Sprintf("WIM %.1f MB, wimlib's %.1f MB: %.4f times", float64(n)/1e6, float64(m)/1e6, float64(n)/float64(m)))
	return nil
}

func (b *bench) append() error {
	if len(b.trees) < 2 {
		return nil
	}
	side := func(program, base string, more ...string) (command, string) {
		wim := b.path("two-" + base)
		return command{
			args:  append([]string{program, "append", b.trees[1], wim, "second"}, more...),
			ready: func() error { return copyFile(wim, b.path(base)) },
		}, wim
	}
	husk, ours := side("husk", "husk.wim", "--wimboot", "--quiet")
	peer, theirs := side("wimlib-imagex", "wimlib.wim", "--wimboot")
	r, err := b.compare("append the second system", husk, "wimlib-imagex append", &peer)
	if err != nil {
		return err
	}
	return b.sizes(r, ours, theirs)
}

// last is the WIM that wimlib wrote last: both programs read the same.
func (b *bench) last() string {
	if len(b.trees) > 1 {
		return b.path("two-wimlib.wim")
	}
	return b.path("wimlib.wim")
}

func (b *bench) verify() error {
	_, err := b.compare("verify the WIM", command{args: []string{"husk", "verify", b.last(), "--quiet"}},
		"wimlib-imagex verify", &command{args: []string{"wimlib-imagex", "verify", b.last()}})
	return err
}

func (b *bench) apply() error {
	n, err := treeSize(b.trees[0])
	if err != nil {
		return err
	}
	room := (2*n + 1<<30) &^ (1<<20 - 1)
	disk, image := b.path("plain.vhd"), b.path("volume.ntfs")
	defer os.Remove(disk)
	defer os.Remove(image)
	_, err = b.compare("apply to a plain VHD",
		command{args: []string{"husk", "apply", b.last(), "1", disk, "--size=" + strconv.FormatInt(room>>20, 10) + "M", "--yes", "--quiet"}},
		"wimlib-imagex apply to an NTFS image (mkntfs not counted)", &command{
			args:  []string{"wimlib-imagex", "apply", b.last(), "1", image},
			ready: func() error { return newVolume(image, room) },
		})
	return err
}

// newVolume makes an empty NTFS volume in a sparse file.
func newVolume(image string, bytes int64) error {
	if err := remove(image); err != nil {
		return err
	}
	f, err := os.Create(image)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Truncate(bytes), f.Close()); err != nil {
		return err
	}
	if out, err := exec.Command("mkntfs", "-F", "-Q", "-q", image).CombinedOutput(); err != nil {
		return fmt.Errorf("mkntfs: %w\n%s", err, out)
	}
	return nil
}

// applied is the part of the JSON result of husk apply that is used here.
type applied struct {
	Files     int64 `json:"files"`
	Names     int64 `json:"names"` // a hard-linked file has several
	Dirs      int64 `json:"dirs"`
	FileBytes int64 `json:"fileBytes"`
	Pointers  int64 `json:"pointers"`
	Plain     map[string]struct{ Bytes int64 }
}

// pointers measures the disk that no other program makes on this side of Windows.
func (b *bench) pointers() error {
	disk := b.path("pointers.vhd")
	var out string
	r, err := b.compare("make a VHD of pointer files", command{
		args: []string{"husk", "apply", b.path("husk.wim"), "1", disk, "--wimboot", `--wim-path=\wimboot\wimboot.wim`,
			"--wim-disk=mbr:1b2c3d4e:1048576", "--yes", "--json"},
		out: &out,
	}, "", nil)
	if err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	var a applied
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &a); err != nil {
		return fmt.Errorf("husk apply --json: %w", err)
	}
	if a.Files == 0 {
		return fmt.Errorf("husk apply --json: no files in %s", lines[len(lines)-1])
	}
	plain := int64(0)
	for _, p := range a.Plain {
		plain += p.Bytes
	}
	beyond := float64(a.FileBytes - plain)
	r.Notes = append(r.Notes,
		fmt.Sprintf("%.0f files/s: %d files (%d of them pointers) with %d names in %d folders", float64(a.Files)/r.Husk.Wall, a.Files, a.Pointers, a.Names, a.Dirs),
		fmt.Sprintf("VHD %.1f MB, %.1f MB of it plain files; beyond them %.0f bytes per file, %.0f per name or folder", float64(a.FileBytes)/1e6,
			float64(plain)/1e6, beyond/float64(a.Files), beyond/float64(a.Names+a.Dirs)))
	return nil
}

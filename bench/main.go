// Command bench measures husk against wimlib-imagex and mkntfs: whole processes on the same inputs, in alternation, so that
// what else the machine does meets both. bench/run builds and calls it.
package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
		os.Exit(1)
	}
}

func run(args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	runs := flags.Int("runs", 3, "measure each command N times, after one run that does not count")
	dir := flags.String("dir", os.TempDir(), "write below this folder")
	asJSON := flags.Bool("json", false, "print one JSON object per row")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() < 1 || flags.NArg() > 2 || *runs < 1 {
		return errors.New("want --runs of at least 1, TREE and perhaps TREE2")
	}
	work, err := os.MkdirTemp(*dir, "husk-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	b := &bench{dir: work, runs: *runs, trees: flags.Args(), stderr: stderr}
	if err := b.all(); err != nil {
		return err
	}
	if *asJSON {
		enc := json.NewEncoder(stdout)
		for _, r := range b.rows {
			if err := enc.Encode(r); err != nil {
				return err
			}
		}
		return nil
	}
	return b.table(stdout)
}

// usage is what one process took.
type usage struct {
	Wall float64 `json:"wallSeconds"`
	CPU  float64 `json:"cpuSeconds"`
	Peak int64   `json:"peakBytes"` // resident set; 0 where the system does not tell
}

// row is one comparison. Peer is empty and Ratio zero where no other program does the same.
type row struct {
	What     string   `json:"what"`
	Husk     usage    `json:"husk"` // medians, each of its own
	Peer     string   `json:"peer,omitempty"`
	PeerUse  *usage   `json:"peerUsage,omitempty"`
	Ratio    float64  `json:"ratioWall,omitempty"` // peer's time by husk's: above 1, husk is faster
	RatioCPU float64  `json:"ratioCPU,omitempty"`
	Notes    []string `json:"notes,omitempty"` // sizes and rates
}

type bench struct {
	dir    string
	runs   int
	trees  []string
	stderr io.Writer
	rows   []row
}

// command is one side of a comparison.
type command struct {
	args  []string
	ready func() error // before each run, not measured: puts things back; may be nil
	out   *string      // takes the standard output of the last run; may be nil
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

// compare runs the commands in turn and adds a row of medians.
func (b *bench) compare(what string, husk command, peerName string, peer *command) (*row, error) {
	fmt.Fprintf(b.stderr, "measuring: %s\n", what)
	var ours, theirs []usage
	for i := range b.runs + 1 {
		u, err := husk.measure()
		if err != nil {
			return nil, err
		}
		var v usage
		if peer != nil {
			if v, err = peer.measure(); err != nil {
				return nil, err
			}
		}
		if i > 0 { // the first has filled the caches
			ours, theirs = append(ours, u), append(theirs, v)
		}
	}
	r := row{What: what, Husk: median(ours)}
	if peer != nil {
		m := median(theirs)
		r.Peer, r.PeerUse = peerName, &m
		r.Ratio, r.RatioCPU = m.Wall/r.Husk.Wall, m.CPU/r.Husk.CPU
	}
	b.rows = append(b.rows, r)
	return &b.rows[len(b.rows)-1], nil
}

// measure runs a process to its end. What earlier ones left to write is written first.
func (c command) measure() (usage, error) {
	if c.ready != nil {
		if err := c.ready(); err != nil {
			return usage{}, err
		}
	}
	flush()
	cmd := exec.Command(c.args[0], c.args[1:]...)
	var out, problems strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &problems
	start := time.Now()
	err := cmd.Run()
	wall := time.Since(start)
	if err != nil {
		return usage{}, fmt.Errorf("%s: %w\n%s", strings.Join(c.args, " "), err, problems.String())
	}
	if c.out != nil {
		*c.out = out.String()
	}
	s := cmd.ProcessState
	return usage{wall.Seconds(), (s.UserTime() + s.SystemTime()).Seconds(), peak(s)}, nil
}

func median(list []usage) usage {
	var wall, cpu []float64
	var mem []int64
	for _, u := range list {
		wall, cpu, mem = append(wall, u.Wall), append(cpu, u.CPU), append(mem, u.Peak)
	}
	return usage{middle(wall), middle(cpu), middle(mem)}
}

func middle[T cmp.Ordered](list []T) T {
	slices.Sort(list)
	return list[len(list)/2]
}

// all makes every comparison. Later ones use what earlier ones wrote.
func (b *bench) all() error {
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

func (b *bench) table(w io.Writer) error {
	var s strings.Builder
	fmt.Fprintf(&s, "%-30s %9s %9s %9s   %9s %9s %9s   %6s %6s\n", "", "husk", "", "", "peer", "", "", "ratio", "")
	fmt.Fprintf(&s, "%-30s %9s %9s %9s   %9s %9s %9s   %6s %6s\n", fmt.Sprintf("medians of %d", b.runs), "wall", "CPU", "peak", "wall", "CPU", "peak", "wall", "CPU")
	for _, r := range b.rows {
		fmt.Fprintf(&s, "%-30s %s", r.What, r.Husk.cells())
		if r.PeerUse != nil {
			fmt.Fprintf(&s, "   %s   %6.2f %6.2f", r.PeerUse.cells(), r.Ratio, r.RatioCPU)
		}
		s.WriteByte('\n')
		for _, n := range r.Notes {
			fmt.Fprintf(&s, "    %s\n", n)
		}
	}
	s.WriteString("A ratio above 1: husk takes less. Peers:\n")
	for _, r := range b.rows {
		if r.Peer != "" {
			fmt.Fprintf(&s, "    %-30s %s\n", r.What, r.Peer)
		}
	}
	_, err := io.WriteString(w, s.String())
	return err
}

func (u usage) cells() string {
	return fmt.Sprintf("%7.2f s %7.2f s %5.0f MiB", u.Wall, u.CPU, float64(u.Peak)/(1<<20))
}

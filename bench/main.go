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
	files := flags.Int("volume", 0, "make an NTFS volume of N small files, then end")
	many := flags.Int("many", 1_000_000, "build a volume of N small files, and list one of half as many")
	only := flags.String("only", "", "measure only the rows of these groups, by commas: "+strings.Join(groupNames(), " "))
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *files > 0 && flags.NArg() == 1 {
		return buildVolume(flags.Arg(0), *files)
	}
	if flags.NArg() < 1 || flags.NArg() > 2 || *runs < 1 || *many < 2 {
		return errors.New("want --runs of at least 1, --many of at least 2, TREE and perhaps TREE2")
	}
	work, err := os.MkdirTemp(*dir, "husk-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	b := &bench{dir: work, runs: *runs, many: *many, trees: flags.Args(), stderr: stderr}
	if err := b.measure(*only); err != nil {
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

// groups of rows, in the order in which they are measured. Later ones may use what earlier ones wrote.
var groups = []struct {
	name string
	run  func(*bench) error
}{
	{"archive", (*bench).archive},
	{"volume", (*bench).volume},
	{"boot", (*bench).boot},
	{"store", (*bench).store},
}

func groupNames() []string {
	var names []string
	for _, g := range groups {
		names = append(names, g.name)
	}
	return names
}

// measure measures the groups named, or all.
func (b *bench) measure(only string) error {
	names := strings.FieldsFunc(only, func(r rune) bool { return r == ',' })
	for _, n := range names {
		if !slices.Contains(groupNames(), n) {
			return fmt.Errorf("no group %q, want some of %s", n, strings.Join(groupNames(), " "))
		}
	}
	for _, g := range groups {
		if len(names) > 0 && !slices.Contains(names, g.name) {
			continue
		}
		if err := g.run(b); err != nil {
			return fmt.Errorf("%s: %w", g.name, err)
		}
	}
	return nil
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
	many   int // files of the largest volume
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

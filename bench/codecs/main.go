// Command codecs measures every codec and level of husk and of wimlib-imagex on one folder, in alternation and with one thread, and draws
// size against speed:
//
//	go run ./bench/codecs [-rounds N] FOLDER CHART.svg
//
// Speed is plain bytes per second of processor time, user and system, the best of the rounds: what else the machine does counts least so.
package main

import (
	"flag"
	"fmt"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A point is a program with a codec and level.
type point struct {
	program, codec string
	seconds        float64
	size           int64
}

var codecs = []string{"XPRESS:50", "LZX:20", "LZX:50", "LZX:100", "LZMS:20", "LZMS:50", "LZMS:100"}

func main() {
	rounds := flag.Int("rounds", 2, "measure so often")
	flag.Parse()
	if flag.NArg() != 2 {
		fmt.Fprintln(os.Stderr, "usage: codecs [-rounds N] FOLDER CHART.svg")
		os.Exit(2)
	}
	if err := run(flag.Arg(0), flag.Arg(1), *rounds); err != nil {
		fmt.Fprintln(os.Stderr, "codecs:", err)
		os.Exit(1)
	}
}

func run(folder, chart string, rounds int) error {
	plain, err := treeSize(folder)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "codecs")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var points []*point
	for _, codec := range codecs {
		for _, program := range []string{"husk", "wimlib-imagex"} {
			points = append(points, &point{program: program, codec: codec, seconds: math.Inf(1)})
		}
	}
	for range rounds {
		for _, p := range points {
			if err := p.measure(folder, filepath.Join(dir, "out.wim")); err != nil {
				return err
			}
		}
	}
	fmt.Printf("| codec | program | MB/s | size |\n|---|---|---:|---:|\n")
	for _, p := range points {
		fmt.Printf("| %s | %s | %.1f | %.4f |\n", p.codec, p.program, float64(plain)/1e6/p.seconds, float64(p.size)/float64(plain))
	}
	return os.WriteFile(chart, []byte(draw(points, plain)), 0o666)
}

func treeSize(folder string) (n int64, err error) {
	err = filepath.WalkDir(folder, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			n += info.Size()
		}
		return err
	})
	return n, err
}

// measure captures the folder. LZMS is solid, as it is used.
func (p *point) measure(folder, file string) error {
	if err := os.Remove(file); err != nil && !os.IsNotExist(err) {
		return err
	}
	args := []string{"capture", folder, file, "--threads=1"}
	if strings.HasPrefix(p.codec, "LZMS") {
		args = append(args, "--solid", "--solid-compress="+p.codec)
	} else {
		args = append(args, "--compress="+p.codec)
	}
	c := exec.Command(p.program, args...)
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", p.program, strings.Join(args, " "), err, out)
	}
	p.seconds = min(p.seconds, (c.ProcessState.UserTime() + c.ProcessState.SystemTime()).Seconds())
	info, err := os.Stat(file)
	if err == nil {
		p.size = info.Size()
	}
	return err
}

const width, height, margin = 760, 460, 60

// draw makes the chart: speed to the right on a logarithmic scale, size upwards, in parts of the plain size.
func draw(points []*point, plain int64) string {
	slow, fast, small, large := math.Inf(1), 0.0, 1.0, 0.0
	for _, p := range points {
		speed, size := float64(plain)/1e6/p.seconds, float64(p.size)/float64(plain)
		slow, fast, small, large = min(slow, speed), max(fast, speed), min(small, size), max(large, size)
	}
	slow, fast, small, large = slow*0.8, fast*1.6, small*0.95, large*1.05
	x := func(speed float64) float64 {
		return margin + (width-2*margin)*math.Log(speed/slow)/math.Log(fast/slow)
	}
	y := func(size float64) float64 { return height - margin - (height-2*margin)*(size-small)/(large-small) }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/>`+"\n", width, height)
	fmt.Fprintf(&b, `<path d="M%d %dV%dH%d" fill="none" stroke="black"/>`+"\n", margin, margin, height-margin, width-margin)
	for _, s := range []float64{1, 2, 5, 10, 20, 50, 100, 200, 500} {
		if s > slow && s < fast {
			fmt.Fprintf(&b, `<text x="%.0f" y="%d" text-anchor="middle">%g</text>`+"\n", x(s), height-margin+18, s)
		}
	}
	for s := math.Ceil(small*50) / 50; s < large; s += 0.02 {
		fmt.Fprintf(&b, `<text x="%d" y="%.0f" text-anchor="end">%.2f</text>`+"\n", margin-6, y(s)+4, s)
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">plain MB per second of processor time</text>`+"\n", width/2, height-14)
	fmt.Fprintf(&b, `<text x="%d" y="30">stored size, in parts of the plain size: <tspan fill="#06c">husk</tspan>, <tspan fill="#c60">wimlib-imagex</tspan></text>`+"\n", margin)
	for _, p := range points {
		color := map[string]string{"husk": "#06c", "wimlib-imagex": "#c60"}[p.program]
		px, py := x(float64(plain)/1e6/p.seconds), y(float64(p.size)/float64(plain))
		label := py - 8
		if p.program != "husk" {
			label = py + 18
		}
		fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="4" fill="%s"/><text x="%.1f" y="%.1f" fill="%s" text-anchor="middle">%s</text>`+"\n", px, py, color, px, label,
			color, p.codec)
	}
	return b.String() + "</svg>\n"
}

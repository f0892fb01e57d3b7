package vhd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"husk/internal/reftool"
)

// writeFile makes a VHD with the content of model in dir.
func writeFile(t *testing.T, name string, o Options, model []byte) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := create(t, f, &o)
	for off := 0; off < len(model); off += 1 << 20 {
		if _, err := w.WriteAt(model[off:min(off+1<<20, len(model))], int64(off)); err != nil {
			t.Fatal(err)
		}
	}
	finish(t, w)
}

// sparseModel is a disk with data in some places, among them the first and the last sector.
func sparseModel(size int) []byte {
	rng := rand.New(rand.NewPCG(uint64(size), 0))
	model := make([]byte, size)
	for off := 0; off < size; off += rng.IntN(9 << 20) {
		for i := off; i < min(off+rng.IntN(2<<20)+1, size); i++ {
			model[i] = byte(rng.Uint32())
		}
	}
	model[size-1] = 1
	return model
}

func qemuSize(t *testing.T, name string) int64 {
	t.Helper()
	var info struct {
		Size int64 `json:"virtual-size"`
	}
	if err := json.Unmarshal([]byte(reftool.Run(t, "qemu-img", "info", "--output=json", "-f", "vpc", name)), &info); err != nil {
		t.Fatal(err)
	}
	return info.Size
}

var mediaSize = regexp.MustCompile(`Media size\s*:.*?(\d+) bytes`)

// TestSizes holds that QEMU and libvhdi, which stands for Windows in using the current size, read the size that we
// wrote, for both types, and with a foreign creator wherever Create allows it.
func TestSizes(t *testing.T) {
	reftool.Look(t, "qemu-img")
	reftool.Look(t, "vhdiinfo")
	dir := t.TempDir()
	sizes := []int64{1 << 20, 1<<20 + 512, 3 << 20, 64 << 20, 127 << 20, 512 << 20, 1<<30 - 512, 3 << 30, 30 << 30, 32255 << 20, 127 << 30, 128 << 30, MaxSize}
	rng := rand.New(rand.NewPCG(3, 4))
	for range 6 {
		sizes = append(sizes, rng.Int64N(1<<(21+rng.IntN(18)))/512*512+1<<20)
	}
	check := func(o Options) {
		t.Helper()
		name := filepath.Join(dir, "x.vhd")
		writeFile(t, name, o, nil)
		if got := qemuSize(t, name); got != o.Size {
			t.Errorf("%+v: QEMU reads %d bytes", o, got)
		}
		out := reftool.Run(t, "vhdiinfo", name)
		m := mediaSize.FindStringSubmatch(out)
		if m == nil || m[1] != strconv.FormatInt(o.Size, 10) {
			t.Errorf("%+v: vhdiinfo: %s", o, out)
		}
	}
	for _, size := range sizes {
		check(Options{Size: size})
		chs, err := RoundCHS(size)
		if err != nil {
			t.Fatal(err)
		}
		check(Options{Size: chs, Creator: "husk"})
		if size <= 1<<30 {
			check(Options{Size: size, Type: Fixed})
			check(Options{Size: chs, Type: Fixed, Creator: "vpc "})
		}
	}
}

// TestOursInQEMU: QEMU reads what we wrote, and writes on in it.
func TestOursInQEMU(t *testing.T) {
	reftool.Look(t, "qemu-img")
	reftool.Look(t, "qemu-io")
	dir := t.TempDir()
	raw, name := filepath.Join(dir, "x.raw"), filepath.Join(dir, "x.vhd")
	for _, size := range []int{1 << 20, 17<<20 - 1536} {
		model := sparseModel(size)
		if err := os.WriteFile(raw, model, 0o666); err != nil {
			t.Fatal(err)
		}
		for _, o := range []Options{{Type: Fixed}, {}, {BlockSize: 512 << 10}} {
			o.Size = int64(size)
			writeFile(t, name, o, model)
			reftool.Run(t, "qemu-img", "compare", "-f", "vpc", "-F", "raw", name, raw)
			back := filepath.Join(dir, "back.raw")
			reftool.Run(t, "qemu-img", "convert", "-f", "vpc", "-O", "raw", name, back)
			if got, err := os.ReadFile(back); err != nil || !bytes.Equal(got, model) {
				t.Errorf("%+v: converted to other bytes, %v", o, err)
			}

			changed := bytes.Clone(model)
			args := []string{"-f", "vpc"}
			for _, off := range []int{512, size/2/512*512 + 1024, size - 4096} {
				args = append(args, "-c", fmt.Sprintf("write -P 0xab %d 4096", off))
				copy(changed[off:], bytes.Repeat([]byte{0xab}, 4096))
			}
			reftool.Run(t, "qemu-io", append(args, name)...)
			d, err := Open(name)
			if err != nil {
				t.Fatal(err)
			}
			checkDisk(t, d, changed)
			d.Close()
		}
	}
}

// TestQEMUInOurs: we read what QEMU wrote.
func TestQEMUInOurs(t *testing.T) {
	reftool.Look(t, "qemu-img")
	dir := t.TempDir()
	raw, name := filepath.Join(dir, "x.raw"), filepath.Join(dir, "x.vhd")
	for _, size := range []int{1 << 20, 17<<20 - 1536} {
		model := sparseModel(size)
		if err := os.WriteFile(raw, model, 0o666); err != nil {
			t.Fatal(err)
		}
		for _, sub := range []string{"fixed", "dynamic"} {
			for _, force := range []string{"on", "off"} {
				reftool.Run(t, "qemu-img", "convert", "-f", "raw", "-O", "vpc", "-o", "subformat="+sub+",force_size="+force, raw, name)
				d, err := Open(name)
				if err != nil {
					t.Fatal(err)
				}
				want := int64(size)
				if force == "off" {
					if want, err = RoundCHS(want); err != nil {
						t.Fatal(err)
					}
				}
				if d.Size() != want || d.Size() != qemuSize(t, name) || d.Type().String() != sub {
					t.Errorf("%s %s: %d bytes, want %d; %v", sub, force, d.Size(), want, d.Type())
				}
				got := make([]byte, d.Size())
				if _, err := io.ReadFull(io.NewSectionReader(d, 0, d.Size()), got); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got[:size], model) || !allZero(got[size:]) {
					t.Errorf("%s %s: other bytes", sub, force)
				}
				if d.Type() == Dynamic && d.Info().Allocated == d.Info().Blocks && size > 1<<20 {
					t.Errorf("no holes among %d blocks", d.Info().Blocks)
				}
				d.Close()
			}
		}
	}
}

// TestVhdiinfo compares what libvhdi says of a file with what we wrote.
func TestVhdiinfo(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.vhd")
	id := [16]byte{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe}
	for typ, want := range map[Type]string{Fixed: "Fixed", Dynamic: "Dynamic"} {
		writeFile(t, name, Options{Type: typ, Size: 3 << 20, ID: id}, sparseModel(3<<20))
		out := reftool.Run(t, "vhdiinfo", name)
		for _, s := range []string{"1.0", want, "01234567-89ab-cdef-1032-547698badcfe"} {
			if !strings.Contains(out, s) {
				t.Errorf("%v: want %q in\n%s", typ, s, out)
			}
		}
	}
}

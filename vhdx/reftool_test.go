package vhdx

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"husk/internal/reftool"
)

// sparseModel is a disk with data in some places, among them the first and the last sector.
func sparseModel(size int) []byte {
	rng := rand.New(rand.NewPCG(uint64(size), 0))
	model := make([]byte, size)
	for off := 0; off < size; off += rng.IntN(9 << 20) {
		for i := off; i < min(off+rng.IntN(1<<20)+1, size); i++ {
			model[i] = byte(rng.Uint32())
		}
	}
	model[size-1] = 1
	return model
}

// checkDisk compares d with model by reads of odd places and sizes, and by walking the ranges.
func checkDisk(t testing.TB, d *Reader, model []byte) {
	t.Helper()
	if d.Size() != int64(len(model)) {
		t.Fatalf("size %d, want %d", d.Size(), len(model))
	}
	got := make([]byte, len(model)+1)
	if n, err := d.ReadAt(got, 0); n != len(model) || err != io.EOF || !bytes.Equal(got[:n], model) {
		t.Fatalf("whole disk: %d bytes, %v, equal %t", n, err, bytes.Equal(got[:min(n, len(model))], model))
	}
	for off, step := 0, 1; off < len(model); off, step = off+step*3, step*2+1 {
		p := bytes.Repeat([]byte{0xcc}, min(step, len(model)-off))
		if n, err := d.ReadAt(p, int64(off)); n != len(p) || err != nil || !bytes.Equal(p, model[off:off+n]) {
			t.Fatalf("%d bytes at %d: %d, %v", len(p), off, n, err)
		}
	}
	rest := make([]byte, len(model))
	end := int64(0)
	for {
		start, next := d.NextAllocated(end)
		if start < end || next < start || next > d.Size() || next == start && start != d.Size() {
			t.Fatalf("NextAllocated(%d) = %d, %d", end, start, next)
		}
		if start == d.Size() {
			break
		}
		copy(rest[start:next], model[start:next])
		end = next
	}
	if !bytes.Equal(rest, model) {
		t.Fatal("data outside of the allocated ranges")
	}
}

func openDisk(t testing.TB, name string, o *ReaderOptions) *Reader {
	t.Helper()
	d, err := Open(name, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// TestQEMUInOurs: we read what QEMU wrote, in all its forms.
func TestQEMUInOurs(t *testing.T) {
	reftool.Look(t, "qemu-img")
	dir := t.TempDir()
	raw, name := filepath.Join(dir, "x.raw"), filepath.Join(dir, "x.vhdx")
	for _, size := range []int{1 << 20, 33<<20 - 1536} {
		model := sparseModel(size)
		if err := os.WriteFile(raw, model, 0o666); err != nil {
			t.Fatal(err)
		}
		for _, opts := range []string{"subformat=dynamic", "subformat=fixed", "subformat=fixed,block_state_zero=off",
			"subformat=dynamic,block_size=1M", "subformat=dynamic,block_size=256M,log_size=4M", "subformat=dynamic,block_size=2M,block_state_zero=off"} {
			reftool.Run(t, "qemu-img", "convert", "-f", "raw", "-O", "vhdx", "-o", opts, raw, name)
			t.Run(fmt.Sprint(size, opts), func(t *testing.T) {
				d := openDisk(t, name, nil)
				checkDisk(t, d, model)
				if i := d.Info(); len(i.Notes) > 0 || i.LogReplayed || i.Parent != nil {
					t.Errorf("%+v", i)
				}
			})
		}
	}
}

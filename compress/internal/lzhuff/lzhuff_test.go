package lzhuff

import (
	"bytes"
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"testing"
)

type weights struct{ sort.IntSlice }

func (w *weights) Push(x any) { w.IntSlice = append(w.IntSlice, x.(int)) }
func (w *weights) Pop() any {
	x := w.IntSlice[len(w.IntSlice)-1]
	w.IntSlice = w.IntSlice[:len(w.IntSlice)-1]
	return x
}

// huffmanBits returns how many bits an optimal code of unlimited length takes: the sum of all inner nodes' weights.
func huffmanBits(count []uint32) (bits int) {
	var w weights
	for _, n := range count {
		if n > 0 {
			w.IntSlice = append(w.IntSlice, int(n))
		}
	}
	heap.Init(&w)
	for w.Len() > 1 {
		sum := heap.Pop(&w).(int) + heap.Pop(&w).(int)
		bits += sum
		heap.Push(&w, sum)
	}
	return bits
}

// TestBuild checks that codes are complete, prefix-free, in canonical order, within the limit, and optimal where the limit
// does not matter.
func TestBuild(t *testing.T) {
	rnd := rand.New(rand.NewPCG(13, 14))
	var b Builder
	for _, symbols := range []int{2, 8, 20, 249, 512, MaxSymbols} {
		for _, limit := range []int{7, 10, 15, 16} {
			if symbols > 1<<limit {
				continue
			}
			for name, gen := range map[string]func(sym int) uint32{
				"none":      func(int) uint32 { return 0 },
				"first":     func(sym int) uint32 { return uint32(max(1-sym, 0)) },
				"last":      func(sym int) uint32 { return uint32(max(sym+2-symbols, 0)) },
				"equal":     func(int) uint32 { return 1 },
				"sparse":    func(int) uint32 { return uint32(max(rnd.IntN(40)-30, 0)) },
				"big":       func(int) uint32 { return uint32(rnd.IntN(MaxCount / MaxSymbols)) },
				"geometric": func(sym int) uint32 { return 1 << sym & (1<<21 - 1) },
			} {
				t.Run(fmt.Sprint(symbols, "/", limit, "/", name), func(t *testing.T) {
					count := make([]uint32, symbols)
					for sym := range count {
						count[sym] = gen(sym)
					}
					checkCode(t, &b, count, limit)
				})
			}
		}
	}
}

func checkCode(t *testing.T, b *Builder, count []uint32, limit int) {
	t.Helper()
	length := bytes.Repeat([]byte{99}, len(count))
	word := make([]uint16, len(count))
	b.Build(length, word, count, limit)

	used, space, bits := 0, 0, 0
	for sym, n := range count {
		l := int(length[sym])
		if l > limit || n > 0 && l == 0 {
			t.Fatalf("symbol %d, which occurs %d times, has %d bits, want 1 to %d", sym, n, l, limit)
		}
		if n > 0 {
			used++
		}
		if l > 0 {
			space += 1 << (limit - l)
		}
		bits += int(n) * l
	}
	if want := min(used, 1) << limit; space != want {
		t.Fatalf("lengths fill %d/%d of the code space, want %d", space, 1<<limit, want)
	}
	if used == 1 {
		return
	}
	if longest := int(slices.Max(length)); longest < limit && bits != huffmanBits(count) {
		t.Errorf("the code takes %d bits, want %d", bits, huffmanBits(count))
	}
	next := 0
	for l := 1; l <= limit; l++ {
		for sym := range count {
			if int(length[sym]) == l {
				if got := int(word[sym]) << (limit - l); got != next {
					t.Fatalf("symbol %d has the codeword %0*b, want %0*b", sym, l, word[sym], l, next>>(limit-l))
				}
				next += 1 << (limit - l)
			}
		}
	}
}

func TestSwapUnits(t *testing.T) {
	if got := SwapUnits(0x0123456789abcdef); got != 0xcdef89ab45670123 {
		t.Errorf("SwapUnits = %#x", got)
	}
}

func TestCopyMatch(t *testing.T) {
	const out = 40
	for offset := 1; offset <= out; offset++ {
		for length := 1; length <= 50; length++ {
			for after := range 20 {
				dst := make([]byte, out+length+after)
				for i := range out {
					dst[i] = byte(i + 1)
				}
				CopyMatch(dst, out, offset, length)
				for i := range out + length {
					want := byte(i + 1)
					if i >= out {
						want = dst[i-offset]
					}
					if dst[i] != want {
						t.Fatalf("offset %d, length %d, %d bytes after: byte %d is %d, want %d", offset, length, after, i, dst[i], want)
					}
				}
				if rest := dst[out+length:]; len(rest) > 8 && !bytes.Equal(rest[8:], make([]byte, len(rest)-8)) {
					t.Fatalf("offset %d, length %d, %d bytes after: %x is left there", offset, length, after, rest)
				}
			}
		}
	}
}

package lzx

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
)

// executable returns bytes of this test's own program: machine code and tables, much like a DLL.
func executable(tb testing.TB, n int) []byte {
	tb.Helper()
	name, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		tb.Fatal(err)
	}
	if len(data) < n {
		tb.Fatalf("the test program has %d bytes, want %d", len(data), n)
	}
	return data[:n]
}

func noise(n int) []byte {
	rnd := rand.New(rand.NewPCG(1, 2))
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(rnd.Uint32())
	}
	return p
}

// text returns n bytes of made-up prose with some order to it.
func text(n int) []byte {
	rnd := rand.New(rand.NewPCG(3, 4))
	words := strings.Fields("the registry of a system holds keys and values which name drivers services files paths " +
		"C:\\Windows\\System32 version=\"6.1.7601\" <assemblyIdentity publicKeyToken=\"31bf3856ad364e35\" /> 策略 组件")
	var b bytes.Buffer
	for b.Len() < n {
		b.WriteString(words[int(rnd.ExpFloat64()*6)%len(words)])
		b.WriteString([]string{" ", " ", " ", ", ", ".\r\n", fmt.Sprint(" ", rnd.IntN(1000), " ")}[rnd.IntN(6)])
	}
	return b.Bytes()[:n]
}

// skewed returns bytes whose frequencies are Fibonacci numbers, so that Huffman's code would exceed 16 bits.
func skewed() []byte {
	var p []byte
	a, b := 1, 1
	for sym := 0; len(p)+a <= 1<<17; sym++ {
		p = append(p, bytes.Repeat([]byte{byte(sym)}, a)...)
		a, b = b, a+b
	}
	rnd := rand.New(rand.NewPCG(5, 6))
	rnd.Shuffle(len(p), func(i, j int) { p[i], p[j] = p[j], p[i] })
	return p
}

// calls returns noise full of what the call filter takes for calls, at the edges of its ranges too.
func calls(n int) []byte {
	rnd := rand.New(rand.NewPCG(9, 10))
	edges := []int32{0, -1, callSize - 1, callSize, -callSize, 1 << 30, 5}
	var p []byte
	for len(p) < n {
		p = append(p, bytes.Repeat([]byte{callOpcode}, 1+rnd.IntN(3)/2)...)
		operand := edges[rnd.IntN(len(edges))] + int32(rnd.IntN(3)) - 1
		if rnd.IntN(2) == 0 {
			operand -= int32(len(p)%minWindow) + int32(rnd.IntN(3)) - 1
		}
		p = le.AppendUint32(p, uint32(operand))
		p = append(p, "abcdefghijklmnop"[:rnd.IntN(12)]...)
	}
	return p[:n]
}

// structured returns records of mixed small fields with repeats at a few distances.
func structured(n int) []byte {
	rnd := rand.New(rand.NewPCG(11, 12))
	var p []byte
	for i := 0; len(p) < n; i++ {
		p = le.AppendUint32(p, uint32(i*16+rnd.IntN(4)))
		p = le.AppendUint32(p, uint32(rnd.IntN(3))<<16)
		p = le.AppendUint64(p, 0x7f0000400000+uint64(rnd.IntN(64))*8)
	}
	return p[:n]
}

func samples(tb testing.TB) map[string][]byte {
	return map[string][]byte{
		"zero":       make([]byte, 3<<15),
		"text":       text(1 << 17),
		"executable": executable(tb, 2500000)[1<<20:][:5<<17],
		"noise":      noise(1 << 16),
		"skewed":     skewed(),
		"periodic":   bytes.Repeat(noise(300), 440),
		"far":        bytes.Repeat(append(noise(30000), make([]byte, 2700)...), 4),
		"run, noise": append(make([]byte, 40000), noise(90000)...),
		"calls":      calls(1 << 17),
		"structured": structured(1 << 17),
	}
}

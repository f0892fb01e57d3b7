// Package codectest holds what the tests of the codecs share: data to compress, properties that every codec has, and WIMs of
// wimlib-imagex to take chunks from.
package codectest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
)

// Executable returns n bytes of the test's own program: machine code and tables, much like a DLL.
func Executable(tb testing.TB, n int) []byte {
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

// Noise returns n random bytes, the same each time.
func Noise(n int) []byte {
	rnd := rand.New(rand.NewPCG(1, 2))
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(rnd.Uint32())
	}
	return p
}

// Text returns n bytes of made-up prose with some order to it.
func Text(n int) []byte {
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

// Skewed returns under 65536 bytes whose frequencies are Fibonacci numbers, so that Huffman's code would exceed 16 bits.
func Skewed() []byte {
	var p []byte
	a, b := 1, 1
	for sym := 0; len(p)+a <= 1<<16; sym++ {
		p = append(p, bytes.Repeat([]byte{byte(sym)}, a)...)
		a, b = b, a+b
	}
	rnd := rand.New(rand.NewPCG(5, 6))
	rnd.Shuffle(len(p), func(i, j int) { p[i], p[j] = p[j], p[i] })
	return p
}

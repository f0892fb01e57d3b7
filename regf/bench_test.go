package regf

import (
	"fmt"
	"testing"
)

// large is a hive of about 50 MB shaped like SOFTWARE: many small keys, two or three values each.
func large(b *testing.B) []byte {
	h := must(New(5, "ROOT"))(b)
	for i := range 400 {
		top := must(h.root.Create(fmt.Sprintf(`Classes\Group%03d`, i)))(b)
		for j := range 250 {
			k := must(top.Create(fmt.Sprintf("{%08X-1234-5678-9ABC-%012X}", i*7919+j*104729, j)))(b)
			check(b, k.SetSZ("", "A class with a name"))
			s := must(k.Create("InprocServer32"))(b)
			check(b, s.SetExpandSZ("", `%SystemRoot%\system32\some-library.dll`))
			check(b, s.SetSZ("ThreadingModel", "Both"))
		}
	}
	return must(h.Bytes())(b)
}

func BenchmarkOpenAndWalk(b *testing.B) {
	file := large(b)
	b.SetBytes(int64(len(file)))
	for b.Loop() {
		keys, values := 0, 0
		for k, err := range must(Parse(file))(b).Root().All() {
			check(b, err)
			keys++
			values += len(must(k.Values())(b))
		}
		if keys != 200_402 || values != 300_000 {
			b.Fatalf("%d keys, %d values", keys, values)
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	file := large(b)
	b.SetBytes(int64(len(file)))
	for b.Loop() {
		if p := must(Parse(file))(b).Check(); len(p) > 0 {
			b.Fatal(p)
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	file := large(b)
	b.SetBytes(int64(len(file)))
	h := must(Parse(file))(b)
	for b.Loop() {
		must(h.Bytes())(b)
	}
}

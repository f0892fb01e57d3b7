package wof

import (
	"encoding/binary"
	"fmt"
)

var le = binary.LittleEndian

// A FormatError reports bytes that break a format of WOF.
type FormatError struct {
	What string // structure being read: "pointer", "WimOverlay.dat entry 1"
	Off  int64  // byte offset in the buffer or file
	Err  error  // found and expected
}

func (e *FormatError) Error() string { return fmt.Sprintf("wof: %s at %#x: %v", e.What, e.Off, e.Err) }
func (e *FormatError) Unwrap() error { return e.Err }

// field is a 32-bit field of which only one value is known.
type field struct {
	off  int
	name string
	want uint32
}

// putFields writes fields to b.
func putFields(b []byte, fields []field) {
	for _, f := range fields {
		le.PutUint32(b[f.off:], f.want)
	}
}

// checkFields compares fields of b, which starts at base.
func checkFields(what string, b []byte, base int64, fields []field) error {
	for _, f := range fields {
		if got := le.Uint32(b[f.off:]); got != f.want {
			return &FormatError{what, base + int64(f.off), fmt.Errorf("%s %#x, want %#x", f.name, got, f.want)}
		}
	}
	return nil
}

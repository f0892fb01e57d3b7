package ntfs

import (
	"cmp"
	"fmt"

	"husk/winfile"
)

// fileName is the value of a $FILE_NAME, or a key of $I30. The methods need check first.
type fileName []byte

func (f fileName) parent() fileRef                { return fileRef(le.Uint64(f)) }
func (f fileName) allocated() int64               { return int64(le.Uint64(f[0x28:])) }
func (f fileName) size() int64                    { return int64(le.Uint64(f[0x30:])) }
func (f fileName) attributes() winfile.Attributes { return winfile.Attributes(le.Uint32(f[0x38:])) }
func (f fileName) reparseTag() uint32             { return le.Uint32(f[0x3c:]) } // or the size of the EAs
func (f fileName) namespace() byte                { return f[0x41] }
func (f fileName) name() []byte                   { return f[fileNameSize : fileNameSize+2*int(f[0x40])] } // UTF-16LE

func (f fileName) check() error {
	if len(f) < fileNameSize || len(f) < fileNameSize+2*int(f[0x40]) {
		return fmt.Errorf("$FILE_NAME of %d bytes, want %d and the name", len(f), fileNameSize)
	}
	if f[0x40] == 0 {
		return fmt.Errorf("$FILE_NAME of 0 characters, want 1 to %d", maxName)
	}
	return nil
}

// compareNames orders UTF-16LE names: upper case first, and by their units if that is equal (COLLATION_FILE_NAME).
func compareNames(upcase *[65536]uint16, a, b []byte) int {
	for i := 0; i+1 < len(a) && i+1 < len(b); i += 2 {
		x, y := le.Uint16(a[i:]), le.Uint16(b[i:])
		if x != y {
			if c := cmp.Compare(upcase[x], upcase[y]); c != 0 {
				return c
			}
		}
	}
	if c := cmp.Compare(len(a), len(b)); c != 0 {
		return c
	}
	for i := 0; i+1 < len(a); i += 2 {
		if c := cmp.Compare(le.Uint16(a[i:]), le.Uint16(b[i:])); c != 0 {
			return c
		}
	}
	return 0
}

// compareStrings is compareNames for WTF-8.
func compareStrings(upcase *[65536]uint16, a, b string) int {
	i := 0
	for i < len(a) && i < len(b) {
		x, y := a[i], b[i]
		if x >= 0x80 || y >= 0x80 {
			var abuf, bbuf [2 * maxName]byte
			return compareNames(upcase, winfile.AppendUTF16LE(abuf[:0], a), winfile.AppendUTF16LE(bbuf[:0], b))
		}
		if x != y {
			if c := cmp.Compare(upcase[x], upcase[y]); c != 0 {
				return c
			}
		}
		i++
	}
	if c := cmp.Compare(len(a), len(b)); c != 0 {
		return c // one is a part of the other: what is left has units too
	}
	return cmp.Compare(a, b)
}

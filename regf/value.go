package regf

import (
	"encoding/binary"
	"fmt"
	"strings"

	"husk/winfile"
)

// Text is the string of a REG_SZ, REG_EXPAND_SZ or REG_LINK: up to the first NUL or to the end, as values without a NUL and with
// bytes behind it are found on real systems.
func (v Value) Text() (string, error) {
	switch v.Type {
	case SZ, ExpandSZ, Link:
		return text(v.Data), nil
	}
	return "", v.wrong("a string")
}

// text decodes UTF-16LE up to a NUL.
func text(b []byte) string {
	for i := 0; i+1 < len(b); i += 2 {
		if b[i] == 0 && b[i+1] == 0 {
			b = b[:i]
			break
		}
	}
	return winfile.NameFromUTF16LE(b)
}

// Strings is the list of a REG_MULTI_SZ up to the empty string that ends it, or the one string of the types that Text reads.
func (v Value) Strings() ([]string, error) {
	if v.Type != MultiSZ {
		s, err := v.Text()
		if err != nil {
			return nil, v.wrong("strings")
		}
		return []string{s}, nil
	}
	list := []string{}
	for b := v.Data; len(b) >= 2; {
		s := text(b)
		if s == "" {
			break
		}
		list = append(list, s)
		b = b[min(len(b), 2*nameUnits(s)+2):]
	}
	return list, nil
}

// Uint is the number of a REG_DWORD, REG_DWORD_BIG_ENDIAN or REG_QWORD.
func (v Value) Uint() (uint64, error) {
	switch {
	case v.Type == DWord && len(v.Data) == 4:
		return uint64(le.Uint32(v.Data)), nil
	case v.Type == DWordBE && len(v.Data) == 4:
		return uint64(binary.BigEndian.Uint32(v.Data)), nil
	case v.Type == QWord && len(v.Data) == 8:
		return le.Uint64(v.Data), nil
	}
	return 0, v.wrong("a number")
}

func (v Value) wrong(want string) error {
	return fmt.Errorf("value %q: %v of %d bytes, want %s", v.Name, v.Type, len(v.Data), want)
}

// SZData is s as a REG_SZ or REG_EXPAND_SZ keeps it.
func SZData(s string) []byte { return append(winfile.AppendUTF16LE(nil, s), 0, 0) }

// MultiSZData is a list as a REG_MULTI_SZ keeps it. Empty strings, which would end the list, are left out.
func MultiSZData(list ...string) []byte {
	var b []byte
	for _, s := range list {
		if s = strings.TrimRight(s, "\x00"); s != "" {
			b = append(b, SZData(s)...)
		}
	}
	return append(b, 0, 0)
}

// SetSZ sets a REG_SZ.
func (k *Key) SetSZ(name, s string) error { return k.Set(name, SZ, SZData(s)) }

// SetExpandSZ sets a REG_EXPAND_SZ.
func (k *Key) SetExpandSZ(name, s string) error { return k.Set(name, ExpandSZ, SZData(s)) }

// SetMultiSZ sets a REG_MULTI_SZ.
func (k *Key) SetMultiSZ(name string, list ...string) error {
	return k.Set(name, MultiSZ, MultiSZData(list...))
}

// SetDWord sets a REG_DWORD.
func (k *Key) SetDWord(name string, n uint32) error {
	return k.Set(name, DWord, le.AppendUint32(nil, n))
}

// SetQWord sets a REG_QWORD.
func (k *Key) SetQWord(name string, n uint64) error {
	return k.Set(name, QWord, le.AppendUint64(nil, n))
}

// SetBinary sets a REG_BINARY. data is kept, not copied.
func (k *Key) SetBinary(name string, data []byte) error { return k.Set(name, Binary, data) }

// Text is the string of the value at a path of keys and a name; see [Value.Text].
func (k *Key) Text(path, name string) (string, error) {
	v, err := k.lookupValue(path, name)
	if err != nil {
		return "", err
	}
	return v.Text()
}

// Strings is the list of the value at a path of keys and a name; see [Value.Strings].
func (k *Key) Strings(path, name string) ([]string, error) {
	v, err := k.lookupValue(path, name)
	if err != nil {
		return nil, err
	}
	return v.Strings()
}

// Uint is the number of the value at a path of keys and a name; see [Value.Uint].
func (k *Key) Uint(path, name string) (uint64, error) {
	v, err := k.lookupValue(path, name)
	if err != nil {
		return 0, err
	}
	return v.Uint()
}

func (k *Key) lookupValue(path, name string) (Value, error) {
	k, err := k.Lookup(path)
	if err != nil {
		return Value{}, err
	}
	return k.Value(name)
}

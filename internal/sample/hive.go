package sample

import (
	"fmt"

	"husk/regf"
	"husk/winfile"
)

// hiveKey is a key of a hive that is being made. What cannot be made is a mistake in this package.
type hiveKey struct{ *regf.Key }

// hiveSD is the descriptor of all keys: users read, administrators and the system do all.
var hiveSD = descriptor(sidAdministrators, sidSystem, 0,
	ace{false, containerInherit, 0x20019, sidUsers}, ace{false, containerInherit, 0xf003f, sidAdministrators},
	ace{false, containerInherit, 0xf003f, sidSystem})

// newHive returns the root key of a new hive of version 1.minor.
func newHive(minor uint32, rootName string) hiveKey {
	h, err := regf.New(minor, rootName)
	must(err)
	h.Now = epoch
	must(h.Root().SetSecurity(hiveSD))
	return hiveKey{h.Root()}
}

// hive is the file of a hive.
func hive(fileName string, root hiveKey) []byte {
	root.Hive().FileName = fileName
	b, err := root.Hive().Bytes()
	must(err)
	return b
}

func must(err error) {
	if err != nil {
		panic("sample: internal error: " + err.Error())
	}
}

// key returns the key at a path with backslashes below k, made where there is none.
func (k hiveKey) key(path string) hiveKey {
	c, err := k.Create(path)
	must(err)
	return hiveKey{c}
}

func (k hiveKey) class(name string) hiveKey {
	must(k.SetClass(winfile.AppendUTF16LE(nil, name)))
	return k
}

func (k hiveKey) set(name string, t regf.Type, data []byte) hiveKey {
	must(k.Set(name, t, data))
	return k
}

func (k hiveKey) sz(name, s string) hiveKey { return k.set(name, regf.SZ, regf.SZData(s)) }

func (k hiveKey) expand(name, s string) hiveKey { return k.set(name, regf.ExpandSZ, regf.SZData(s)) }

func (k hiveKey) multi(name string, list ...string) hiveKey {
	return k.set(name, regf.MultiSZ, regf.MultiSZData(list...))
}

func (k hiveKey) dword(name string, v uint32) hiveKey {
	must(k.SetDWord(name, v))
	return k
}

// hex8 is a key name such as 000001F4.
func hex8(v uint32) string { return fmt.Sprintf("%08X", v) }

package sample

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"husk/winfile"
)

// Value types of the registry.
const (
	regSZ       = 1
	regExpandSZ = 2
	regBinary   = 3
	regDWord    = 4
	regMultiSZ  = 7
)

// hiveKey is a key on its way into a hive.
type hiveKey struct {
	name   string
	class  string
	values []hiveValue
	keys   []*hiveKey
}

type hiveValue struct {
	name string // empty: the default value
	kind uint32
	data []byte
}

// key returns the key at a path with backslashes below k, made where there is none.
func (k *hiveKey) key(path string) *hiveKey {
next:
	for part := range strings.SplitSeq(path, `\`) {
		for _, c := range k.keys {
			if winfile.EqualFold(c.name, part) {
				k = c
				continue next
			}
		}
		c := &hiveKey{name: part}
		k.keys = append(k.keys, c)
		k = c
	}
	return k
}

func (k *hiveKey) set(name string, kind uint32, data []byte) *hiveKey {
	if len(data) > maxValue {
		panic("sample: internal error: value " + name + " needs big data")
	}
	k.values = append(k.values, hiveValue{name, kind, data})
	return k
}

func (k *hiveKey) sz(name, s string) *hiveKey { return k.set(name, regSZ, utf16z(s)) }

func (k *hiveKey) expand(name, s string) *hiveKey { return k.set(name, regExpandSZ, utf16z(s)) }

func (k *hiveKey) multi(name string, list ...string) *hiveKey {
	var b []byte
	for _, s := range list {
		b = append(b, utf16z(s)...)
	}
	return k.set(name, regMultiSZ, append(b, 0, 0))
}

func (k *hiveKey) dword(name string, v uint32) *hiveKey {
	return k.set(name, regDWord, binary.LittleEndian.AppendUint32(nil, v))
}

func utf16z(s string) []byte { return append(winfile.AppendUTF16LE(nil, s), 0, 0) }

const (
	hivePage  = 4096
	binHeader = 32
	maxValue  = 16344 // more needs "db" cells
	maxLeaf   = 500   // subkeys in one list; above it an index of lists
	noCell    = 0xffffffff
	latinName = 0x20
	rootKey   = 0x0c // root, and not to be deleted
)

// hiveSD is the descriptor of all keys: users read, administrators and the system do all.
var hiveSD = descriptor(sidAdministrators, sidSystem, 0,
	ace{false, containerInherit, 0x20019, sidUsers}, ace{false, containerInherit, 0xf003f, sidAdministrators},
	ace{false, containerInherit, 0xf003f, sidSystem})

// hive lays out a clean primary file of version 1.5: base block, then bins of cells.
func hive(fileName string, root *hiveKey) []byte {
	h := &hiveWriter{}
	h.openBin(0)
	rootOff := h.alloc(nkSize(root))
	h.security = h.alloc(20 + len(hiveSD))
	h.key(root, rootOff, 0, true)
	sk := h.cell(h.security)
	copy(sk, "sk")
	binary.LittleEndian.PutUint32(sk[4:], h.security)
	binary.LittleEndian.PutUint32(sk[8:], h.security)
	binary.LittleEndian.PutUint32(sk[12:], h.nodes)
	binary.LittleEndian.PutUint32(sk[16:], uint32(len(hiveSD)))
	copy(sk[20:], hiveSD)
	h.closeBin()
	return append(baseBlock(fileName, rootOff, len(h.bins)), h.bins...)
}

func baseBlock(fileName string, root uint32, size int) []byte {
	b := make([]byte, hivePage)
	copy(b, "regf")
	le := binary.LittleEndian
	for off, v := range map[int]uint32{0x4: 1, 0x8: 1, 0x14: 1, 0x18: 5, 0x20: 1, 0x24: root, 0x28: uint32(size), 0x2c: 1} {
		le.PutUint32(b[off:], v)
	}
	le.PutUint64(b[0xc:], uint64(epoch))
	name := winfile.UTF16FromName(fileName)
	for i, c := range name[max(0, len(name)-31):] {
		le.PutUint16(b[0x30+2*i:], c)
	}
	var sum uint32
	for i := 0; i < 0x1fc; i += 4 {
		sum ^= le.Uint32(b[i:])
	}
	switch sum {
	case 0:
		sum = 1
	case 0xffffffff:
		sum = 0xfffffffe
	}
	le.PutUint32(b[0x1fc:], sum)
	return b
}

// hiveWriter appends cells to bins. Offsets count from the first bin.
type hiveWriter struct {
	bins     []byte
	bin      int // start of the open bin
	used     int // end of its last cell
	security uint32
	nodes    uint32 // keys written, each a reference to the security cell
}

// openBin starts a bin with room for a cell of n bytes.
func (h *hiveWriter) openBin(n int) {
	h.bin = len(h.bins)
	size := (binHeader + n + hivePage - 1) / hivePage * hivePage
	h.bins = append(h.bins, make([]byte, size)...)
	b := h.bins[h.bin:]
	copy(b, "hbin")
	binary.LittleEndian.PutUint32(b[4:], uint32(h.bin))
	binary.LittleEndian.PutUint32(b[8:], uint32(size))
	if h.bin == 0 {
		binary.LittleEndian.PutUint64(b[20:], uint64(epoch))
	}
	h.used = h.bin + binHeader
}

// closeBin makes the rest of the bin one free cell.
func (h *hiveWriter) closeBin() {
	if n := len(h.bins) - h.used; n > 0 {
		binary.LittleEndian.PutUint32(h.bins[h.used:], uint32(n))
	}
}

// alloc returns the offset of a new cell for n bytes of data.
func (h *hiveWriter) alloc(n int) uint32 {
	size := (4 + n + 7) &^ 7
	if size > len(h.bins)-h.used {
		h.closeBin()
		h.openBin(size)
	}
	off := h.used
	binary.LittleEndian.PutUint32(h.bins[off:], uint32(-size))
	h.used += size
	return uint32(off)
}

// cell is the data of an allocated cell, valid until the next alloc.
func (h *hiveWriter) cell(off uint32) []byte {
	size := -int32(binary.LittleEndian.Uint32(h.bins[off:]))
	return h.bins[off+4 : off+uint32(size)]
}

func (h *hiveWriter) put(data []byte) uint32 {
	off := h.alloc(len(data))
	copy(h.cell(off), data)
	return off
}

// storedName returns a name as Latin-1 with its flag, or as UTF-16.
func storedName(name string) (stored []byte, latin bool) {
	u := winfile.UTF16FromName(name)
	if slices.ContainsFunc(u, func(c uint16) bool { return c > 0xff }) {
		return winfile.AppendUTF16LE(nil, name), false
	}
	for _, c := range u {
		stored = append(stored, byte(c))
	}
	return stored, true
}

func nkSize(k *hiveKey) int {
	name, _ := storedName(k.name)
	return 76 + len(name)
}

// key fills the cell at off with a key node and writes its values and subkeys.
func (h *hiveWriter) key(k *hiveKey, off, parent uint32, root bool) {
	h.nodes++
	name, latin := storedName(k.name)
	nk := make([]byte, 76, 76+len(name))
	copy(nk, "nk")
	le := binary.LittleEndian
	var flags uint16
	if latin {
		flags |= latinName
	}
	if root {
		flags |= rootKey
	}
	le.PutUint16(nk[2:], flags)
	le.PutUint64(nk[4:], uint64(epoch))
	le.PutUint32(nk[16:], parent)
	le.PutUint32(nk[32:], noCell)
	le.PutUint32(nk[44:], h.security)
	le.PutUint32(nk[48:], noCell)
	if k.class != "" {
		class := winfile.AppendUTF16LE(nil, k.class)
		le.PutUint32(nk[48:], h.put(class))
		le.PutUint16(nk[74:], uint16(len(class)))
	}
	le.PutUint16(nk[72:], uint16(len(name)))
	h.values(k, nk)
	h.subkeys(k, nk, off)
	copy(h.cell(off), append(nk, name...))
}

// values writes the value list of k and what its node says of it.
func (h *hiveWriter) values(k *hiveKey, nk []byte) {
	le := binary.LittleEndian
	le.PutUint32(nk[36:], uint32(len(k.values)))
	le.PutUint32(nk[40:], noCell)
	if len(k.values) == 0 {
		return
	}
	var list []byte
	var longestName, longestData uint32
	for _, v := range k.values {
		name, latin := storedName(v.name)
		vk := make([]byte, 20, 20+len(name))
		copy(vk, "vk")
		le.PutUint16(vk[2:], uint16(len(name)))
		le.PutUint32(vk[4:], uint32(len(v.data)))
		if len(v.data) <= 4 {
			le.PutUint32(vk[4:], uint32(len(v.data))|1<<31)
			copy(vk[8:12], v.data)
		} else {
			le.PutUint32(vk[8:], h.put(v.data))
		}
		le.PutUint32(vk[12:], v.kind)
		if latin && len(name) > 0 {
			le.PutUint16(vk[16:], 1)
		}
		list = le.AppendUint32(list, h.put(append(vk, name...)))
		longestName = max(longestName, uint32(2*len(winfile.UTF16FromName(v.name))))
		longestData = max(longestData, uint32(len(v.data)))
	}
	le.PutUint32(nk[40:], h.put(list))
	le.PutUint32(nk[60:], longestName)
	le.PutUint32(nk[64:], longestData)
}

// subkeys writes the subkeys of k in the order of their upper-cased names, the lists of them, and what its node says of both.
func (h *hiveWriter) subkeys(k *hiveKey, nk []byte, off uint32) {
	le := binary.LittleEndian
	le.PutUint32(nk[20:], uint32(len(k.keys)))
	le.PutUint32(nk[28:], noCell)
	if len(k.keys) == 0 {
		return
	}
	keys := slices.Clone(k.keys)
	slices.SortFunc(keys, func(a, b *hiveKey) int {
		return winfile.CompareFold(winfile.UTF16FromName(a.name), winfile.UTF16FromName(b.name))
	})
	var leaves []byte
	var longest int
	for leaf := range slices.Chunk(keys, maxLeaf) {
		list := le.AppendUint16([]byte("lh"), uint16(len(leaf)))
		for _, c := range leaf {
			at := h.alloc(nkSize(c))
			h.key(c, at, off, false)
			list = le.AppendUint32(list, at)
			list = le.AppendUint32(list, nameHash(c.name))
			longest = max(longest, 2*len(winfile.UTF16FromName(c.name)))
		}
		leaves = le.AppendUint32(leaves, h.put(list))
	}
	le.PutUint16(nk[52:], uint16(longest))
	if len(leaves) == 4 {
		copy(nk[28:], leaves)
		return
	}
	index := le.AppendUint16([]byte("ri"), uint16(len(leaves)/4))
	le.PutUint32(nk[28:], h.put(append(index, leaves...)))
}

// nameHash is the hash of an "lh" list, over the upper-cased UTF-16 units.
func nameHash(name string) uint32 {
	var n uint32
	up := winfile.UpCase()
	for _, c := range winfile.UTF16FromName(name) {
		n = n*37 + uint32(up[c])
	}
	return n
}

// hex8 is a key name such as 000001F4.
func hex8(v uint32) string { return fmt.Sprintf("%08X", v) }

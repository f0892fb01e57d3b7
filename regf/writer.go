package regf

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"husk/winfile"
)

// New makes a hive of version 1.Minor (3 for boot stores, 5 for all else) that has only its root key. The root's security, which
// new keys inherit, is AdminFull.
func New(minor uint32, rootName string) (*Hive, error) {
	if minor < 3 || minor > 6 {
		return nil, fmt.Errorf("version 1.%d, want 1.3 to 1.6: %w", minor, errors.ErrUnsupported)
	}
	if err := checkName(rootName); err != nil {
		return nil, fmt.Errorf("root key %q: %w", rootName, err)
	}
	h := &Hive{Minor: minor}
	h.root = &Key{hive: h, name: rootName, Flags: KeyRoot | KeyNoDelete, keysRead: true, valuesRead: true, security: AdminFull()}
	return h, nil
}

// Bytes lays out the whole hive as a clean file. It reads what was not read yet, so damage anywhere is an error, and so is a dirty
// hive whose logs are missing (ErrDirty). The hive itself stays as it is.
func (h *Hive) Bytes() ([]byte, error) {
	if h.Recovery.Dirty && !h.Recovery.Complete {
		return nil, fmt.Errorf("regf: %s: %w", h.Recovery.Reason, ErrDirty)
	}
	w := &writer{h: h, shared: make(map[string]int)}
	w.file = make([]byte, pageSize, pageSize+max(len(h.bins), pageSize))
	w.bin, w.used = w.newBin(0), binHeader
	root, err := w.newKey(h.root)
	if err != nil {
		return nil, err
	}
	if err := w.key(h.root, root, nilCell); err != nil {
		return nil, err
	}
	w.ring()
	w.closeBin()
	w.baseBlock(root)
	return w.file, nil
}

// WriteTo writes what Bytes returns.
func (h *Hive) WriteTo(dst io.Writer) (int64, error) {
	b, err := h.Bytes()
	if err != nil {
		return 0, err
	}
	n, err := dst.Write(b)
	return int64(n), err
}

// writer appends cells to bins. Offsets count from the first bin.
type writer struct {
	h          *Hive
	file       []byte // base block and bins
	bin, used  int    // the bin with room, by its offset, and the end of its last cell
	shared     map[string]int
	securities []securityCell
	last       []byte // descriptor of the key before, and its place in securities
	lastIndex  int
}

type securityCell struct {
	off  uint32
	refs uint32
}

var errTooBig = errors.New("regf: the hive would be larger than 2 GiB")

// at is the file from an offset in the bins.
func (w *writer) at(off uint32) []byte { return w.file[pageSize+int64(off):] }

// newBin adds a bin with room for a cell of n bytes and returns its offset.
func (w *writer) newBin(n int) int {
	off := len(w.file) - pageSize
	size := (binHeader + n + pageSize - 1) / pageSize * pageSize
	size = max(size, pageSize)
	w.file = slices.Grow(w.file, size)[:len(w.file)+size]
	b := w.file[pageSize+off:]
	clear(b) // what Grow gives may have been used
	copy(b, "hbin")
	le.PutUint32(b[4:], uint32(off))
	le.PutUint32(b[8:], uint32(size))
	if off == 0 {
		le.PutUint64(b[20:], uint64(w.h.Written))
	}
	return off
}

// binEnd is where the bin with room ends.
func (w *writer) binEnd() int { return w.bin + int(le.Uint32(w.at(uint32(w.bin))[8:])) }

// closeBin makes the rest of the bin with room one free cell.
func (w *writer) closeBin() {
	if n := w.binEnd() - w.used; n > 0 {
		le.PutUint32(w.at(uint32(w.used)), uint32(n))
	}
}

// alloc returns the offset of a new cell for n bytes of data. Of the bin before and a new one, that with more room stays in use.
func (w *writer) alloc(n int) (uint32, error) {
	size := (4 + n + 7) &^ 7
	room := w.binEnd() - w.used
	if size <= room {
		off := w.used
		le.PutUint32(w.at(uint32(off)), uint32(-size))
		w.used += size
		return uint32(off), nil
	}
	if n > maxBins-2*pageSize || len(w.file) > maxBins-2*pageSize-n {
		return 0, errTooBig
	}
	bin := w.newBin(size)
	off := bin + binHeader
	le.PutUint32(w.at(uint32(off)), uint32(-size))
	end := off + size
	if rest := len(w.file) - pageSize - end; rest >= room {
		w.closeBin()
		w.bin, w.used = bin, end
	} else if rest > 0 {
		le.PutUint32(w.at(uint32(end)), uint32(rest))
	}
	return uint32(off), nil
}

// put makes a cell of data.
func (w *writer) put(data []byte) (uint32, error) {
	off, err := w.alloc(len(data))
	if err == nil {
		copy(w.at(off)[4:], data)
	}
	return off, err
}

// newKey allocates the cell of a key.
func (w *writer) newKey(k *Key) (uint32, error) {
	name, _ := encodeName(k.name)
	return w.alloc(keySize + len(name))
}

// key fills the cell at off and writes what belongs to it, then the keys below.
func (w *writer) key(k *Key, off, parent uint32) error {
	name, latin := encodeName(k.name)
	flags := k.Flags &^ latinName
	if latin {
		flags |= latinName
	}
	nk := make([]byte, keySize, keySize+len(name))
	copy(nk, "nk")
	le.PutUint16(nk[2:], uint16(flags))
	le.PutUint64(nk[4:], uint64(k.Written))
	le.PutUint32(nk[12:], k.Access)
	le.PutUint32(nk[16:], parent)
	le.PutUint32(nk[32:], nilCell)
	nk[54], nk[55] = k.UserFlags, k.Debug
	le.PutUint16(nk[72:], uint16(len(name)))
	for _, part := range []func(*Key, []byte, uint32) error{w.class, w.keySecurity, w.values, w.subkeys} {
		if err := part(k, nk, off); err != nil {
			return err
		}
	}
	copy(w.at(off)[4:], append(nk, name...))
	return nil
}

func (w *writer) class(k *Key, nk []byte, _ uint32) error {
	le.PutUint32(nk[48:], nilCell)
	class, err := k.Class()
	if err != nil || len(class) == 0 {
		return err
	}
	off, err := w.put(class)
	le.PutUint32(nk[48:], off)
	le.PutUint16(nk[74:], uint16(len(class)))
	return err
}

// keySecurity counts the key among those of its descriptor, which is written when it is met first.
func (w *writer) keySecurity(k *Key, nk []byte, _ uint32) error {
	sd, err := k.Security()
	if err != nil {
		return err
	}
	if len(w.last) == 0 || len(sd) == 0 || &w.last[0] != &sd[0] || len(w.last) != len(sd) {
		i, ok := w.shared[string(sd)]
		if !ok {
			cell := make([]byte, secSize, secSize+len(sd))
			copy(cell, "sk")
			le.PutUint32(cell[16:], uint32(len(sd)))
			off, err := w.put(append(cell, sd...))
			if err != nil {
				return err
			}
			i = len(w.securities)
			w.securities = append(w.securities, securityCell{off: off})
			w.shared[string(sd)] = i
		}
		w.last, w.lastIndex = sd, i
	}
	w.securities[w.lastIndex].refs++
	le.PutUint32(nk[44:], w.securities[w.lastIndex].off)
	return nil
}

// ring links all security cells and writes how many keys have each.
func (w *writer) ring() {
	n := len(w.securities)
	for i, s := range w.securities {
		b := w.at(s.off)[4:]
		le.PutUint32(b[4:], w.securities[(i+1)%n].off)
		le.PutUint32(b[8:], w.securities[(i+n-1)%n].off)
		le.PutUint32(b[12:], s.refs)
	}
}

// values writes the values of k, their list, and what its node says of them.
func (w *writer) values(k *Key, nk []byte, _ uint32) error {
	values, err := k.Values()
	le.PutUint32(nk[36:], uint32(len(values)))
	le.PutUint32(nk[40:], nilCell)
	if err != nil || len(values) == 0 {
		return err
	}
	list := make([]byte, 0, 4*len(values))
	longestName, longest := 0, 0
	for _, v := range values {
		off, err := w.value(v)
		if err != nil {
			return err
		}
		list = le.AppendUint32(list, off)
		longestName, longest = max(longestName, 2*nameUnits(v.Name)), max(longest, len(v.Data))
	}
	off, err := w.put(list)
	le.PutUint32(nk[40:], off)
	le.PutUint32(nk[60:], uint32(longestName))
	le.PutUint32(nk[64:], uint32(longest))
	return err
}

func (w *writer) value(v Value) (uint32, error) {
	name, latin := encodeName(v.Name)
	vk := make([]byte, valueSize, valueSize+len(name))
	copy(vk, "vk")
	le.PutUint16(vk[2:], uint16(len(name)))
	le.PutUint32(vk[4:], uint32(len(v.Data)))
	le.PutUint32(vk[12:], uint32(v.Type))
	flags := v.flags
	if latin && len(name) > 0 {
		flags |= latinValueName
	}
	le.PutUint16(vk[16:], flags)
	if len(v.Data) <= maxInline {
		le.PutUint32(vk[4:], uint32(len(v.Data))|inlineData)
		copy(vk[8:12], v.Data)
	} else {
		off, err := w.data(v.Data)
		if err != nil {
			return 0, err
		}
		le.PutUint32(vk[8:], off)
	}
	return w.put(append(vk, name...))
}

// data writes the data of a value that is not in its own cell.
func (w *writer) data(data []byte) (uint32, error) {
	if len(data) <= segmentSize || w.h.Minor <= 3 {
		return w.put(data)
	}
	db := []byte{'d', 'b', 0, 0, 0, 0, 0, 0}
	var list []byte
	n := 0
	for part := range slices.Chunk(data, segmentSize) {
		off, err := w.alloc(segmentSize) // the last is as long as the others
		if err != nil {
			return 0, err
		}
		copy(w.at(off)[4:], part)
		list = le.AppendUint32(list, off)
		n++
	}
	if n > maxSegments {
		return 0, fmt.Errorf("regf: a value of %d bytes, want at most %d", len(data), maxSegments*segmentSize)
	}
	off, err := w.put(list)
	if err != nil {
		return 0, err
	}
	le.PutUint16(db[2:], uint16(n))
	le.PutUint32(db[4:], off)
	return w.put(db)
}

// subkeys writes the keys below k, the lists of them, and what its node says of both.
func (w *writer) subkeys(k *Key, nk []byte, off uint32) error {
	keys, err := k.Subkeys()
	le.PutUint32(nk[20:], uint32(len(keys)))
	le.PutUint32(nk[28:], nilCell)
	if err != nil || len(keys) == 0 {
		return err
	}
	var lists []byte
	longest, longestClass := 0, 0
	for leaf := range slices.Chunk(keys, maxLeaf) {
		list := w.leafHeader(len(leaf))
		for _, c := range leaf {
			at, err := w.newKey(c)
			if err != nil {
				return err
			}
			if err := w.key(c, at, off); err != nil {
				return err
			}
			list = le.AppendUint32(list, at)
			if w.h.Minor >= 5 {
				list = le.AppendUint32(list, nameHash(c.name))
			} else {
				hint := nameHint(c.name)
				list = append(list, hint[:]...)
			}
			longest, longestClass = max(longest, 2*nameUnits(c.name)), max(longestClass, len(c.class))
		}
		at, err := w.put(list)
		if err != nil {
			return err
		}
		lists = le.AppendUint32(lists, at)
	}
	le.PutUint16(nk[52:], uint16(longest))
	le.PutUint32(nk[56:], uint32(longestClass))
	if len(lists) == 4 {
		copy(nk[28:32], lists)
		return nil
	}
	if len(lists)/4 > 0xffff {
		return fmt.Errorf("regf: key %q: %d subkeys, want at most %d", k.Path(), len(keys), 0xffff*maxLeaf)
	}
	index := le.AppendUint16([]byte("ri"), uint16(len(lists)/4))
	at, err := w.put(append(index, lists...))
	le.PutUint32(nk[28:], at)
	return err
}

// leafHeader starts a list of n keys.
func (w *writer) leafHeader(n int) []byte {
	kind := "lf"
	if w.h.Minor >= 5 {
		kind = "lh"
	}
	return le.AppendUint16(append(make([]byte, 0, 4+8*n), kind...), uint16(n))
}

func (w *writer) baseBlock(root uint32) {
	b := baseBlock(w.file[:pageSize])
	copy(b, "regf")
	b.setSequence(max(w.h.Sequence+1, 1))
	le.PutUint64(b[0xc:], uint64(w.h.Written))
	for off, v := range map[int]uint32{
		0x14: 1, 0x18: w.h.Minor, 0x1c: typePrimary, 0x20: 1, 0x24: root, 0x28: uint32(len(w.file) - pageSize), 0x2c: 1,
	} {
		le.PutUint32(b[off:], v)
	}
	name := winfile.UTF16FromName(w.h.FileName)
	for i, c := range name[max(0, len(name)-(fileNameUnit-1)):] {
		le.PutUint16(b[0x30+2*i:], c)
	}
	b.seal()
}

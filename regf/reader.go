package regf

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"husk/internal/ondisk"
	"husk/winfile"
)

// Hive is a registry hive in memory. It is not safe for concurrent use, not even for reading.
type Hive struct {
	FileName string           // end of the path that the hive was loaded under; at most 31 UTF-16 units are kept
	Minor    uint32           // version 1.Minor: 3 to 6
	Sequence uint32           // of the last write; Bytes writes the next
	Written  winfile.Filetime // when the file was last written; a change that is made with Now set advances it
	Recovery Recovery         // how the hive was found

	// Now is the time that changed keys and the file get. 0 leaves times as they are, so that equal changes make equal files.
	Now winfile.Filetime

	base     baseBlock // nil if the hive was made here
	bins     []byte
	claimed  []uint64 // one bit for each 8 bytes of bins: part of a cell that something points to
	security map[uint32][]byte
	root     *Key
}

// MaxSize is how large a hive file may be: offsets have 31 bits.
const MaxSize = maxBins + pageSize

// Open reads a hive file and, if it is dirty, the logs beside it (NAME.LOG1, NAME.LOG2, NAME.LOG). Their names may differ in case:
// Windows 10 keeps ntuser.dat.LOG1 beside NTUSER.DAT.
func Open(name string) (*Hive, error) {
	file, err := readFile(name)
	if err != nil {
		return nil, err
	}
	h, err := Parse(file)
	if err == nil && h.Recovery.Dirty || errors.Is(err, ErrDirty) || errors.Is(err, ErrNotHive) {
		var logs [][]byte
		if logs, err = readLogs(name); err != nil {
			return nil, err
		}
		h, err = Parse(file, logs...)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return h, nil
}

// readLogs reads the logs beside a hive, in the order of LogNames; nil for those that are not there.
func readLogs(name string) ([][]byte, error) {
	logs := make([][]byte, len(LogNames))
	names, err := os.ReadDir(filepath.Dir(name))
	if err != nil {
		return nil, err
	}
	for i, ext := range LogNames {
		for _, n := range names {
			if !winfile.EqualFold(n.Name(), filepath.Base(name)+ext) || n.IsDir() {
				continue
			}
			if logs[i], err = readFile(filepath.Join(filepath.Dir(name), n.Name())); err != nil {
				return nil, err
			}
		}
	}
	return logs, nil
}

// LogNames are what is appended to the name of a hive for its logs, in the order that Parse expects.
var LogNames = []string{".LOG1", ".LOG2", ".LOG"}

func readFile(name string) (_ []byte, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	b, err := ReadAll(f, st.Size())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return b, nil
}

// ReadAll reads a hive or log of size bytes into memory, if it is one that Windows could load.
func ReadAll(r io.ReaderAt, size int64) ([]byte, error) { return ondisk.ReadAt(r, 0, size, MaxSize) }

// Parse opens the hive in file, which must not change afterwards. If it is dirty the logs are replayed, whose contents may be nil
// or empty; Recovery tells the outcome. A dirty hive without the logs that it needs can be read as far as it goes, but Bytes
// refuses it. Data that is no hive is ErrNotHive.
func Parse(file []byte, logs ...[]byte) (*Hive, error) {
	if len(file) < pageSize {
		return nil, fmt.Errorf("regf: %d bytes, want at least %d: %w", len(file), pageSize, ErrNotHive)
	}
	file, rec, err := recoverHive(file, logs)
	if err != nil {
		return nil, err
	}
	base := baseBlock(file[:pageSize])
	if base.major() != 1 || base.minor() < 3 || base.minor() > 6 {
		return nil, &FormatError{"base block", 0x14, fmt.Errorf("version %d.%d, want 1.3 to 1.6: %w", base.major(), base.minor(), errors.ErrUnsupported)}
	}
	if base.format() != 1 {
		return nil, &FormatError{"base block", 0x20, fmt.Errorf("file format %d, want 1", base.format())}
	}
	if base.kind() != typePrimary {
		return nil, &FormatError{"base block", 0x1c, fmt.Errorf("file type %d, want 0, a primary file; this may be a log", base.kind())}
	}
	size := int64(base.binsSize())
	if size > int64(len(file)-pageSize) || size%pageSize != 0 || size == 0 || size > maxBins {
		return nil, &FormatError{"base block", 0x28, fmt.Errorf("bins of %#x bytes, want pages, and the file has %#x", size, len(file)-pageSize)}
	}
	seq, _ := base.sequences()
	h := &Hive{
		FileName: base.fileName(), Minor: base.minor(), Sequence: seq, Written: base.written(), Recovery: rec,
		base: base, bins: file[pageSize : pageSize+int(size)], security: make(map[uint32][]byte),
	}
	h.claimed = make([]uint64, len(h.bins)/8/64+1)
	h.root, err = h.keyAt(base.root(), nil)
	if err != nil {
		return nil, err
	}
	h.root.Flags |= KeyRoot // missing on hives that boot all the same
	return h, nil
}

// Size is the length of the file that the hive was read from, without what may follow the last bin; 0 if it was made here.
func (h *Hive) Size() int64 {
	if h.base == nil {
		return 0
	}
	return pageSize + int64(len(h.bins))
}

// Root is the root key.
func (h *Hive) Root() *Key { return h.root }

// cell returns the data of the allocated cell at off.
func (h *Hive) cell(what string, off uint32) ([]byte, error) {
	n, err := cellSize(h.bins, off)
	if err != nil {
		return nil, cellError(what, off, "%w", err)
	}
	if n > 0 {
		return nil, cellError(what, off, "free cell of %d bytes, want an allocated one", n)
	}
	return h.bins[off+4 : off+uint32(-n) : off+uint32(-n)], nil
}

// cellSize reads the size of a cell and checks that it lies in bins.
func cellSize(bins []byte, off uint32) (int32, error) {
	if off%8 != 0 || off < binHeader || uint64(off)+8 > uint64(len(bins)) {
		return 0, fmt.Errorf("offset %#x, want a multiple of 8 within bins of %#x bytes", off, len(bins))
	}
	n := int32(le.Uint32(bins[off:]))
	abs := int64(n)
	if abs < 0 {
		abs = -abs
	}
	if abs < 8 || abs%8 != 0 || abs > int64(len(bins))-int64(off) {
		return 0, fmt.Errorf("size %d, want a multiple of 8 from 8 to %d", n, int64(len(bins))-int64(off))
	}
	return n, nil
}

// take is cell for cells that one thing only may point to.
func (h *Hive) take(what string, off uint32) ([]byte, error) {
	b, err := h.cell(what, off)
	if err != nil {
		return nil, err
	}
	if !claim(h.claimed, off, uint32(len(b))+4) {
		return nil, cellError(what, off, "the cell or a part of it belongs to something else too")
	}
	return b, nil
}

// claim sets the bits of a cell unless one is set already.
func claim(set []uint64, off, n uint32) bool {
	first, last := off/8, (off+n)/8 // last is not included
	for i := first; i < last; {
		word, bit := i/64, i%64
		count := min(64-bit, last-i)
		mask := ^uint64(0) >> (64 - count) << bit
		if set[word]&mask != 0 {
			return false
		}
		i += count
	}
	for i := first; i < last; {
		word, bit := i/64, i%64
		count := min(64-bit, last-i)
		set[word] |= ^uint64(0) >> (64 - count) << bit
		i += count
	}
	return true
}

// keyAt reads the key node at off.
func (h *Hive) keyAt(off uint32, parent *Key) (*Key, error) {
	b, err := h.take("key cell", off)
	if err != nil {
		return nil, err
	}
	n, err := nodeOf(b, off)
	if err != nil {
		return nil, err
	}
	k := &Key{hive: h, parent: parent, node: n, off: off, name: n.name()}
	k.Flags, k.Written = n.flags()&^latinName, n.written()
	k.Access, k.UserFlags, k.Debug = n.access(), n.userFlags(), n.debug()
	if parent != nil {
		k.depth = parent.depth + 1
	}
	if k.depth > maxDepth {
		return nil, cellError("key cell", off, "more than %d levels of keys", maxDepth)
	}
	return k, nil
}

// nodeOf checks that a cell is a key node.
func nodeOf(b []byte, off uint32) (keyNode, error) {
	if len(b) < keySize || b[0] != 'n' || b[1] != 'k' {
		return nil, cellError("key cell", off, "%d bytes that start with %q, want at least %d and nk", len(b), b[:min(2, len(b))], keySize)
	}
	n := keyNode(b)
	if n.nameSize() > len(b)-keySize {
		return nil, cellError("key cell", off, "name of %d bytes, the cell has room for %d", n.nameSize(), len(b)-keySize)
	}
	most := maxName
	if n.flags()&latinName == 0 {
		most *= 2
	}
	if n.nameSize() > most {
		return nil, cellError("key cell", off, "name of %d bytes, want at most %d", n.nameSize(), most)
	}
	return n, nil
}

// listEntries yields the offsets of the keys in a subkey list; leaf tells how big their entries are.
func listEntries(b []byte, what string, off uint32) (entry int, entries []byte, err error) {
	if len(b) < 4 {
		return 0, nil, cellError(what, off, "%d bytes, want at least 4", len(b))
	}
	switch string(b[:2]) {
	case "li", "ri":
		entry = 4
	case "lf", "lh":
		entry = 8
	default:
		return 0, nil, cellError(what, off, "starts with %q, want lf, lh, li or ri", b[:2])
	}
	n := int(le.Uint16(b[2:]))
	if n*entry > len(b)-4 {
		return 0, nil, cellError(what, off, "%d entries, the cell has room for %d", n, (len(b)-4)/entry)
	}
	return entry, b[4 : 4+n*entry], nil
}

// subkeysOf reads the keys below a node.
func (h *Hive) subkeysOf(k *Key) ([]*Key, error) {
	if k.node.subkeys() == 0 || k.node.subkeyList() == nilCell {
		return nil, nil
	}
	off := k.node.subkeyList()
	b, err := h.take("subkey list", off)
	if err != nil {
		return nil, err
	}
	entry, entries, err := listEntries(b, "subkey list", off)
	if err != nil {
		return nil, err
	}
	keys := make([]*Key, 0, len(entries)/entry)
	if b[0] != 'r' {
		return h.leaf(keys, k, entry, entries)
	}
	for ; len(entries) > 0; entries = entries[4:] {
		off := le.Uint32(entries)
		b, err := h.take("subkey list", off)
		if err != nil {
			return nil, err
		}
		entry, leaf, err := listEntries(b, "subkey list", off)
		if err != nil {
			return nil, err
		}
		if b[0] == 'r' {
			return nil, cellError("subkey list", off, "ri below ri, want lf, lh or li")
		}
		if keys, err = h.leaf(keys, k, entry, leaf); err != nil {
			return nil, err
		}
	}
	return keys, nil
}

func (h *Hive) leaf(keys []*Key, parent *Key, entry int, entries []byte) ([]*Key, error) {
	for ; len(entries) > 0; entries = entries[entry:] {
		k, err := h.keyAt(le.Uint32(entries), parent)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// valuesOf reads the values of a key.
func (h *Hive) valuesOf(n keyNode) ([]Value, error) {
	count := n.values()
	if count == 0 || n.valueList() == nilCell {
		return nil, nil
	}
	b, err := h.take("value list", n.valueList())
	if err != nil {
		return nil, err
	}
	if uint64(count)*4 > uint64(len(b)) {
		return nil, cellError("value list", n.valueList(), "%d values, the cell has room for %d", count, len(b)/4)
	}
	values := make([]Value, 0, count)
	for b = b[:4*count]; len(b) > 0; b = b[4:] {
		v, err := h.valueAt(le.Uint32(b))
		if err != nil {
			return nil, err
		}
		values = append(values, v)
	}
	return values, nil
}

// valueAt reads a value.
func (h *Hive) valueAt(off uint32) (Value, error) {
	b, err := h.take("value cell", off)
	if err != nil {
		return Value{}, err
	}
	v, err := valueNodeOf(b, off)
	if err != nil {
		return Value{}, err
	}
	val := Value{Name: v.name(), Type: v.kind(), flags: v.flags() &^ latinValueName}
	val.Data, err = valueData(h.take, v, h.Minor)
	return val, err
}

// valueNodeOf checks that a cell is a value.
func valueNodeOf(b []byte, off uint32) (valueNode, error) {
	if len(b) < valueSize || b[0] != 'v' || b[1] != 'k' {
		return nil, cellError("value cell", off, "%d bytes that start with %q, want at least %d and vk", len(b), b[:min(2, len(b))], valueSize)
	}
	v := valueNode(b)
	if v.nameSize() > len(b)-valueSize {
		return nil, cellError("value cell", off, "name of %d bytes, the cell has room for %d", v.nameSize(), len(b)-valueSize)
	}
	if v.isInline() && v.dataSize() > maxInline {
		return nil, cellError("value cell", off, "%d bytes of data in the cell itself, want at most %d", v.dataSize(), maxInline)
	}
	return v, nil
}

// valueData returns the data of a value; take reads a cell.
func valueData(take func(what string, off uint32) ([]byte, error), v valueNode, minor uint32) ([]byte, error) {
	n := v.dataSize()
	switch {
	case v.isInline():
		return v.inline(), nil
	case n == 0:
		return nil, nil
	}
	b, err := take("data cell", v.data())
	if err != nil {
		return nil, err
	}
	if n > segmentSize && minor > 3 && len(b) >= 8 && string(b[:2]) == "db" {
		return bigData(take, b, v.data(), n)
	}
	if uint64(n) > uint64(len(b)) {
		return nil, cellError("data cell", v.data(), "data of %d bytes, the cell has room for %d", n, len(b))
	}
	return b[:n:n], nil
}

// bigData joins the segments of a value of n bytes.
func bigData(take func(what string, off uint32) ([]byte, error), db []byte, off, n uint32) ([]byte, error) {
	count := uint32(le.Uint16(db[2:]))
	if want := (n + segmentSize - 1) / segmentSize; count != want {
		return nil, cellError("big data", off, "%d segments, want %d for %d bytes", count, want, n)
	}
	list, err := take("segment list", le.Uint32(db[4:]))
	if err != nil {
		return nil, err
	}
	if 4*count > uint32(len(list)) {
		return nil, cellError("segment list", le.Uint32(db[4:]), "%d segments, the cell has room for %d", count, len(list)/4)
	}
	var data []byte
	for i := range count {
		off := le.Uint32(list[4*i:])
		b, err := take("data segment", off)
		if err != nil {
			return nil, err
		}
		part := min(n-uint32(len(data)), segmentSize)
		if part > uint32(len(b)) {
			return nil, cellError("data segment", off, "%d bytes, want %d", len(b), part)
		}
		data = append(data, b[:part]...)
	}
	return data, nil
}

// securityAt reads a security cell. Many keys share one.
func (h *Hive) securityAt(off uint32) ([]byte, error) {
	if sd, ok := h.security[off]; ok {
		return sd, nil
	}
	b, err := h.take("security cell", off)
	if err != nil {
		return nil, err
	}
	sd, err := descriptorOf(b, off)
	if err != nil {
		return nil, err
	}
	h.security[off] = sd
	return sd, nil
}

// descriptorOf checks that a cell is a security cell.
func descriptorOf(b []byte, off uint32) ([]byte, error) {
	if len(b) < secSize || string(b[:2]) != "sk" {
		return nil, cellError("security cell", off, "%d bytes that start with %q, want at least %d and sk", len(b), b[:min(2, len(b))], secSize)
	}
	n := le.Uint32(b[16:])
	if uint64(n) > uint64(len(b)-secSize) {
		return nil, cellError("security cell", off, "descriptor of %d bytes, the cell has room for %d", n, len(b)-secSize)
	}
	return b[secSize : secSize+n : secSize+n], nil
}

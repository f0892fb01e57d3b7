package ntfs

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// Journal keeps the transaction that an [Editor] is about to apply, outside the volume.
type Journal interface {
	Load() ([]byte, error) // what Store was given last; empty after Clear. A torn Store may leave a part of it, or zeros
	Store(b []byte) error  // returns when b is durable
	Clear() error          // returns when what Load gives is durably empty
}

// FileJournal is a Journal in a file of this name, by custom that of the disk with ".husk-journal" added. The file is there only while a
// transaction is.
type FileJournal string

// Load implements [Journal].
func (j FileJournal) Load() ([]byte, error) {
	f, err := os.Open(string(j))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxJournal+1))
	if err == nil && len(b) > maxJournal {
		err = fmt.Errorf("%s: more than %d bytes", j, maxJournal)
	}
	return b, err
}

// Store implements [Journal].
func (j FileJournal) Store(b []byte) error {
	f, err := os.OpenFile(string(j), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	j.syncFolder()
	return err
}

// Clear implements [Journal].
func (j FileJournal) Clear() error {
	f, err := os.OpenFile(string(j), os.O_WRONLY|os.O_TRUNC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close(), os.Remove(string(j))); err != nil {
		return err
	}
	j.syncFolder()
	return nil
}

// syncFolder makes the name durable where folders can be synced.
func (j FileJournal) syncFolder() {
	if d, err := os.Open(filepath.Dir(string(j))); err == nil {
		d.Sync() // Windows cannot, and does not need to
		d.Close()
	}
}

// The journal of one transaction. Integers are little-endian:
//
//	0x00  "HUSKJRNL"
//	0x08  version 1                u32
//	0x0c  number of entries        u32
//	0x10  volume                   32 bytes: SHA-256 of size (u64) and boot sector
//	0x30  entries                  changes in the order in which they are applied
//	end   SHA-256 of all before
//
// An entry is rank u32, kind u32, byte offset on the volume u64, size u64, and by its kind:
//
//	0  change: the CRC-32C of each 512 bytes that the volume had before the transaction, and the bytes that it is to have
//	1  change: fill with 0xff
//	2  no change, rank 0: the CRC-32C of all the bytes, which the volume had before the transaction and must still have
const (
	journalMagic      = "HUSKJRNL"
	journalVersion    = 1
	journalHeader     = 0x30
	journalChange     = 24
	journalFill       = 1
	journalKept       = 2
	maxJournal        = 1 << 30
	maxJournalChanges = 1 << 24
)

// journalID tells volumes apart.
type journalID [sha256.Size]byte

func volumeID(boot []byte, size int64) journalID {
	return sha256.Sum256(append(le.AppendUint64(nil, uint64(size)), boot...))
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendJournal appends the journal of a transaction.
func appendJournal(b []byte, id journalID, kept []keptBytes, list []change) []byte {
	at := len(b)
	size := journalHeader + sha256.Size + len(kept)*(journalChange+4)
	for _, c := range list {
		size += journalChange + len(c.data) + len(c.data)/sectorStride*4
	}
	b = slices.Grow(b, size)
	b = append(b, journalMagic...)
	b = le.AppendUint32(b, journalVersion)
	b = le.AppendUint32(b, uint32(len(kept)+len(list)))
	b = append(b, id[:]...)
	for _, c := range kept {
		b = le.AppendUint32(b, 0)
		b = le.AppendUint32(b, journalKept)
		b = le.AppendUint64(b, uint64(c.off))
		b = le.AppendUint64(b, uint64(c.size))
		b = le.AppendUint32(b, c.sum)
	}
	for _, c := range list {
		kind := uint32(0)
		if c.data == nil {
			kind = journalFill
		}
		b = le.AppendUint32(b, uint32(c.rank))
		b = le.AppendUint32(b, kind)
		b = le.AppendUint64(b, uint64(c.off))
		b = le.AppendUint64(b, uint64(c.size))
		for old := range slices.Chunk(c.old, sectorStride) {
			b = le.AppendUint32(b, crc32.Checksum(old, castagnoli))
		}
		b = append(b, c.data...)
	}
	sum := sha256.Sum256(b[at:])
	return append(b, sum[:]...)
}

// ErrJournal is wrapped by the errors of a journal that cannot be of this volume, or not any more.
var ErrJournal = errors.New("the journal does not belong to this volume")

// journalEntry is a change as the journal has it, or bytes that stay.
type journalEntry struct {
	change
	kept bool
	sums []byte // CRC-32C of each sector before; of bytes that stay, of all of them
}

// parseJournal returns the entries of a committed transaction, nil if b holds none.
func parseJournal(b []byte, id journalID, size int64) ([]journalEntry, error) {
	n := min(len(b), len(journalMagic))
	if head := b[:n]; string(head) != journalMagic[:n] && !isFilled(head, 0) {
		return nil, fmt.Errorf("starts with %q, want %q: not a journal", head, journalMagic)
	}
	if len(b) < journalHeader+sha256.Size || string(b[:n]) != journalMagic {
		return nil, nil
	}
	body, sum := b[:len(b)-sha256.Size], b[len(b)-sha256.Size:]
	if sha256.Sum256(body) != [sha256.Size]byte(sum) {
		return nil, nil // it was cut off before the commit
	}
	if v := le.Uint32(b[8:]); v != journalVersion {
		return nil, fmt.Errorf("version %d, want %d: %w", v, journalVersion, errors.ErrUnsupported)
	}
	if journalID(b[0x10:0x30]) != id {
		return nil, fmt.Errorf("%w: it is of one with another size or boot sector", ErrJournal)
	}
	count := le.Uint32(b[0xc:])
	rest := body[journalHeader:]
	if count > maxJournalChanges || int64(count)*journalChange > int64(len(rest)) {
		return nil, fmt.Errorf("at 0xc: %d changes in %d bytes", count, len(rest))
	}
	list := make([]journalEntry, 0, count)
	for range count {
		at := len(body) - len(rest)
		if len(rest) < journalChange {
			return nil, fmt.Errorf("change at %#x: %d bytes left, want %d", at, len(rest), journalChange)
		}
		r, kind := le.Uint32(rest), le.Uint32(rest[4:])
		c := journalEntry{change: change{rank: rank(r), off: int64(le.Uint64(rest[8:])), size: int64(le.Uint64(rest[16:]))}}
		rest = rest[journalChange:]
		if r > uint32(rankEnd) || kind > journalKept || kind == journalKept && r > 0 || len(list) > 0 && list[len(list)-1].rank > c.rank {
			return nil, fmt.Errorf("change at %#x: rank %d, kind %d", at, r, kind)
		}
		if c.size <= 0 || c.size%sectorStride != 0 || c.off < 0 || c.off%sectorStride != 0 || c.size > size || c.off > size-c.size {
			return nil, fmt.Errorf("change at %#x: %d bytes at %#x of a volume of %d", at, c.size, c.off, size)
		}
		switch kind {
		case journalKept:
			if len(rest) < 4 {
				return nil, fmt.Errorf("entry at %#x: no checksum", at)
			}
			c.kept, c.sums, rest = true, rest[:4], rest[4:]
		case 0:
			sums := c.size / sectorStride * 4
			if c.size > int64(len(rest)) || sums > int64(len(rest))-c.size {
				return nil, fmt.Errorf("change at %#x: %d bytes, %d left", at, c.size+sums, len(rest))
			}
			c.sums, c.data = rest[:sums], rest[sums:sums+c.size]
			rest = rest[sums+c.size:]
		}
		list = append(list, c)
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("%d bytes behind the last change", len(rest))
	}
	return list, nil
}

// replay finishes the transaction that the journal holds.
func (e *Editor) replay() error {
	b, err := e.j.Load()
	if err != nil {
		return err
	}
	entries, err := parseJournal(b, e.id, e.size)
	if err != nil {
		return err
	}
	if len(entries) == 0 {
		if len(b) > 0 {
			return e.j.Clear()
		}
		return nil
	}
	if err := matches(e.d, entries); err != nil {
		return err
	}
	var list []change
	for _, c := range entries {
		if !c.kept {
			list = append(list, c.change)
		}
	}
	if err := e.apply(list); err != nil {
		return err
	}
	return e.j.Clear()
}

// matches checks that each sector that the journal changes is as it was before the transaction or as a step of it makes it, and that
// what it relies on is still there. Anything else was written since, by somebody who did not know of the journal.
func matches(d io.ReaderAt, list []journalEntry) error {
	allowed := make(map[int64][]uint32)
	for _, c := range list {
		for i := 0; i < len(c.data); i += sectorStride {
			s := (c.off + int64(i)) / sectorStride
			allowed[s] = append(allowed[s], le.Uint32(c.sums[i/sectorStride*4:]), crc32.Checksum(c.data[i:i+sectorStride], castagnoli))
		}
	}
	var buf bytes.Buffer
	for _, c := range list {
		if c.kept {
			sum := crc32.New(castagnoli)
			if n, err := io.Copy(sum, io.NewSectionReader(d, c.off, c.size)); err != nil || n < c.size {
				return cmp.Or(err, io.ErrUnexpectedEOF)
			}
			if sum.Sum32() != le.Uint32(c.sums) {
				return fmt.Errorf("%w: %d bytes at %#x of the volume are not those of the transaction, so somebody has used it since", ErrJournal, c.size, c.off)
			}
		}
		if c.data == nil {
			continue
		}
		buf.Reset()
		if _, err := io.Copy(&buf, io.NewSectionReader(d, c.off, c.size)); err != nil {
			return err
		}
		b := buf.Bytes()
		for i := int64(0); i < c.size; i += sectorStride {
			if int64(len(b)) < i+sectorStride {
				return io.ErrUnexpectedEOF
			}
			s := (c.off + i) / sectorStride
			if !slices.Contains(allowed[s], crc32.Checksum(b[i:i+sectorStride], castagnoli)) {
				return fmt.Errorf("%w: the sector at %#x of the volume is neither as before the transaction nor as after it, so it was changed since", ErrJournal, s*sectorStride)
			}
		}
	}
	return nil
}

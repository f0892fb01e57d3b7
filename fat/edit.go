package fat

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"husk/internal/ondisk"
	"husk/winfile"
)

// Disk is a volume that can be changed: what was written is there for good once Sync has returned.
type Disk interface {
	io.ReaderAt
	io.WriterAt
	Sync() error
}

// ErrFull says that a volume has too few free clusters for the new content beside the old.
var ErrFull = errors.New("not enough free clusters")

// maxEdited bounds the clusters of volumes that are changed: both FATs are held in memory. 2^24 clusters of 32 KiB are 512 GiB.
const maxEdited = 1 << 24

// Replace gives the file at a slash path of the volume on d, of size bytes, new content, and the time when it was written. The file must
// exist. A power cut leaves it as it was or as it is to be: the content goes to free clusters, then they become a chain in every FAT, and
// then one sector changes, that with the file's directory entry. Cut after that, the old clusters are marked used and belong to nothing, which
// is all that fsck or chkdsk can find.
//
// A volume is refused with a *FormatError if its FATs differ for a cluster that a file has, or if two files have the same cluster: writing
// to it could destroy files.
func Replace(d Disk, size int64, path string, content []byte, when winfile.Filetime) error {
	if int64(len(content)) > math.MaxUint32 {
		return fmt.Errorf("fat: %s: %d bytes, want at most %d", path, len(content), uint32(math.MaxUint32))
	}
	v, err := NewVolume(d, size)
	if err != nil {
		return err
	}
	e := &editor{Volume: v, d: d, path: "/" + path}
	if err := e.load(); err != nil {
		return err
	}
	chain, err := e.takeFree((int64(len(content)) + int64(v.ClusterSize) - 1) / int64(v.ClusterSize))
	if err != nil {
		return fmt.Errorf("fat: %s: %w", path, err)
	}
	for _, step := range []func() error{
		func() error { return e.writeContent(chain, content) },
		func() error { return e.writeFree(false) },
		func() error { return e.link(chain) },
		func() error { return e.writeEntry(chain, uint32(len(content)), when) },
		func() error { return e.release() },
		func() error { return e.writeFree(true) },
	} {
		if err := step(); err != nil {
			return fmt.Errorf("fat: %s: %w", path, err)
		}
	}
	return nil
}

// editor is one change of one file.
type editor struct {
	*Volume
	d      Disk
	path   string
	fats   [][]byte // the content of each copy
	used   []bool   // by cluster: it belongs to a file or directory
	found  bool     // the file
	at     int64    // byte offset of its entry in the volume
	old    []uint32 // its clusters
	latest uint32   // the cluster that was taken last
}

// load reads the FATs and every directory, and finds the file.
func (e *editor) load() error {
	if e.Clusters > maxEdited {
		return fmt.Errorf("fat: changing a volume of %d clusters, want at most %d: %w", e.Clusters, maxEdited, errors.ErrUnsupported)
	}
	bytes := (e.Clusters+rootCluster)*int64(e.Bits)/8 + 1
	for i, off := range e.copies {
		b, err := ondisk.ReadAt(e.d, off, min(bytes, e.fatSize), maxEdited*4+rootCluster*4+1)
		if err != nil {
			return &FormatError{fmt.Sprintf("FAT %d", i+1), off, err}
		}
		e.fats = append(e.fats, b)
	}
	e.used = make([]bool, e.Clusters+rootCluster)
	t := treeReader{Volume: e.Volume, seen: make(map[uint32]bool), found: e.claim}
	if _, err := t.tree(); err != nil {
		return err
	}
	if !e.found {
		return fmt.Errorf("fat: %s: %w", e.path, errNoFile)
	}
	return nil
}

var errNoFile = errors.New("no such file")

// claim marks the clusters of a file or directory.
func (e *editor) claim(path string, entry *dirEntry, first uint32, at int64) error {
	isDir := entry.Attributes&uint8(winfile.AttrDirectory) != 0
	var chain []uint32
	if isDir || first != 0 || entry.Size > 0 {
		var err error
		if chain, err = e.walk(path, first); err != nil {
			return err
		}
	}
	if have := int64(len(chain)) * int64(e.ClusterSize); have < int64(entry.Size) {
		return &FormatError{"chain of " + path, e.entryAt(first), fmt.Errorf("%d clusters, want them for %d bytes", len(chain), entry.Size)}
	}
	if !e.found && !isDir && winfile.EqualFold(path, e.path) {
		e.found, e.at, e.old = true, at, chain
	}
	return nil
}

// walk follows a chain and marks its clusters.
func (e *editor) walk(path string, first uint32) ([]uint32, error) {
	what := "chain of " + path
	var chain []uint32
	for c := first; ; {
		off := e.entryAt(c)
		switch {
		case c < rootCluster || int64(c) >= e.Clusters+rootCluster:
			return nil, &FormatError{what, off, fmt.Errorf("cluster %d, want 2 to %d", c, e.Clusters+rootCluster-1)}
		case e.used[c]:
			return nil, &FormatError{what, off, fmt.Errorf("cluster %d is there twice, or another file has it, too", c)}
		}
		e.used[c] = true
		chain = append(chain, c)
		next := e.get(0, c)
		for i := range e.fats {
			if n := e.get(i, c); n != next {
				return nil, &FormatError{what, off, fmt.Errorf("after cluster %d comes %d, and %d in FAT %d: want them equal", c, next, n, i+1)}
			}
		}
		if next >= e.end() {
			return chain, nil
		}
		c = next
	}
}

// field is the byte offset of a cluster's entry in a FAT, and its length and lowest bit.
func (e *editor) field(c uint32) (off, length, shift int) {
	off, length = int(int64(c)*int64(e.Bits)/8), (e.Bits+7)/8
	if e.Bits == 12 && c&1 != 0 {
		shift = 4
	}
	return off, length, shift
}

// get is the entry of a cluster in one of the FATs.
func (e *editor) get(copy int, c uint32) uint32 {
	off, length, shift := e.field(c)
	var n uint32
	for i, b := range e.fats[copy][off : off+length] {
		n |= uint32(b) << (8 * i)
	}
	return n >> shift & e.mask()
}

// put changes the entry of a cluster in one of the FATs in memory. The bits around it stay.
func (e *editor) put(copy int, c, n uint32) {
	off, length, shift := e.field(c)
	for i := range length {
		b := &e.fats[copy][off+i]
		*b = *b&^byte(e.mask()<<shift>>(8*i)) | byte(n<<shift>>(8*i))
	}
}

// takeFree picks clusters that no FAT says to be in use, in one piece if there is one.
func (e *editor) takeFree(count int64) ([]uint32, error) {
	var free, run []uint32
	for c := uint32(rootCluster); int64(c) < e.Clusters+rootCluster && int64(len(run)) < count; c++ {
		if !e.isFree(c) {
			run = run[:0]
			continue
		}
		run = append(run, c)
		if int64(len(free)) < count {
			free = append(free, c)
		}
	}
	if int64(len(run)) == count {
		free = run
	}
	if int64(len(free)) < count {
		return nil, fmt.Errorf("%w: %d, want %d of %d bytes for the new content", ErrFull, len(free), count, e.ClusterSize)
	}
	if count > 0 {
		e.latest = free[count-1]
	}
	return free, nil
}

func (e *editor) isFree(c uint32) bool {
	for i := range e.fats {
		if e.get(i, c) != 0 {
			return false
		}
	}
	return !e.used[c]
}

// writeContent fills the clusters of a chain; the last one ends in zeros.
func (e *editor) writeContent(chain []uint32, content []byte) error {
	size := int64(e.ClusterSize)
	for i := 0; i < len(chain); {
		n := 1
		for i+n < len(chain) && chain[i+n] == chain[i]+uint32(n) && n < 1<<20/e.ClusterSize {
			n++
		}
		b := make([]byte, int64(n)*size)
		copy(b, content[int64(i)*size:])
		if _, err := e.d.WriteAt(b, e.clusterAt+(int64(chain[i])-rootCluster)*size); err != nil {
			return err
		}
		i += n
	}
	return e.d.Sync()
}

// link makes clusters a chain.
func (e *editor) link(chain []uint32) error {
	return e.update(chain, func(i int) uint32 {
		if i == len(chain)-1 {
			return endOfChain & e.mask()
		}
		return chain[i+1]
	})
}

// release frees the clusters that the file had.
func (e *editor) release() error {
	return e.update(e.old, func(int) uint32 { return 0 })
}

// update sets the entries of clusters in every FAT.
func (e *editor) update(clusters []uint32, to func(i int) uint32) error {
	sector := int64(e.SectorSize)
	for f := range e.fats {
		var changed []int64 // sectors
		for i, c := range clusters {
			e.put(f, c, to(i))
			off, length, _ := e.field(c)
			changed = append(changed, int64(off)/sector, int64(off+length-1)/sector)
		}
		slices.Sort(changed)
		for _, s := range slices.Compact(changed) {
			b := e.fats[f][s*sector : min((s+1)*sector, int64(len(e.fats[f])))]
			if err := e.writeSector(e.copies[f]+s*sector, b); err != nil {
				return err
			}
		}
	}
	return e.d.Sync()
}

// writeSector writes the sector at off, whose beginning becomes b.
func (e *editor) writeSector(off int64, b []byte) error {
	if len(b) < e.SectorSize {
		whole, err := ondisk.ReadAt(e.d, off, int64(e.SectorSize), int64(e.SectorSize))
		if err != nil {
			return err
		}
		copy(whole, b)
		b = whole
	}
	_, err := e.d.WriteAt(b, off)
	return err
}

// writeEntry makes the directory entry name the new content: the one sector that decides.
func (e *editor) writeEntry(chain []uint32, size uint32, when winfile.Filetime) error {
	sector := int64(e.SectorSize)
	off := e.at / sector * sector
	b, err := ondisk.ReadAt(e.d, off, sector, sector)
	if err != nil {
		return err
	}
	entry := b[e.at-off:][:entrySize]
	first := uint32(0)
	if len(chain) > 0 {
		first = chain[0]
	}
	if e.Bits == 32 {
		putCluster(entry, first)
	} else {
		le.PutUint16(entry[0x1a:], uint16(first)) // what is at 0x14 is not a cluster there
	}
	stamp, _ := dosTime(when)
	le.PutUint32(entry[0x16:], stamp)
	le.PutUint16(entry[0x12:], uint16(stamp>>16))
	le.PutUint32(entry[0x1c:], size)
	entry[0x0b] |= uint8(winfile.AttrArchive)
	if _, err := e.d.WriteAt(b, off); err != nil {
		return err
	}
	return e.d.Sync()
}

// writeFree makes FSInfo say how many clusters are free, or that this is not known. A volume without it has nothing to be changed.
func (e *editor) writeFree(known bool) error {
	if e.info == 0 {
		return nil
	}
	b, err := ondisk.ReadAt(e.d, e.info, int64(e.SectorSize), int64(e.SectorSize))
	if err != nil {
		return err
	}
	if le.Uint32(b) != leadMagic || le.Uint32(b[0x1e4:]) != infoMagic || le.Uint32(b[0x1fc:]) != trailMagic {
		return nil
	}
	free, next := uint32(math.MaxUint32), uint32(math.MaxUint32)
	if known {
		free, next = 0, max(e.latest, rootCluster)
		for c := uint32(rootCluster); int64(c) < e.Clusters+rootCluster; c++ {
			if e.get(0, c) == 0 {
				free++
			}
		}
	}
	le.PutUint32(b[0x1e8:], free)
	le.PutUint32(b[0x1ec:], next)
	if _, err := e.d.WriteAt(b, e.info); err != nil {
		return err
	}
	return e.d.Sync()
}

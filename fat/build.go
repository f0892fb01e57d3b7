package fat

import (
	"fmt"
	"math"
	"math/bits"

	"husk/winfile"
)

// Options says what volume to make.
type Options struct {
	Size          int64  // bytes of the volume, which are those of the partition
	SectorSize    int    // 512 or 4096, the disk's; 0 means 512
	ClusterSize   int    // SectorSize to 32 KiB, a power of two; 0 means what Windows takes for the size
	HiddenSectors uint32 // LBA of the partition: BIOS boot code relies on it
	Label         string // up to 11 capitals, digits and signs of a short name; empty means none
	Serial        uint32 // volume serial number

	// BootSector is a boot sector, 512 bytes, whose fields at 0x03 to 0x59 are replaced. Nil means code that hands back to the BIOS.
	BootSector []byte

	Progress func(bytes int64) // called with the length of each piece of content read, from several goroutines at once
}

// Layout is a volume of which every byte but the contents of files is decided.
type Layout struct {
	opt         Options
	label       [11]byte
	reserved    int64 // sectors
	fatSectors  int64 // of one FAT
	clusterSize int64 // bytes
	clusters    int64
	next        int64 // first free cluster, counted from 0
	fat         []uint32
	dirs        []directory
	blobs       []*winfile.Blob
	places      map[*winfile.Blob][]int64 // byte offsets: one blob may be the content of several files
}

// directory is the entries of one directory and where they go.
type directory struct {
	at      int64 // byte offset in the volume
	entries []byte
}

// noBoot hands back to the BIOS, which then tries the next device: int 0x18.
var noBoot = []byte{0xeb, 0x58, 0x90, codeAt: 0xcd, 0x18}

// NewLayout decides the layout of a volume that holds the tree. Directories come first, then contents, each in one piece, in the order of
// the tree. It refuses what FAT cannot hold, with the path in the error: names, files of 4 GiB, reparse points, encrypted files.
func NewLayout(t *winfile.Tree, o Options) (*Layout, error) {
	l := &Layout{opt: o, places: make(map[*winfile.Blob][]int64)}
	if err := l.geometry(); err != nil {
		return nil, fmt.Errorf("fat: %w", err)
	}
	l.fat = []uint32{mediaEntry, endOfChain}
	files, err := l.placeDirectories(t.Root)
	if err == nil {
		err = l.placeFiles(files)
	}
	if err != nil {
		return nil, fmt.Errorf("fat: %w", err)
	}
	return l, nil
}

// defaultCluster is the cluster size that Windows takes.
func defaultCluster(size int64) int64 {
	for _, step := range []struct{ upTo, cluster int64 }{{260 << 20, 512}, {8 << 30, 4096}, {16 << 30, 8192}, {32 << 30, 16384}} {
		if size <= step.upTo {
			return step.cluster
		}
	}
	return 32768
}

// geometry checks the options and decides what the boot sector says.
func (l *Layout) geometry() (err error) {
	o := &l.opt
	if o.SectorSize == 0 {
		o.SectorSize = 512
	}
	if o.SectorSize != 512 && o.SectorSize != 4096 {
		return fmt.Errorf("sector size %d, want 512 or 4096", o.SectorSize)
	}
	if o.Size < 0 || o.Size%int64(o.SectorSize) != 0 || o.Size/int64(o.SectorSize) > math.MaxUint32 {
		return fmt.Errorf("volume of %d bytes, want at most 2^32 sectors of %d", o.Size, o.SectorSize)
	}
	if o.BootSector == nil {
		o.BootSector = noBoot
	}
	if len(o.BootSector) > bootSize {
		return fmt.Errorf("boot sector of %d bytes, want at most %d", len(o.BootSector), bootSize)
	}
	if l.label, err = labelBytes(o.Label); err != nil {
		return err
	}
	sector := int64(o.SectorSize)
	l.clusterSize = int64(o.ClusterSize)
	if l.clusterSize == 0 {
		l.clusterSize = max(defaultCluster(o.Size), sector)
	}
	if l.clusterSize < sector || l.clusterSize > 32768 || bits.OnesCount64(uint64(l.clusterSize)) != 1 {
		return fmt.Errorf("cluster size %d, want a power of two from %d to 32768", l.clusterSize, sector)
	}

	// The FATs are as long as the clusters need that would be there without them; what is reserved lets clusters begin at a multiple of
	// 4096 bytes, and of their size.
	perCluster := l.clusterSize / sector
	sectors := o.Size / sector
	l.fatSectors = (((sectors-leastSectors)/perCluster+2)*4 + sector - 1) / sector
	unit := max(l.clusterSize, 4096) / sector
	l.reserved = (leastSectors+fats*l.fatSectors+unit-1)/unit*unit - fats*l.fatSectors
	l.clusters = (sectors - l.reserved - fats*l.fatSectors) / perCluster
	if l.clusters < leastCluster || l.clusters >= mostClusters {
		return fmt.Errorf("volume of %d bytes has %d clusters of %d bytes, want %d to %d for FAT32", o.Size, max(l.clusters, 0), l.clusterSize, leastCluster, mostClusters-1)
	}
	return nil
}

// Size is the size of the volume in bytes.
func (l *Layout) Size() int64 { return l.opt.Size }

// UsedBytes is what directories and contents take, in whole clusters.
func (l *Layout) UsedBytes() int64 { return l.next * l.clusterSize }

// FreeBytes is what is left in whole clusters.
func (l *Layout) FreeBytes() int64 { return (l.clusters - l.next) * l.clusterSize }

// dataOffset is the byte offset of the cluster that comes after n others.
func (l *Layout) dataOffset(n int64) int64 {
	return (l.reserved+fats*l.fatSectors)*int64(l.opt.SectorSize) + n*l.clusterSize
}

// take gives size bytes clusters in a row. It returns the number of the first one, 0 for no bytes, and its byte offset.
func (l *Layout) take(size int64) (first uint32, at int64, err error) {
	n := (size + l.clusterSize - 1) / l.clusterSize
	if n > l.clusters-l.next {
		return 0, 0, fmt.Errorf("the tree takes more than the %d bytes that the volume of %d has for it", l.clusters*l.clusterSize, l.opt.Size)
	}
	if n == 0 {
		return 0, 0, nil
	}
	first, at = uint32(l.next+rootCluster), l.dataOffset(l.next)
	for i := range n - 1 {
		l.fat = append(l.fat, first+uint32(i)+1)
	}
	l.fat = append(l.fat, endOfChain)
	l.next += n
	return first, at, nil
}

// pendingFile is a file whose entry waits for its first cluster.
type pendingFile struct {
	path  string
	info  *winfile.Info
	entry []byte
}

// placeDirectories lays out all directories, level by level, and returns the files that they name.
func (l *Layout) placeDirectories(root *winfile.Entry) ([]pendingFile, error) {
	type pendingDir struct {
		path   string
		entry  *winfile.Entry
		parent uint32 // first cluster; 0 for the root
		slot   []byte // its entry in the parent; nil for the root
	}
	var files []pendingFile
	todo := []pendingDir{{entry: root}}
	for i := 0; i < len(todo); i++ {
		d := todo[i]
		b, places, err := l.encodeDirectory(d.path, d.entry, d.slot == nil)
		if err != nil {
			return nil, err
		}
		first, at, err := l.take(max(int64(len(b)), 1))
		if err != nil {
			return nil, err
		}
		self := first
		if d.slot != nil {
			putCluster(d.slot, first)
			putCluster(b, first)
			putCluster(b[entrySize:], d.parent)
		} else {
			self = 0 // what ".." says of the root
		}
		l.dirs = append(l.dirs, directory{at, b})
		for k, c := range d.entry.Children {
			path := d.path + "/" + c.Name
			slot := b[places[k]:][:entrySize]
			if c.Info.IsDir() {
				todo = append(todo, pendingDir{path, c, self, slot})
			} else {
				files = append(files, pendingFile{path, c.Info, slot})
			}
		}
	}
	return files, nil
}

// putCluster sets the first cluster of an entry.
func putCluster(entry []byte, first uint32) {
	le.PutUint16(entry[0x14:], uint16(first>>16))
	le.PutUint16(entry[0x1a:], uint16(first))
}

// encodeDirectory makes the entries of d, clusters left out. places has the offset of the short entry of each child.
func (l *Layout) encodeDirectory(path string, d *winfile.Entry, isRoot bool) (b []byte, places []int, err error) {
	add := func(name shortName, i *winfile.Info, attributes uint8) {
		e := dirEntry{Name: name.name, Case: name.bits, Attributes: attributes}
		if i != nil {
			e.Created, e.CreatedTens = dosTime(i.Created)
			e.Written, _ = dosTime(i.Written)
			accessed, _ := dosTime(i.Accessed)
			e.Accessed = uint16(accessed >> 16)
			if i.Data != nil {
				e.Size = uint32(i.Data.Size)
			}
		}
		b = append(b, make([]byte, entrySize)...)
		put(b[len(b)-entrySize:], &e)
	}
	if isRoot {
		if l.opt.Label != "" {
			add(shortName{name: l.label}, d.Info, attrLabel)
		}
	} else {
		add(shortName{name: [11]byte([]byte(".          "))}, d.Info, uint8(winfile.AttrDirectory))
		add(shortName{name: [11]byte([]byte("..         "))}, d.Info, uint8(winfile.AttrDirectory))
	}

	names, seen := aliases{make(map[[11]byte]bool), make(map[string]int)}, make(map[string]bool)
	for _, c := range d.Children { // names that are short anyway come before those that are made up
		if s, ok := short(c.Name); ok {
			names.taken[s.name] = true
		}
	}
	for _, c := range d.Children {
		if err := checkChild(c); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", path+"/"+c.Name, err)
		}
		if fold := winfile.Fold(c.Name); seen[fold] {
			return nil, nil, fmt.Errorf("%s: there are two such names", path+"/"+c.Name)
		} else {
			seen[fold] = true
		}
		s, ok := short(c.Name)
		if !ok {
			s = names.alias(c.Name)
			b = appendLong(b, c.Name, checksum(s.name))
		}
		places = append(places, len(b))
		add(s, c.Info, uint8(c.Info.Attributes&attrStored))
	}
	if len(b) > maxDirectory {
		return nil, nil, fmt.Errorf("%s: directory of %d entries, want at most %d", path, len(b)/entrySize, maxDirectory/entrySize)
	}
	return b, places, nil
}

// checkChild refuses what FAT has no form for.
func checkChild(c *winfile.Entry) error {
	switch i := c.Info; {
	case i.Attributes&winfile.AttrReparse != 0:
		return fmt.Errorf("FAT has no reparse points")
	case i.Attributes&winfile.AttrEncrypted != 0 && !i.IsDir():
		return fmt.Errorf("FAT has no encrypted files")
	case i.Data != nil && i.Data.Size > math.MaxUint32:
		return fmt.Errorf("file of %d bytes, want at most %d", i.Data.Size, uint32(math.MaxUint32))
	}
	return checkName(c.Name)
}

// placeFiles gives contents their clusters.
func (l *Layout) placeFiles(files []pendingFile) error {
	for _, f := range files {
		b := f.info.Data
		if b == nil {
			continue
		}
		first, at, err := l.take(b.Size)
		if err != nil {
			return fmt.Errorf("%s: %w", f.path, err)
		}
		putCluster(f.entry, first)
		if l.places[b] == nil {
			l.blobs = append(l.blobs, b)
		}
		l.places[b] = append(l.places[b], at)
	}
	return nil
}

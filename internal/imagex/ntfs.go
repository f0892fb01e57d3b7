package imagex

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"sync"

	"husk/internal/disk"
	"husk/internal/inplace"
	"husk/ntfs"
	"husk/winfile"
)

// applyVolume applies a tree to an NTFS volume that exists: one that is empty is laid out anew with its size, cluster size, name, serial
// number and boot code, which is one pass over it; into any other the files go one by one.
func (k *call) applyVolume(t *winfile.Tree, target string, bar *progress) error {
	d, err := disk.OpenEdit(target)
	if err != nil {
		return fail(codeNTFS, "%s: %w", target, err)
	}
	part, err := d.NTFS()
	if err != nil {
		return errors.Join(fail(codeNTFS, "%s: %w", target, err), d.Close())
	}
	v, err := ntfs.NewReader(d.Section(part), part.Size)
	if err != nil {
		return errors.Join(fail(codeNTFS, "%s: %w", target, err), d.Close())
	}
	old, err := v.Tree(k.ctx)
	if err == nil {
		err = inplace.Usable(target, v)
	}
	if err != nil {
		return errors.Join(fail(codeNTFS, "%s: %w", target, err), d.Close())
	}
	if len(old.Root.Children) > 0 {
		if err := d.Close(); err != nil {
			return err
		}
		return k.addToVolume(t, old, target, part.Number, bar)
	}
	err = k.fillVolume(t, v, d.Part(part), part.Size, bar)
	if err == nil {
		err = d.Sync()
	}
	if err != nil {
		err = coded(fmt.Errorf("%s: %w", target, err), codeNTFS)
	}
	return errors.Join(err, d.Close())
}

// readWriter is a volume to be written.
type readWriter interface {
	io.ReaderAt
	io.WriterAt
}

// bootBytes is the size of $Boot.
const bootBytes = 8192

// Fields of the boot sector, [MS-FSCC] has none of it: Brian Carrier, "File System Forensic Analysis", table 13.18.
const (
	bootHidden  = 0x1c // u32 sectors before the volume
	bootSectors = 0x28 // u64 sectors of the volume, its last one not counted
)

// fillVolume lays an empty volume out anew with the files of a tree.
func (k *call) fillVolume(t *winfile.Tree, v *ntfs.Volume, w readWriter, size int64, bar *progress) error {
	boot := make([]byte, bootBytes)
	if _, err := w.ReadAt(boot, 0); err != nil {
		return err
	}
	if n := binary.LittleEndian.Uint64(boot[bootSectors:]); n < uint64(size)/uint64(v.SectorSize) {
		size = (int64(n) + 1) * int64(v.SectorSize)
	}
	l, err := ntfs.NewLayout(t, &ntfs.BuildOptions{
		Size: size, SectorSize: v.SectorSize, ClusterSize: v.ClusterSize, HiddenSectors: binary.LittleEndian.Uint32(boot[bootHidden:]),
		Label: v.Label, Serial: v.Serial, BootSector: boot, SkipUnsupported: true, Progress: bar.add,
	})
	if err != nil {
		return err
	}
	for _, n := range l.Notes() {
		k.warn("%s: %s", n.Path, n.What)
	}
	written := &spans{w: w}
	if err := l.Write(k.ctx, written); err != nil {
		return err
	}
	return written.zeroRest(w, size)
}

// spans passes writes on and remembers where they were.
type spans struct {
	w    io.WriterAt
	mu   sync.Mutex
	list []span
}

type span struct{ start, end int64 }

func (s *spans) WriteAt(p []byte, off int64) (int, error) {
	s.mu.Lock()
	s.list = append(s.list, span{off, off + int64(len(p))})
	s.mu.Unlock()
	return s.w.WriteAt(p, off)
}

// zeroRest writes zeros wherever a volume that was just written counts on them: in clusters in use that were not written. What the
// bitmap has of clusters that were not written may be left from before, so some that are free are written too.
func (s *spans) zeroRest(w readWriter, size int64) error {
	v, err := ntfs.NewReader(io.NewSectionReader(w, 0, size), size)
	if err != nil {
		return err
	}
	done := s.list
	cluster := int64(v.ClusterSize)
	for e, err := range v.FreeRuns() {
		if err != nil {
			return err
		}
		start := int64(e.LCN) * cluster
		done = append(done, span{start, start + int64(e.Clusters)*cluster})
	}
	slices.SortFunc(done, func(a, b span) int { return cmp.Compare(a.start, b.start) })
	zeros := make([]byte, 1<<20)
	at := int64(0)
	for _, d := range append(done, span{size, size}) {
		for at < d.start {
			n, err := w.WriteAt(zeros[:min(int64(len(zeros)), d.start-at)], at)
			if err != nil {
				return err
			}
			at += int64(n)
		}
		at = max(at, d.end)
	}
	return nil
}

// addToVolume puts the files of a tree beside, and over, those of a volume.
func (k *call) addToVolume(t, old *winfile.Tree, target string, number int, bar *progress) (err error) {
	v, err := inplace.Open(target, number)
	if err != nil {
		return fail(codeNTFS, "%s: %w", target, err)
	}
	defer func() { err = errors.Join(err, v.Close()) }()
	links, shorts := 0, 0
	for p, e := range t.All() {
		if err := k.ctx.Err(); err != nil {
			return err
		}
		if p == "." {
			continue
		}
		there := old.Lookup(p)
		if e.Info.Links > 1 {
			links++
		}
		if e.ShortName != "" {
			shorts++
		}
		switch {
		case there != nil && there.Info.IsDir() && e.Info.IsDir():
			continue
		case there != nil && (there.Info.IsDir() || e.Info.IsDir()):
			return fail(codeOverlay, "%s: a file and a directory do not replace each other", p)
		case there != nil:
			if err := v.Editor.Remove(p); err != nil {
				return fail(codeNTFS, "%s: %w", p, err)
			}
		}
		if e.Info.Extra != nil && e.Info.Extra.EFS != nil {
			k.warn("%s: encrypted, left out", p)
			continue
		}
		if err := v.Editor.Add(path.Clean(p), e.Info); err != nil {
			return fail(codeNTFS, "%s: %w", p, err)
		}
		for b := range e.Info.Blobs() {
			bar.add(b.Size)
		}
	}
	if links > 0 {
		k.warn("the volume was not empty: %d names of hard-linked files became files of their own", links)
	}
	if shorts > 0 {
		k.warn("the volume was not empty: %d short names were left out", shorts)
	}
	if err := v.Editor.Commit(); err != nil {
		return fail(codeNTFS, "%s: %w", target, err)
	}
	return nil
}

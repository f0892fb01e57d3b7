package disk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"husk/guid"
	"husk/internal/atomicfile"
	"husk/internal/ui"
	"husk/vhd"
	"husk/vhdx"
)

// NewOptions describes a disk to make.
type NewOptions struct {
	Form       string // "raw", "vhd", "vhdx"; "" takes it from the name of the file
	Fixed      bool   // of vhd and vhdx: all blocks in the file
	BlockSize  int64  // bytes; 0 means that of Windows
	SectorSize int    // logical, of vhdx: 512 or 4096; 0 means that of the source, or 512
	Overwrite  bool   // replace a file
	Progress   func(n int64)

	physical int // sector size of vhdx
}

// sink takes the content of a new disk.
type sink interface {
	io.WriterAt
	Close() error
}

// identity is what makes a disk the one that others know.
type identity struct{ id, dataWrite guid.GUID }

func newIdentity() identity { return identity{guid.New(), guid.New()} }

// newSink begins a disk of size bytes in f.
func newSink(f *atomicfile.File, form string, size int64, o *NewOptions, id identity) (sink, error) {
	switch form {
	case "raw":
		if o.Fixed || o.BlockSize != 0 {
			return nil, ui.Usage(errors.New("a raw image has no blocks and is always fixed"))
		}
		return rawSink{f}, f.Truncate(size)
	case "vhd":
		if o.SectorSize == 4096 {
			return nil, ui.Hint(errors.New("a VHD has sectors of 512 bytes, the disk has 4096"), "make a VHDX of it")
		}
		if size%512 != 0 {
			return nil, ui.Usage(fmt.Errorf("disk size %d, want a multiple of 512 for a VHD", size))
		}
		vo := &vhd.Options{Type: vhd.Dynamic, Size: size, BlockSize: o.BlockSize, ID: id.id, Time: time.Now()}
		if o.Fixed {
			vo.Type = vhd.Fixed
		}
		w, err := vhd.Create(f, vo)
		return w, err
	case "vhdx":
		vo := &vhdx.Options{Size: size, BlockSize: o.BlockSize, LogicalSector: o.SectorSize, PhysicalSector: o.physical, ID: id.id, FileWriteGUID: guid.New(), DataWriteGUID: id.dataWrite}
		if o.Fixed {
			vo.Type = vhdx.Fixed
		}
		w, err := vhdx.Create(f, vo)
		return w, err
	}
	return nil, ui.Usage(fmt.Errorf("form %q, want raw, vhd or vhdx", form))
}

// rawSink leaves holes where there are zeros, for its caller skips them.
type rawSink struct{ *atomicfile.File }

func (rawSink) Close() error { return nil }

// formByName is what a file is to become by its name, unless the user says it.
func formByName(path, given string) (string, error) {
	if given != "" {
		return strings.ToLower(given), nil
	}
	switch strings.ToLower(filepath.Ext(path)) {
	case ".vhd":
		return "vhd", nil
	case ".vhdx":
		return "vhdx", nil
	case ".img", ".raw", ".bin", ".dd":
		return "raw", nil
	}
	return "", ui.Hint(ui.Usage(fmt.Errorf("%s: the form of the disk does not show from the name", path)), "say --format=raw, vhd or vhdx")
}

// Convert writes the content of a disk, with those that it is based on, into a new one. Zeros take no room in it.
func Convert(ctx context.Context, source, target string, o *NewOptions) error {
	d, err := OpenAny(source)
	if err != nil {
		return err
	}
	defer d.Close()
	form, err := formByName(target, o.Form)
	if err != nil {
		return err
	}
	if sameFile(source, target) {
		return ui.Hint(ui.Usage(fmt.Errorf("%s is source and target", target)), "'husk disk compact' rewrites a disk in its place")
	}
	if err := notOver(target, d); err != nil {
		return err
	}
	with := *o
	if with.SectorSize == 0 {
		with.SectorSize = d.SectorSize
	}
	f, err := d.convert(ctx, target, form, &with, newIdentity())
	if err != nil {
		return err
	}
	defer f.Abort()
	return f.Commit()
}

// convert writes the disk into a file that is complete but for Commit.
func (d *Disk) convert(ctx context.Context, target, form string, o *NewOptions, id identity) (*atomicfile.File, error) {
	f, err := atomicfile.Create(target, o.Overwrite)
	if err != nil {
		return nil, err
	}
	w, err := newSink(f, form, d.size, o, id)
	if err == nil {
		err = d.copyTo(ctx, w, o.Progress)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		f.Abort()
		return nil, err
	}
	return f, nil
}

const copySize = 1 << 20

var zeroes [copySize]byte

// copyTo copies what is not zero, in pieces that lie at multiples of their size.
func (d *Disk) copyTo(ctx context.Context, w io.WriterAt, progress func(int64)) error {
	buf := make([]byte, copySize)
	done := int64(0)
	tell := func(at int64) {
		if progress != nil && at > done {
			progress(at - done)
			done = at
		}
	}
	for at := int64(0); ; {
		start, end := d.NextAllocated(at)
		tell(start)
		if start >= end {
			tell(d.size)
			return nil
		}
		for at = start; at < end; {
			if err := ctx.Err(); err != nil {
				return err
			}
			p := buf[:min(end, at/copySize*copySize+copySize)-at]
			if n, err := d.r.ReadAt(p, at); n < len(p) {
				return fmt.Errorf("%s: %w", d.Path, noEOF(err))
			}
			clearSpans(p, at, d.unused)
			if !bytes.Equal(p, zeroes[:len(p)]) {
				if _, err := w.WriteAt(p, at); err != nil {
					return err
				}
			}
			at += int64(len(p))
			tell(at)
		}
	}
}

// Create makes an empty disk.
func Create(target string, size int64, o *NewOptions) error {
	if size <= 0 || size%512 != 0 {
		return ui.Usage(fmt.Errorf("disk size %d, want a multiple of 512", size))
	}
	form, err := formByName(target, o.Form)
	if err != nil {
		return err
	}
	f, err := atomicfile.Create(target, o.Overwrite)
	if err != nil {
		return err
	}
	defer f.Abort()
	with := *o
	if with.SectorSize == 0 {
		with.SectorSize = 512
	}
	w, err := newSink(f, form, size, &with, newIdentity())
	if err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return f.Commit()
}

// CreateChild makes a differencing disk on a parent of the same form.
func CreateChild(target, parent string, o *NewOptions) error {
	d, err := OpenAny(parent)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := notOver(target, d); err != nil {
		return err
	}
	relative, absolute, err := windowsPaths(target, parent)
	if err != nil {
		return err
	}
	f, err := atomicfile.Create(target, o.Overwrite)
	if err != nil {
		return err
	}
	defer f.Abort()
	var w sink
	ext := strings.ToLower(filepath.Ext(target))
	switch p := d.r.(type) {
	case *vhd.Reader:
		if ext == ".vhdx" {
			return ui.Usage(fmt.Errorf("%s: a child of a VHD is a VHD", target))
		}
		w, err = vhd.Create(f, &vhd.Options{Size: p.Size(), BlockSize: o.BlockSize, ID: guid.New(), Time: time.Now(), Parent: &vhd.ParentLocator{
			ID: p.UUID(), Name: filepath.Base(parent), RelativePath: relative, AbsolutePath: absolute,
		}})
	case *vhdx.Reader:
		if ext == ".vhd" {
			return ui.Usage(fmt.Errorf("%s: a child of a VHDX is a VHDX", target))
		}
		i := p.Info()
		w, err = vhdx.Create(f, &vhdx.Options{Size: i.Size, BlockSize: o.BlockSize, LogicalSector: i.LogicalSector, PhysicalSector: i.PhysicalSector, ID: i.ID,
			FileWriteGUID: guid.New(), Parent: &vhdx.ParentLocator{Linkage: i.DataWriteGUID, RelativePath: relative, AbsolutePath: absolute}})
	default:
		return fmt.Errorf("%s: a %s disk as parent, want VHD or VHDX", parent, d.Format)
	}
	if err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return f.Commit()
}

// notOver refuses to replace a disk that another is based on, or that one itself.
func notOver(target string, d *Disk) error {
	if d.Uses(target) {
		return ui.Hint(ui.Usage(fmt.Errorf("%s would be replaced, and %s needs it", target, d.Path)), "choose another name")
	}
	return nil
}

// windowsPaths are the paths of a parent as a child has them: relative to the child, and absolute where the system has
// absolute paths that Windows understands.
func windowsPaths(child, parent string) (relative, absolute string, err error) {
	c, err := filepath.Abs(child)
	if err != nil {
		return "", "", err
	}
	p, err := filepath.Abs(parent)
	if err != nil {
		return "", "", err
	}
	if runtime.GOOS == "windows" {
		absolute = p
	}
	rel, err := filepath.Rel(filepath.Dir(c), p)
	if err != nil {
		return "", absolute, nil // another drive
	}
	relative = strings.ReplaceAll(filepath.ToSlash(rel), "/", `\`)
	if !strings.HasPrefix(relative, `..\`) {
		relative = `.\` + relative
	}
	return relative, absolute, nil
}

// Resize changes the size of a raw image, VHD or VHDX in place. It refuses to cut off partitions or data.
func Resize(path string, size int64) error {
	e, err := openEdit(path, nil)
	if err != nil {
		return err
	}
	err = e.resize(size)
	if err != nil {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return errors.Join(err, e.Close())
}

func (e *Edit) resize(size int64) error {
	if size < e.size {
		if err := e.canShrink(size); err != nil {
			return err
		}
	}
	switch w := e.w.(type) {
	case *vhd.Disk:
		return w.Resize(size)
	case *vhdx.Disk:
		return w.Resize(size)
	case *os.File:
		if st, err := w.Stat(); err != nil || !st.Mode().IsRegular() {
			return errors.Join(err, errors.New("a device has the size that it has"))
		}
		if size <= 0 || size%512 != 0 {
			return fmt.Errorf("disk size %d, want a multiple of 512", size)
		}
		if err := w.Truncate(size); err != nil {
			return err
		}
		return w.Sync()
	}
	return fmt.Errorf("resizing %s: %w", e.Format, errors.ErrUnsupported)
}

// canShrink looks at partitions, and for bytes behind the new end.
func (e *Edit) canShrink(size int64) error {
	probe := e.Disk
	probe.Partitions = nil
	if err := probe.readTable(); err == nil {
		if probe.Scheme == GPT {
			return ui.Hint(errors.New("making a GPT disk smaller would cut off the backup of its table"), "make its partitions smaller, and copy them to a new disk")
		}
		for _, p := range probe.Partitions {
			if p.Offset+p.Size > size {
				return ui.Hint(fmt.Errorf("partition %d ends at %d bytes, behind the new end at %d", p.Number, p.Offset+p.Size, size), "make the partition smaller first")
			}
		}
		return nil
	}
	buf := make([]byte, copySize)
	for at := size; ; {
		start, end := e.NextAllocated(at)
		if start >= end {
			return nil
		}
		p := buf[:min(end-start, copySize)]
		if n, err := e.r.ReadAt(p, start); n < len(p) {
			return noEOF(err)
		}
		if !bytes.Equal(p, zeroes[:len(p)]) {
			return fmt.Errorf("the disk has data at %#x, behind the new end at %d", start, size)
		}
		at = start + int64(len(p))
	}
}

// Compact rewrites a dynamic disk without the blocks that hold nothing but zeros and clusters of NTFS volumes that no file has, and with
// its identity. It returns the sizes of the file before and after. note hears of volumes whose free space is kept.
func Compact(ctx context.Context, path string, progress func(int64), note func(format string, args ...any)) (before, after int64, err error) {
	lock, err := openEdit(path, func(string) bool { return true }) // nobody writes to it meanwhile; children notice nothing
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = lock.Close() }()
	d, err := OpenAny(path)
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = d.Close() }() // read to its end, or closed already
	o := &NewOptions{SectorSize: d.SectorSize, Overwrite: true, Progress: progress}
	form, id := "vhdx", identity{}
	switch r := d.r.(type) {
	case *vhd.Reader:
		form, id.id = "vhd", r.UUID()
		err = compactable(r.Type().String())
		if b := r.Info().BlockSize; b == 512<<10 {
			o.BlockSize = b
		}
	case *vhdx.Reader:
		i := r.Info()
		id, o.BlockSize, o.physical = identity{i.ID, i.DataWriteGUID}, i.BlockSize, i.PhysicalSector
		err = compactable(r.Type().String())
	default:
		err = compactable(d.Format)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("%s: %w", path, err)
	}
	if d.unused, err = d.freeSpace(note); err != nil {
		return 0, 0, err
	}
	f, err := d.convert(ctx, path, form, o, id)
	if err != nil {
		return 0, 0, err
	}
	defer f.Abort()
	// Windows replaces no file that is open.
	if err := errors.Join(lock.Close(), d.Close()); err != nil {
		return 0, 0, err
	}
	if err := f.Commit(); err != nil {
		return 0, 0, err
	}
	st, err := os.Stat(path)
	if err != nil {
		return 0, 0, err
	}
	return d.container.FileSize, st.Size(), nil
}

func compactable(kind string) error {
	if kind == "dynamic" {
		return nil
	}
	return ui.Hint(fmt.Errorf("compacting a %s disk: %w", kind, errors.ErrUnsupported), "only dynamic VHD and VHDX have blocks to drop; 'husk disk convert' makes one")
}

// Merge writes what a differencing disk has into its parent, and returns the parent's path. The child is of no use then.
func Merge(child string) (parent string, err error) {
	d, err := OpenAny(child)
	if err != nil {
		return "", err
	}
	defer d.Close()
	parent = d.chain.parent
	if parent == "" {
		return "", ui.Hint(fmt.Errorf("%s is a %s disk and has no parent", child, d.Format), "'husk info' shows the form of a disk")
	}
	e, err := openEdit(parent, func(path string) bool { return sameFile(path, child) })
	if err != nil {
		return "", err
	}
	switch w := e.w.(type) {
	case interface{ Merge(*vhd.Reader) error }:
		err = mergeInto(w, d)
	case interface{ Merge(*vhdx.Reader) error }:
		err = mergeInto(w, d)
	default:
		err = fmt.Errorf("%s: merging into %s: %w", parent, e.Format, errors.ErrUnsupported)
	}
	return parent, errors.Join(err, e.Close())
}

// mergeInto merges a child into a parent of its form.
func mergeInto[R any](parent interface{ Merge(R) error }, child *Disk) error {
	r, ok := child.r.(R)
	if !ok {
		return fmt.Errorf("%s is a %s disk, and its parent is of another form", child.Path, child.Format)
	}
	return parent.Merge(r)
}

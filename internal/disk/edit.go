package disk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"husk/guid"
	"husk/internal/filelock"
	"husk/internal/mounted"
	"husk/internal/ui"
	"husk/vhd"
	"husk/vhdx"
)

// editable is a disk that can be changed in place: a file, a vhd.Disk, a vhdx.Disk.
type editable interface {
	io.ReaderAt
	io.WriterAt
	Sync() error
}

// Edit is a disk that is open for reading and writing. Nobody else can open it so while it is.
type Edit struct {
	Disk
	w   editable
	may func(child string) bool // whether it may be based on the disk; may be nil
}

// OpenEdit opens a raw image, a block device, a VHD or a VHDX for changing it in place. What is written is safe once Sync
// has returned. It refuses a device that is mounted or used in another way, a file that a loop device or another program
// has open for writing, a disk that others in its folder are based on, and forms that cannot be written.
func OpenEdit(path string) (*Edit, error) {
	e, err := openEdit(path, nil)
	if err != nil {
		return nil, err
	}
	if err := e.readTable(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), e.Close())
	}
	return e, nil
}

// openEdit is OpenEdit for disks with anything on them, and for parents of children that may says yes to.
func openEdit(path string, may func(child string) bool) (*Edit, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	flags := os.O_RDWR
	switch {
	case st.Mode().IsRegular():
		err = fileFree(path)
	case st.Mode()&os.ModeDevice != 0 && st.Mode()&os.ModeCharDevice == 0:
		flags |= exclusive
		err = deviceFree(path)
	default:
		err = fmt.Errorf("%s is neither a file nor a disk", path)
	}
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, flags, 0)
	if err != nil {
		return nil, err
	}
	unlock, err := filelock.Lock(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	e := &Edit{may: may}
	if err := e.open(f, path); err != nil {
		unlock()
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	e.close = func() error {
		unlock()
		return f.Close()
	}
	return e, nil
}

// fileFree refuses an image that the system uses as a disk.
func fileFree(path string) error {
	loops, err := mounted.Loops(path)
	if err != nil {
		return err
	}
	if len(loops) > 0 {
		return ui.Hint(fmt.Errorf("%s is the disk of %s", path, strings.Join(loops, ", ")), "unmount it, and detach it: losetup -d %s", loops[0])
	}
	return nil
}

func deviceFree(path string) error {
	users, err := mounted.Users(path)
	if err != nil {
		return fmt.Errorf("%s: whether it is in use is not known: %w", path, err)
	}
	if len(users) > 0 {
		return ui.Hint(fmt.Errorf("%s is in use: %s", path, strings.Join(users, ", ")), "unmount it first; the disk of the running system cannot be changed")
	}
	return nil
}

func (e *Edit) open(f *os.File, path string) error {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	e.Disk = Disk{Path: path, Format: "raw", SectorSize: sectorSize(f), r: f, size: size, parents: func() error { return nil }}
	e.w = f
	c, err := startChain(path)
	if err != nil {
		return err
	}
	e.chain = c
	switch formOf(f, size, path) {
	case formVHD:
		v, err := vhd.OpenDisk(f, size, c.vhdOptions())
		if err != nil {
			return err
		}
		e.setVHD(v, v.Info())
		e.w, e.parents = v, v.Close
		err = e.childless(func(child *os.File, size int64) bool {
			r, err := vhd.NewReader(child, size)
			return err == nil && r.Type() == vhd.Differencing && r.Info().Parent.ID == v.Info().ID
		})
		if err != nil {
			return errors.Join(err, v.Close())
		}
	case formVHDX:
		v, err := vhdx.OpenDisk(f, size, (*vhdx.DiskOptions)(c.vhdxOptions()))
		if err != nil {
			return err
		}
		e.setVHDX(v, v.Info())
		e.w, e.parents = v, v.Close
		id := v.Info().DataWriteGUID
		err = e.childless(func(child *os.File, size int64) bool {
			r, err := vhdx.NewReader(child, size, nil)
			if err != nil || r.Info().Parent == nil {
				return false
			}
			l := r.Info().Parent
			return l.Linkage == id || l.Linkage2 == id && id != guid.GUID{}
		})
		if err != nil {
			return errors.Join(err, v.Close())
		}
	case formQcow2:
		return ui.Hint(fmt.Errorf("writing qcow2: %w", errors.ErrUnsupported), "convert it first: husk disk convert %s disk.vhdx", path)
	}
	return nil
}

// maxSiblings is how many files of the folder are looked at.
const maxSiblings = 1000

// childless looks in the folder of the disk for one that is based on it: changing the disk would destroy that one.
func (e *Edit) childless(isChild func(f *os.File, size int64) bool) error {
	dir := filepath.Dir(e.Path)
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil // a folder that may not be read has the file all the same
	}
	for i, s := range list {
		if i >= maxSiblings {
			break
		}
		switch strings.ToLower(filepath.Ext(s.Name())) {
		case ".vhd", ".avhd", ".vhdx", ".avhdx":
		default:
			continue
		}
		path := filepath.Join(dir, s.Name())
		if e.may != nil && e.may(path) {
			continue
		}
		f, err := os.Open(path)
		if err != nil {
			continue
		}
		st, err := f.Stat()
		child := err == nil && st.Mode().IsRegular() && isChild(f, st.Size())
		f.Close()
		if child {
			return ui.Hint(fmt.Errorf("%s is based on it and would be destroyed", path), "change the differencing disk instead, or merge it first")
		}
	}
	return nil
}

func sameFile(a, b string) bool {
	s, err := os.Stat(a)
	if err != nil {
		return false
	}
	t, err := os.Stat(b)
	return err == nil && os.SameFile(s, t)
}

// WriteAt writes to the disk as io.WriterAt says.
func (e *Edit) WriteAt(p []byte, off int64) (int, error) { return e.w.WriteAt(p, off) }

// Sync makes sure that what was written is on the disk.
func (e *Edit) Sync() error { return e.w.Sync() }

// A Part is a range of an open disk: one partition. Offsets are its own.
type Part struct {
	*io.SectionReader
	w    *Edit
	base int64
}

// Part is a partition of the disk, for reading and writing.
func (e *Edit) Part(p *Partition) *Part {
	return &Part{io.NewSectionReader(e.r, p.Offset, p.Size), e, p.Offset}
}

// WriteAt writes into the partition as io.WriterAt says; it does not go past its end.
func (p *Part) WriteAt(b []byte, off int64) (int, error) {
	if off < 0 || off > p.Size() || int64(len(b)) > p.Size()-off {
		return 0, fmt.Errorf("write of %d bytes at %d, want it in the partition of %d", len(b), off, p.Size())
	}
	return p.w.WriteAt(b, p.base+off)
}

// Sync makes sure that what was written is on the disk.
func (p *Part) Sync() error { return p.w.Sync() }

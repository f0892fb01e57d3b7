package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/lima-vm/go-qcow2reader/image"
	"github.com/lima-vm/go-qcow2reader/image/qcow2"
	qcow2log "github.com/lima-vm/go-qcow2reader/log"
	"husk/internal/ondisk"
)

func init() { qcow2log.SetWarnFunc(nil) } // what matters is an error here

// qcow2Disk is a qcow2 image, read through a library that this bounds: it trusts sizes in headers.
type qcow2Disk struct {
	img     *qcow2.Qcow2
	size    int64
	backing image.Image // nil if there is none
}

func isQcow2(r io.ReaderAt) bool {
	var b [4]byte
	n, _ := r.ReadAt(b[:], 0)
	return n == 4 && string(b[:]) == qcow2.Magic
}

// openQcow2 opens an image and those that it is based on. It takes f over only if there is no error.
func openQcow2(f *os.File, size int64, c *chain) (*qcow2Disk, error) {
	total, err := checkQcow2(f, size)
	if err != nil {
		return nil, fmt.Errorf("qcow2: %w", err)
	}
	d := &qcow2Disk{size: total}
	img, err := qcow2.Open(f, func(ra io.ReaderAt, t image.Type) (image.Image, error) {
		b, err := openBacking(ra, t, c)
		if err != nil {
			return noImage{}, err // the library closes it
		}
		d.backing = b
		return b, nil
	})
	if err == nil {
		err = img.Readable()
	}
	if err != nil {
		for _, e := range []error{qcow2.ErrUnsupportedCompression, qcow2.ErrUnsupportedEncryption, qcow2.ErrUnsupportedFeature} {
			if errors.Is(err, e) {
				err = fmt.Errorf("%w: %w", err, errors.ErrUnsupported)
			}
		}
		return nil, errors.Join(fmt.Errorf("qcow2: %w", err), d.closeBacking())
	}
	d.img = img
	return d, nil
}

// checkQcow2 holds the header against the file, and returns the size of the disk. Source: QEMU docs/interop/qcow2.txt.
func checkQcow2(r io.ReaderAt, size int64) (int64, error) {
	b, err := ondisk.ReadAt(r, 0, 72, 72)
	if err != nil {
		return 0, err
	}
	be := binary.BigEndian
	version, bits, total, l1, l1At := be.Uint32(b[4:]), be.Uint32(b[20:]), be.Uint64(b[24:]), int64(be.Uint32(b[36:])), be.Uint64(b[40:])
	const maxL1 = 32 << 20 // bytes; QEMU has the same limit
	switch {
	case version != 2 && version != 3:
		return 0, fmt.Errorf("version %d, want 2 or 3: %w", version, errors.ErrUnsupported)
	case bits < 9 || bits > 21:
		return 0, fmt.Errorf("clusters of 2^%d bytes, want 2^9 to 2^21", bits)
	case total == 0 || total > 64<<40 || total%512 != 0:
		return 0, fmt.Errorf("disk size %d, want a multiple of 512 up to 64 TiB", total)
	case 8*l1 > maxL1 || l1At > uint64(size) || !ondisk.Range(int64(l1At), 8*l1, size):
		return 0, fmt.Errorf("L1 table of %d entries at %#x, want it in the file of %d bytes", l1, l1At, size)
	}
	entries := int64(1) << bits / 8
	if version == 3 {
		more, err := ondisk.ReadAt(r, 72, 8, 8)
		if err != nil {
			return 0, err
		}
		features := be.Uint64(more)
		if features&2 != 0 {
			return 0, errors.New("the image is marked as damaged: repair it with qemu-img check -r all")
		}
		if features&(1<<4) != 0 {
			entries /= 2
		}
	}
	if need := (int64(total) + entries<<bits - 1) / (entries << bits); l1 < need {
		return 0, fmt.Errorf("L1 table of %d entries, want %d for a disk of %d bytes", l1, need, total)
	}
	return int64(total), nil
}

// openBacking opens the file under an image. Its form has to be named: content must not decide it.
func openBacking(ra io.ReaderAt, t image.Type, c *chain) (image.Image, error) {
	f, ok := ra.(*os.File)
	if !ok {
		return nil, fmt.Errorf("a %T, want a file", ra)
	}
	b, err := backing(f, t, c)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", f.Name(), err), f.Close())
	}
	return b, nil
}

func backing(f *os.File, t image.Type, c *chain) (image.Image, error) {
	n, err := c.next(f.Name())
	if err != nil {
		return nil, err
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	switch t {
	case "raw":
		return &rawImage{f, size}, nil
	case qcow2.Type:
		q, err := openQcow2(f, size, n)
		if err != nil {
			return nil, err
		}
		return &backingQcow2{q}, nil
	}
	return nil, fmt.Errorf("backing file of the form %q, want raw or qcow2: %w", t, errors.ErrUnsupported)
}

// ReadAt reads from the disk as io.ReaderAt says.
func (d *qcow2Disk) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("qcow2: read at negative offset %d", off)
	}
	if off >= d.size {
		return 0, io.EOF
	}
	var atEnd error
	if int64(len(p)) > d.size-off {
		p, atEnd = p[:d.size-off], io.EOF
	}
	for done := 0; done < len(p); {
		n, err := d.img.ReadAt(p[done:], off+int64(done))
		if n == 0 {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return done, fmt.Errorf("qcow2: data at %#x of the disk: %w", off+int64(done), err)
		}
		done += n
	}
	return len(p), atEnd
}

// closeBacking closes what is under the image, not its own file.
func (d *qcow2Disk) closeBacking() error {
	if d.backing == nil {
		return nil
	}
	return d.backing.Close()
}

// backingQcow2 and rawImage are what the library reads from under an image.
type backingQcow2 struct{ *qcow2Disk }

// Close closes the file and what is under it.
func (b *backingQcow2) Close() error { return b.img.Close() }

func (b *backingQcow2) Size() int64    { return b.size }
func (*backingQcow2) Type() image.Type { return qcow2.Type }
func (*backingQcow2) Readable() error  { return nil }
func (*backingQcow2) Extent(int64, int64) (image.Extent, error) {
	return image.Extent{}, errors.ErrUnsupported
}

type rawImage struct {
	*os.File
	size int64
}

func (r *rawImage) Size() int64    { return r.size }
func (*rawImage) Type() image.Type { return "raw" }
func (*rawImage) Readable() error  { return nil }
func (*rawImage) Extent(int64, int64) (image.Extent, error) {
	return image.Extent{}, errors.ErrUnsupported
}

// noImage stands for a file that could not be opened.
type noImage struct{}

func (noImage) ReadAt([]byte, int64) (int, error) { return 0, errors.ErrUnsupported }
func (noImage) Close() error                      { return nil }
func (noImage) Size() int64                       { return 0 }
func (noImage) Type() image.Type                  { return "" }
func (noImage) Readable() error                   { return errors.ErrUnsupported }
func (noImage) Extent(int64, int64) (image.Extent, error) {
	return image.Extent{}, errors.ErrUnsupported
}

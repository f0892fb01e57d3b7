package registry

import (
	"errors"
	"fmt"
	"io"
	"os"

	"husk/internal/filelock"
	"husk/internal/ui"
	"husk/ntfs"
	"husk/vhd"
	"husk/winfile"
)

// journalMark is appended to the name of a disk for the journal of a change that is under way.
const journalMark = ".husk-journal"

// replaceInVolume gives the hive's file in its volume new content, all of it or none.
func (h *Hive) replaceInVolume(content []byte) (err error) {
	s := h.source
	f, err := os.OpenFile(s.Path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	unlock, err := filelock.Lock(f)
	if err != nil {
		return fmt.Errorf("%s: %w", s.Path, err)
	}
	defer unlock()
	disk, err := openDevice(f)
	if err != nil {
		return fmt.Errorf("%s: %w", s.Path, err)
	}
	e, err := ntfs.OpenEditor(section{disk, s.Part.Offset, s.Part.Size}, s.Part.Size, ntfs.FileJournal(s.Path+journalMark), nil)
	if err != nil {
		return fmt.Errorf("%s: %w", s.Path, err)
	}
	err = e.Replace(h.path, winfile.NewBlob(content))
	if err == nil {
		err = e.Close()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", s.Path, err)
	}
	return nil
}

// openDevice opens a disk image, VHD or device for changes.
func openDevice(f *os.File) (ntfs.Device, error) {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	var magic [8]byte
	if _, err := f.ReadAt(magic[:], 0); err != nil {
		return nil, err
	}
	if string(magic[:]) == "vhdxfile" {
		return nil, ui.Hint(fmt.Errorf("files in a VHDX: %w", errors.ErrUnsupported), "write a changed copy with --output and put it into the disk")
	}
	if vhd.IsVHD(f, size) {
		return vhd.OpenDisk(f, size, nil)
	}
	return f, nil
}

// section is a partition as a device of its own.
type section struct {
	ntfs.Device
	off, size int64
}

func (s section) ReadAt(p []byte, off int64) (int, error) {
	return io.NewSectionReader(s.Device, s.off, s.size).ReadAt(p, off)
}

func (s section) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off > s.size || int64(len(p)) > s.size-off {
		return 0, fmt.Errorf("write of %d bytes at %#x, past the end of the partition", len(p), off)
	}
	return s.Device.WriteAt(p, s.off+off)
}

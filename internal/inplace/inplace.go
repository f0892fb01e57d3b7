// Package inplace opens the NTFS volume of a disk for changes: the disk with what guards it, the partition, and the editor with its
// journal.
package inplace

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"husk/internal/disk"
	"husk/internal/ui"
	"husk/ntfs"
)

const journalMark = disk.JournalMark

// Volume is an NTFS volume that is open for changes. Nobody else can open it so while it is.
type Volume struct {
	Disk   *disk.Edit
	Part   *disk.Partition
	Editor *ntfs.Editor
}

// Open opens a partition of a disk; number 0 means the only one with NTFS. A change that was cut off is finished, or undone if it had not
// come far enough, first. Volumes in a state that a change would make worse are refused, with a hint of what to do: errors that [Refused]
// knows.
func Open(path string, number int) (_ *Volume, err error) {
	d, err := disk.OpenEdit(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Close())
		}
	}()
	var p *disk.Partition
	if number == 0 {
		p, err = d.NTFS()
	} else {
		p, err = d.Partition(number)
	}
	if err != nil {
		return nil, err
	}
	journal, err := journalOf(d, p)
	if err != nil {
		return nil, err
	}
	e, err := ntfs.OpenEditor(d.Part(p), p.Size, journal, nil)
	if err == nil {
		err = sound(d.Part(p), p.Size)
	}
	if err != nil {
		return nil, advise(fmt.Errorf("%s: %w", path, err), path, string(journal))
	}
	return &Volume{d, p, e}, nil
}

// ErrUnsound says that what the volume tells of its clusters contradicts itself: a change could write over files.
var ErrUnsound = errors.New("clusters of files are marked free, or belong to two files")

// sound checks what every change relies on. Other damage is no reason to refuse: a change may be there to mend it.
func sound(r io.ReaderAt, size int64) error {
	v, err := ntfs.NewReader(r, size)
	if err != nil {
		return err
	}
	checked, err := v.CheckWith(context.Background(), nil)
	if err != nil {
		return err
	}
	for _, code := range []ntfs.Code{"bitmap-free", "cross-link", "mft-bitmap-free"} {
		if checked.Counts[code] > 0 {
			return ErrUnsound
		}
	}
	return nil
}

// Close closes the disk. What was not committed is not done.
func (v *Volume) Close() error { return v.Disk.Close() }

// journalOf is the journal beside the file of a disk. A device has no folder that lasts: there it is the user's, named after the boot
// sector, which no other volume has.
func journalOf(d *disk.Edit, p *disk.Partition) (ntfs.FileJournal, error) {
	st, err := os.Stat(d.Path)
	if err != nil {
		return "", err
	}
	if st.Mode().IsRegular() {
		return ntfs.FileJournal(d.Path + journalMark), nil
	}
	boot := make([]byte, 512)
	if _, err := d.Part(p).ReadAt(boot, 0); err != nil {
		return "", fmt.Errorf("%s: %w", d.Path, err)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = os.TempDir()
	}
	dir = filepath.Join(dir, "husk")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	return ntfs.FileJournal(filepath.Join(dir, fmt.Sprintf("%x%s", sha256.Sum256(boot), journalMark))), nil
}

// Pending reports whether a change of a disk in a file was cut off, and waits to be finished.
func Pending(path string) bool {
	st, err := os.Stat(path + journalMark)
	return err == nil && st.Size() > 0
}

// Usable tells why a volume that is open for reading only is not to be changed, as far as that can be told.
func Usable(path string, v *ntfs.Volume) error {
	err := error(nil)
	switch asleep, readErr := v.Hibernated(); {
	case Pending(path):
		return ui.Hint(fmt.Errorf("%s: %w", path, ErrPending), "run the command without --dry-run: it finishes that change first")
	case v.Dirty:
		err = ntfs.ErrDirty
	case v.Log != ntfs.LogClean:
		err = ntfs.ErrLog
	case readErr != nil:
		err = readErr
	case asleep:
		err = ntfs.ErrHibernated
	default:
		return nil
	}
	return advise(fmt.Errorf("%s: %w", path, err), path, path+journalMark)
}

// ErrPending says that a change was cut off.
var ErrPending = errors.New("a change of the volume was cut off and is not finished yet")

// Refused reports whether an error says that the volume is in a state in which it is not to be changed.
func Refused(err error) bool {
	for _, e := range []error{ntfs.ErrDirty, ntfs.ErrLog, ntfs.ErrHibernated, ntfs.ErrJournal, ErrPending, ErrUnsound} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// advise adds what to do.
func advise(err error, path, journal string) error {
	switch {
	case errors.Is(err, ntfs.ErrDirty), errors.Is(err, ErrUnsound):
		return ui.Hint(err, "attach the disk to a Windows and run chkdsk /f on the volume, then run the command again; 'husk check %s' tells what is wrong", path)
	case errors.Is(err, ntfs.ErrLog):
		return ui.Hint(err, "start the Windows of the volume, or attach the disk to another one, and shut that down; then run the command again")
	case errors.Is(err, ntfs.ErrHibernated):
		return ui.Hint(err, "start the Windows of the volume and shut it down with 'shutdown /s /t 0', then run the command again")
	case errors.Is(err, ntfs.ErrJournal):
		return ui.Hint(err, "%s is of another volume, or the disk was changed since: finish that change on the disk it belongs to, or delete the file", journal)
	}
	return err
}

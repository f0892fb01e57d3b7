package registry

import (
	"errors"
	"fmt"

	"husk/internal/disk"
	"husk/internal/ui"
	"husk/ntfs"
	"husk/winfile"
)

// journalMark is appended to the name of a disk for the journal of a change that is under way.
const journalMark = ".husk-journal"

// replaceInVolume gives the hive's file in its volume new content, all of it or none.
func (h *Hive) replaceInVolume(content []byte) (err error) {
	path := h.source.Path
	if h.source.NTFS == nil {
		return ui.Hint(fmt.Errorf("%s: changing volumes that are not NTFS: %w", path, errors.ErrUnsupported), "write a changed copy with --output and put it into the volume")
	}
	d, err := disk.OpenEdit(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	p, err := d.Partition(h.source.Part.Number)
	if err != nil {
		return err
	}
	e, err := ntfs.OpenEditor(d.Part(p), p.Size, ntfs.FileJournal(path+journalMark), nil)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err = e.Replace(h.path, winfile.NewBlob(content)); err == nil {
		err = e.Close()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

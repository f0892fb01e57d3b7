package registry

import (
	"errors"
	"fmt"

	"husk/fat"
	"husk/internal/disk"
	"husk/internal/inplace"
	"husk/internal/ui"
	"husk/winfile"
)

// replaceInVolume gives the hive's file in its volume new content, all of it or none.
func (h *Hive) replaceInVolume(content []byte) error {
	path, number := h.source.Path, h.source.Part.Number
	replace := h.replaceInNTFS
	if h.source.Part.FAT {
		replace = h.replaceInFAT
	}
	return replace(path, number, content)
}

func (h *Hive) replaceInNTFS(path string, number int, content []byte) error {
	v, err := inplace.Open(path, number)
	if err != nil {
		return err
	}
	if err = v.Editor.Replace(h.path, winfile.NewBlob(content)); err == nil {
		err = v.Editor.Commit()
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return errors.Join(err, v.Close())
}

func (h *Hive) replaceInFAT(path string, number int, content []byte) error {
	d, err := disk.OpenEdit(path)
	if err != nil {
		return err
	}
	p, err := d.Partition(number)
	if err == nil {
		if err = fat.Replace(d.Part(p), p.Size, h.path, content, h.Now); err != nil {
			err = fmt.Errorf("%s: partition %d: %w", path, number, err)
		}
	}
	switch broken := (*fat.FormatError)(nil); {
	case errors.As(err, &broken):
		err = ui.Hint(err, "attach the disk to a Windows and run chkdsk /f on the volume, or run fsck.fat; then run the command again")
	case errors.Is(err, fat.ErrFull):
		err = ui.Hint(err, "delete what is not needed on the volume, or write a changed copy with --output")
	}
	return errors.Join(err, d.Close())
}

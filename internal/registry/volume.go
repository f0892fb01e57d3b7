package registry

import (
	"errors"
	"fmt"

	"husk/internal/inplace"
	"husk/internal/ui"
	"husk/winfile"
)

// replaceInVolume gives the hive's file in its volume new content, all of it or none.
func (h *Hive) replaceInVolume(content []byte) (err error) {
	path := h.source.Path
	if h.source.NTFS == nil {
		return ui.Hint(fmt.Errorf("%s: changing volumes that are not NTFS: %w", path, errors.ErrUnsupported), "write a changed copy with --output and put it into the volume")
	}
	v, err := inplace.Open(path, h.source.Part.Number)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.Close()) }()
	if err = v.Editor.Replace(h.path, winfile.NewBlob(content)); err == nil {
		err = v.Editor.Commit()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

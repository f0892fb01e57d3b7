package registry

import (
	"errors"
	"fmt"

	"husk/internal/inplace"
	"husk/winfile"
)

// replaceInVolume gives the hive's file in its volume new content, all of it or none.
func (h *Hive) replaceInVolume(content []byte) (err error) {
	path := h.source.Path
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

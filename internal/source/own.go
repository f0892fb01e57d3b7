package source

import (
	"context"
	"strings"

	"husk/guid"
	"husk/wim"
)

// onVolume opens the WIM at a recorded path of the volume itself, where systems that were converted in place have it. It is nil if there is
// none with the GUID.
func (s *Source) onVolume(ctx context.Context, recorded string, id guid.GUID) *wim.Reader {
	if s.NTFS == nil {
		return nil
	}
	t, err := s.NTFS.Paths(ctx, strings.Trim(strings.ReplaceAll(recorded, `\`, "/"), "/"))
	if err != nil {
		return nil
	}
	e := t.Lookup(recorded)
	if e == nil || e.Info.Data == nil || e.Info.Reparse != nil {
		return nil
	}
	at, err := s.NTFS.BlobReaderAt(e.Info.Data)
	if err != nil {
		return nil
	}
	r, err := wim.NewReader(at, e.Info.Data.Size)
	if err != nil || r.GUID() != id {
		return nil
	}
	return r
}

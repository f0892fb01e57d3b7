package convert

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"husk/internal/disk"
	"husk/internal/source"
	"husk/mbr"
	"husk/ntfs"
	"husk/vhd"
	"husk/wim"
	"husk/winfile"
	"husk/wof"
)

// compareInner holds a disk that starts by itself to the image: the VHD on it, every pointer through the WIMs on it, at the paths and with the
// GUIDs by which Windows will look for them.
func (r *run) compareInner(ctx context.Context) error {
	d, err := disk.Open(r.Target)
	if err != nil {
		return err
	}
	defer d.Close()
	for i := range d.Partitions {
		p := &d.Partitions[i]
		if !p.NTFS {
			continue
		}
		outer, err := ntfs.NewReader(d.Section(p), p.Size)
		if err != nil {
			return fmt.Errorf("%s: %w", r.Target, err)
		}
		t, err := outer.Tree(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", r.Target, err)
		}
		for path, e := range t.All() {
			if strings.HasSuffix(strings.ToLower(path), ".vhd") && e.Info.Data != nil {
				if err := r.compareVHD(ctx, outer, t, e); err != nil {
					return fmt.Errorf("%s: /%s: %w", r.Target, path, err)
				}
				return nil
			}
		}
	}
	return fmt.Errorf("%s: there is no VHD on it", r.Target)
}

// compareVHD compares the system in a VHD on a volume.
func (r *run) compareVHD(ctx context.Context, outer *ntfs.Volume, t *winfile.Tree, e *winfile.Entry) error {
	at, err := outer.BlobReaderAt(e.Info.Data)
	if err != nil {
		return err
	}
	v, err := vhd.NewReader(at, e.Info.Data.Size)
	if err != nil {
		return err
	}
	sector := make([]byte, mbr.Size)
	if _, err := v.ReadAt(sector, 0); err != nil {
		return err
	}
	table, err := mbr.Parse(sector)
	if err != nil {
		return err
	}
	start, size := int64(table.Parts[0].Start)*mbr.Size, int64(table.Parts[0].Sectors)*mbr.Size
	inner, err := ntfs.NewReader(io.NewSectionReader(v, start, size), size)
	if err != nil {
		return err
	}
	problems, err := inner.Check(ctx)
	if err != nil {
		return err
	}
	for _, p := range problems {
		if p.Severity > ntfs.SeverityNote {
			return errors.New(p.String())
		}
	}
	made, err := inner.Tree(ctx)
	if err != nil {
		return err
	}
	overlay, err := wof.ReadOverlay(made)
	if err != nil {
		return err
	}
	_, err = wof.Resolve(made, overlay, func(id uint64) (wof.BlobSource, error) {
		entry, ok := overlay.Entry(id)
		if !ok {
			return nil, wof.ErrNoEntry
		}
		w := t.Lookup(entry.Location.Path)
		if w == nil || w.Info.Data == nil {
			return nil, fmt.Errorf("no %s on the disk, which WimOverlay.dat names", entry.Location.Path)
		}
		at, err := outer.BlobReaderAt(w.Info.Data)
		if err != nil {
			return nil, err
		}
		wr, err := wim.NewReader(at, w.Info.Data.Size)
		if err != nil {
			return nil, err
		}
		if wr.GUID() != entry.GUID {
			return nil, fmt.Errorf("%s has GUID %s, want %s", entry.Location.Path, wr.GUID(), entry.GUID)
		}
		return blobsOf{wr}, nil
	})
	if err != nil {
		return err
	}
	image, err := source.Open(ctx, r.spec(), nil)
	if err != nil {
		return err
	}
	defer image.Close()
	return r.compareTrees(ctx, r.Target, made, image.Tree)
}

// blobsOf gives the blobs of a WIM to wof.
type blobsOf struct{ r *wim.Reader }

func (b blobsOf) Blob(h winfile.SHA1) (*winfile.Blob, bool) {
	blob := b.r.Blob(h)
	return blob, blob != nil
}

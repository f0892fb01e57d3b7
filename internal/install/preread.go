package install

import (
	"context"
	"crypto/sha1"
	"fmt"
	"hash"

	"husk/internal/ui"
	"husk/winfile"
)

// readSources reads all contents that the disk will have and holds them to their SHA-1s. A file that cannot be completed leaves the old one
// in its place; a device that is being overwritten has nothing to go back to.
func (b *builder) readSources(ctx context.Context) error {
	type content struct {
		path string
		sum  hash.Hash
	}
	list := make(map[*winfile.Blob]*content)
	var blobs []*winfile.Blob
	var total int64
	trees := []*System{b.boot}
	trees = append(trees, b.r.Systems...)
	for _, s := range trees {
		for path, e := range s.source.Tree.All() {
			blob := e.Info.Data
			if blob == nil || blob.Content == nil || blob.Size == 0 || list[blob] != nil {
				continue
			}
			list[blob] = &content{path, sha1.New()} //nolint:gosec // the format's sum
			blobs = append(blobs, blob)
			total += blob.Size
		}
	}
	p := b.o.UI.Start("read the image", total)
	defer p.Done()
	err := winfile.ReadBlobs(ctx, blobs, b.o.Threads, func(blob *winfile.Blob, _ int64, piece []byte) error {
		list[blob].sum.Write(piece) // the pieces of one blob come one at a time
		p.Add(int64(len(piece)))
		return nil
	})
	if err != nil {
		return ui.Hint(err, "%s was not touched; take the image from a copy that 'husk verify' finds whole", b.target)
	}
	for _, blob := range blobs {
		c := list[blob]
		var zero winfile.SHA1
		if blob.SHA1 == zero || winfile.SHA1(c.sum.Sum(nil)) == blob.SHA1 {
			continue
		}
		return ui.Hint(fmt.Errorf("%s: the content has another SHA-1 than the image says", c.path),
			"%s was not touched; take the image from a copy that 'husk verify' finds whole", b.target)
	}
	return nil
}

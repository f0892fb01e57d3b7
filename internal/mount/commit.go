package mount

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"husk/internal/atomicfile"
	"husk/internal/directio"
	"husk/internal/filelock"
	"husk/wim"
	"husk/winfile"
)

// CommitOptions tell what a commit makes of the changes of a mounted image.
type CommitOptions struct {
	Check    bool // write an integrity table
	Rebuild  bool // write the WIM anew, without what no image needs
	NewImage bool // leave the image as it was and add one without a name
	Force    bool // even while files are open for writing
}

// An Image is an image of a WIM that is open for changes: nobody else can change the WIM meanwhile.
type Image struct {
	Tree *winfile.Tree
	WIM  *wim.Reader

	name   string
	index  int
	file   *directio.File
	unlock func()
}

// OpenImage opens an image to be changed, by its number or name; "" means the only one.
func OpenImage(name, image string) (_ *Image, err error) {
	file, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	i := &Image{name: name, file: directio.New(file)}
	if i.name, err = filepath.Abs(name); err != nil { // a server goes elsewhere
		return nil, errors.Join(err, file.Close())
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("%s: %w", name, err), i.Close())
		}
	}()
	if i.unlock, err = filelock.Lock(file); err != nil {
		return nil, err
	}
	size, err := i.file.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	if i.WIM, err = wim.NewReader(i.file, size); err != nil {
		return nil, err
	}
	if _, parts := i.WIM.Part(); parts > 1 {
		return nil, errors.New("an image of a split WIM cannot be changed")
	}
	if i.WIM.ReadOnly() {
		return nil, errors.New("the WIM is marked read-only")
	}
	if image == "" && len(i.WIM.Images()) == 1 {
		image = "1"
	}
	img, err := i.WIM.Image(image)
	if err != nil {
		return nil, err
	}
	i.index = img.Index
	i.Tree, err = img.Tree()
	return i, err
}

// Index is the number of the image.
func (i *Image) Index() int { return i.index }

// Close lets the WIM go.
func (i *Image) Close() error {
	if i.unlock != nil {
		i.unlock()
	}
	return i.file.Close()
}

// Commit writes a changed tree to the WIM: a new version of the image behind what is there, which the last write makes valid.
func (i *Image) Commit(ctx context.Context, t *winfile.Tree, o *CommitOptions) error {
	for _, e := range t.All() {
		e.Info.Links = 0
	}
	for _, e := range t.All() {
		e.Info.Links++
	}
	size, err := i.file.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	w, err := wim.Append(i.file, size, &wim.WriterOptions{Integrity: o.Check})
	if err != nil {
		return err
	}
	if o.NewImage {
		err = w.AddImage(ctx, t, wim.ImageInfo{})
	} else {
		err = w.ReplaceImage(ctx, i.index, t)
	}
	if err != nil {
		return errors.Join(err, w.Abort())
	}
	if err := w.Close(); err != nil || !o.Rebuild {
		return err
	}
	return i.rebuild(ctx)
}

func (i *Image) rebuild(ctx context.Context) (err error) {
	r, err := wim.Open(i.name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	f, err := atomicfile.Create(i.name, true)
	if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := wim.Rebuild(ctx, f, r, &wim.WriterOptions{}); err != nil {
		return err
	}
	return f.Commit()
}

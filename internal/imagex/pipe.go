package imagex

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"

	"husk/internal/atomicfile"
	"husk/wim"
	"husk/winfile"
)

// fromPipe reads a pipable WIM from the standard input, into a temporary file: what is applied may need any part of it.
func (k *call) fromPipe() (*wim.Reader, error) {
	f, err := os.CreateTemp("", "husk-pipe-")
	if err != nil {
		return nil, coded(err, codeOpen)
	}
	k.closers = append(k.closers, closerFunc(func() error { return errors.Join(f.Close(), os.Remove(f.Name())) }))
	r, err := wim.Spool(k.env.Stdin, f)
	if err != nil {
		return nil, coded(fmt.Errorf("standard input: %w", err), codeNotPipable)
	}
	return r, nil
}

// asPipe says that a WIM will be one that Microsoft's programs do not know.
func (k *call) asPipe() {
	k.warn("Creating a pipable WIM, which will be incompatible\n          with Microsoft's software (WIMGAPI/ImageX/DISM).")
}

// writePipe writes a pipable WIM with these images to a file, or to the standard output if that is called "-".
func (k *call) writePipe(target string, images []wim.PipeImage, o *wim.WriterOptions) error {
	k.asPipe()
	var total int64
	for _, i := range images {
		if i.Tree != nil {
			total += i.Tree.Totals().Bytes
		} else {
			total += i.Image.Info().TotalBytes - i.Image.Info().HardLinkBytes
		}
	}
	k.using(o.Codec, o.Workers)
	k.progressOf(o, "Archiving file data", total)
	write := func(w io.Writer) error {
		_, err := wim.WritePipe(k.ctx, w, images, o)
		k.ended(o, err == nil)
		return coded(err, codeWrite)
	}
	if target == "-" {
		return write(k.env.Stdout)
	}
	f, err := atomicfile.Create(target, true)
	if err != nil {
		return coded(err, codeOpen)
	}
	defer f.Abort()
	if err := write(&atEnd{w: f}); err != nil {
		return err
	}
	return coded(f.Commit(), codeWrite)
}

// atEnd writes to a file front to back.
type atEnd struct {
	w   io.WriterAt
	off int64
}

func (a *atEnd) Write(p []byte) (int, error) {
	n, err := a.w.WriteAt(p, a.off)
	a.off += int64(n)
	return n, err
}

// imagesOf are the images of a WIM for a pipable one.
func imagesOf(r *wim.Reader) []wim.PipeImage {
	var list []wim.PipeImage
	for _, i := range r.Images() {
		list = append(list, wim.PipeImage{Image: i})
	}
	return list
}

// likeWIM is how a WIM is written anew with the codec and marks that it has.
func likeWIM(r *wim.Reader, threads int) *wim.WriterOptions {
	return &wim.WriterOptions{
		Codec: r.Codec(), ChunkSize: r.ChunkSize(), ReparseFix: r.ReparseFix(), BootIndex: r.BootIndex(), GUID: r.GUID(), Workers: threads,
	}
}

// capturePipable writes a pipable WIM of one new image.
func (k *call) capturePipable(t *winfile.Tree, info wim.ImageInfo, o *wim.WriterOptions, target string) error {
	if err := k.propertiesInto(&info); err != nil {
		return err
	}
	return k.writePipe(target, []wim.PipeImage{{Tree: t, Info: info}}, o)
}

// propertiesInto sets what --image-property asks for in an image that is not written yet.
func (k *call) propertiesInto(info *wim.ImageInfo) error {
	list, err := k.properties()
	if err != nil {
		return err
	}
	info.Properties = maps.Clone(info.Properties)
	for _, p := range list {
		switch p[0] {
		case "NAME":
			info.Name = p[1]
		case "DESCRIPTION":
			info.Description = p[1]
		case "FLAGS":
			info.Flags = p[1]
		case "DISPLAYNAME":
			info.DisplayName = p[1]
		case "DISPLAYDESCRIPTION":
			info.DisplayDescription = p[1]
		default:
			if info.Properties == nil {
				info.Properties = make(map[string]string)
			}
			info.Properties[p[0]] = p[1]
		}
	}
	return nil
}

// exportPipable exports images to a pipable WIM: a new one, or one that is written anew with them.
func (k *call) exportPipable(src *wim.Reader, list []*wim.Image, f *writing, to string, threads int) error {
	var images []wim.PipeImage
	var o *wim.WriterOptions
	if to != "-" && !isMissing(to) {
		old, err := k.openOne(to)
		if err != nil {
			return err
		}
		images, o = imagesOf(old), likeWIM(old, threads)
	} else {
		var err error
		if o, err = k.exportFormat(src, f); err != nil {
			return err
		}
		o.Workers, o.Integrity = threads, false
	}
	for _, i := range list {
		images = append(images, wim.PipeImage{Image: i, Export: k.exportOptions(src, i, len(list))})
	}
	return k.writePipe(to, images, o)
}

// rewrite writes a WIM anew as a pipable one, with these images.
func (k *call) rewrite(name string, r *wim.Reader, images []wim.PipeImage, threads int) error {
	o := likeWIM(r, threads)
	if o.BootIndex > len(images) {
		o.BootIndex = 0
	}
	return k.writePipe(name, images, o)
}

package imagex

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"husk/internal/atomicfile"
	"husk/wim"
	"husk/winfile"
)

// setProperty sets an element of an image's XML data and says so.
func (k *call) setProperty(w *wim.Writer, n int, name, value string) error {
	if w.Property(n, name) == value && value != "" {
		k.say("The %s property of image %d already has value %q.\n", name, n, value)
		return nil
	}
	k.say("Setting the %s property of image %d to %q.\n", name, n, value)
	return coded(w.SetProperty(n, name, value), codeParam)
}

// rebuilt writes a WIM anew if the options ask for that.
func (k *call) rebuilt(name string, threads int) error {
	if !k.has("rebuild") && !k.has("unsafe-compact") {
		return nil
	}
	return k.rebuild(name, &wim.WriterOptions{Workers: threads})
}

// rebuild writes a WIM anew, without what no image needs, and puts it in the place of the old one when it is complete.
func (k *call) rebuild(name string, o *wim.WriterOptions) (err error) {
	r, err := wim.Open(name)
	if err != nil {
		return coded(fmt.Errorf("%s: %w", name, err), codeOpen)
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	f, err := atomicfile.Create(name, true)
	if err != nil {
		return coded(err, codeOpen)
	}
	defer f.Abort()
	if o.Codec == wim.Auto && r.Version() == solidVersion && !o.Solid && hasSolid(r) {
		o.Solid = true // as it was
	}
	if o.Codec == wim.Auto {
		k.using(r.Codec(), o.Workers)
	} else {
		k.using(o.Codec, o.Workers)
	}
	var total int64
	for _, b := range r.Blobs() {
		total += b.Size
	}
	k.progressOf(o, "Archiving file data", total)
	_, err = wim.Rebuild(k.ctx, f, r, o)
	k.ended(o, err == nil)
	if err != nil {
		return coded(fmt.Errorf("%s: %w", name, err), codeWrite)
	}
	return coded(f.Commit(), codeWrite)
}

// integrity sets what --check, --include-integrity and --nocheck ask of the integrity table.
func (k *call) integrity(o *wim.WriterOptions) *wim.WriterOptions {
	o.Integrity = k.has("check") || k.has("include-integrity")
	o.NoIntegrity = k.has("nocheck") && !o.Integrity
	return o
}

// runDelete is delete.
func runDelete(k *call) error {
	name := k.args[0]
	if len(k.args) < 2 {
		return usage("Must specify an image")
	}
	f, r, size, err := k.editable(name)
	if err != nil {
		return err
	}
	list, err := k.images(r, name, k.args[1], true, true)
	if err != nil {
		return err
	}
	if r.Pipable() {
		rest := slices.DeleteFunc(imagesOf(r), func(p wim.PipeImage) bool { return slices.Contains(list, p.Image) })
		o := likeWIM(r, 0)
		o.BootIndex = slices.IndexFunc(rest, func(p wim.PipeImage) bool { return p.Image.Index == r.BootIndex() }) + 1
		return k.writePipe(name, rest, o)
	}
	w, err := wim.Append(f, size, k.integrity(&wim.WriterOptions{}))
	if err != nil {
		return coded(fmt.Errorf("%s: %w", name, err), codeParam)
	}
	for n := len(list) - 1; n >= 0 && err == nil; n-- {
		err = w.DeleteImage(list[n].Index)
	}
	if err != nil {
		return errors.Join(coded(err, codeWrite), w.Abort())
	}
	if err := w.Close(); err != nil {
		return coded(err, codeWrite)
	}
	if k.has("soft") {
		return nil
	}
	return k.rebuild(name, &wim.WriterOptions{})
}

// runExport is export.
func runExport(k *call) error {
	from, word, to := k.args[0], k.args[1], k.args[2]
	fmtOpts, err := k.writing()
	if err != nil {
		return err
	}
	threads, err := k.threads()
	if err != nil {
		return err
	}
	src, err := k.open(from)
	if err != nil {
		return err
	}
	list, err := k.images(src, from, word, true, true)
	if err != nil {
		return err
	}
	if len(k.args) > 3 && len(list) > 1 {
		return fail(codeParam, "Cannot specify a destination name (%q) when exporting several images", k.args[3])
	}
	pipe := to == "-" || k.has("pipable")
	if !pipe && !isMissing(to) {
		if pipe, err = k.staysPipable(to); err != nil {
			return err
		}
	}
	if pipe {
		if to == "-" {
			k.out = k.informing()
		}
		return k.exportPipable(src, list, &fmtOpts, to, threads)
	}
	if isMissing(to) {
		return k.exportNew(src, list, &fmtOpts, to, threads)
	}
	f, r, size, err := k.editable(to)
	if err != nil {
		return err
	}
	if c := fmtOpts.codec; c != wim.Auto && c != r.Codec() {
		return fail(codeParam, "%s has %s compression, which --compress cannot change; '%s optimize' can", to, codecName(r.Codec()), programName)
	}
	used := namesOf(r)
	for _, i := range list {
		name := i.Name()
		if len(k.args) > 3 {
			name = k.args[3]
		}
		for _, u := range used {
			if name != "" && u == name {
				return fail(codeCollision, "There is already an image named %q in the destination WIM", name)
			}
		}
	}
	o := k.integrity(&wim.WriterOptions{Workers: threads, Recompress: k.has("recompress"), CheckCopies: k.has("check")})
	w, err := wim.Append(f, size, o)
	if err != nil {
		return coded(fmt.Errorf("%s: %w", to, err), codeParam)
	}
	if err := k.exportInto(w, src, list); err != nil {
		return err
	}
	return k.rebuilt(to, threads)
}

// exportInto adds images to a WIM and finishes it.
func (k *call) exportInto(w *wim.Writer, src *wim.Reader, list []*wim.Image) error {
	for _, i := range list {
		if err := w.ExportImage(k.ctx, i, k.exportOptions(src, i, len(list))); err != nil {
			return errors.Join(coded(err, codeRead), w.Abort())
		}
	}
	return coded(w.Close(), codeWrite)
}

// exportOptions are what becomes different of one of n images that are exported.
func (k *call) exportOptions(src *wim.Reader, i *wim.Image, n int) *wim.ExportOptions {
	o := &wim.ExportOptions{Boot: k.has("boot") && (n == 1 || src.BootIndex() == i.Index)}
	if len(k.args) > 3 {
		o.Name = &k.args[3]
	}
	if len(k.args) > 4 {
		o.Description = &k.args[4]
	}
	if k.has("wimboot") {
		o.Properties = append(o.Properties, [2]string{"WIMBOOT", "1"})
	}
	return o
}

// exportNew makes a new WIM of images.
func (k *call) exportNew(src *wim.Reader, list []*wim.Image, f *writing, to string, threads int) error {
	o, err := k.exportFormat(src, f)
	if err != nil {
		return err
	}
	o.Workers = threads
	file, err := atomicfile.Create(to, false)
	if err != nil {
		return coded(err, codeOpen)
	}
	defer file.Abort()
	k.using(o.Codec, threads)
	var total int64
	for _, i := range list {
		total += i.Info().TotalBytes - i.Info().HardLinkBytes
	}
	k.progressOf(o, "Archiving file data", total)
	w, err := wim.Create(file, o)
	if err == nil {
		err = k.exportInto(w, src, list)
	}
	k.ended(o, err == nil)
	if err != nil {
		return coded(err, codeWrite)
	}
	return coded(file.Commit(), codeWrite)
}

// exportFormat is how a new WIM that images of src are exported to is written: as src is, unless the options say otherwise.
func (k *call) exportFormat(src *wim.Reader, f *writing) (*wim.WriterOptions, error) {
	o := k.integrity(&wim.WriterOptions{
		Codec: f.codec, ChunkSize: f.chunk, Level: levelOf(f.level), ReparseFix: src.ReparseFix(), Recompress: k.has("recompress"), CheckCopies: k.has("check"),
	})
	switch {
	case o.Codec != wim.Auto:
	case k.has("wimboot"):
		o.Codec = wim.XPRESS
	case src.Codec() == wim.Auto:
		o.Codec = wim.LZX
	default:
		o.Codec = src.Codec()
	}
	if o.ChunkSize == 0 && k.has("wimboot") && o.Codec == wim.XPRESS {
		o.ChunkSize = 4096
	}
	if o.ChunkSize == 0 && o.Codec == src.Codec() {
		o.ChunkSize = src.ChunkSize()
	}
	if err := checkChunk(o.Codec, o.ChunkSize); err != nil {
		return nil, err
	}
	if f.codec == wim.Auto && src.Version() == solidVersion && hasSolid(src) {
		f.solid = true // as the source is
	}
	return o, setSolid(o, f)
}

// hasSolid reports whether a WIM has solid resources.
func hasSolid(r *wim.Reader) bool {
	return slices.ContainsFunc(r.Blobs(), func(b *winfile.Blob) bool {
		i, _ := r.Lookup(b.SHA1)
		return i.Solid
	})
}

// solidVersion is the version of WIMs that may have solid resources.
const solidVersion = 0xe00

// runOptimize is optimize.
func runOptimize(k *call) error {
	name := k.args[0]
	f, err := k.writing()
	if err != nil {
		return err
	}
	threads, err := k.threads()
	if err != nil {
		return err
	}
	r, err := k.openOne(name)
	if err != nil {
		return err
	}
	if _, parts := r.Part(); parts > 1 {
		return fail(codeSplit, "%q is a part of a split WIM; export it instead", name)
	}
	before, err := os.Stat(name)
	if err != nil {
		return coded(err, codeOpen)
	}
	div, unitName := kib(before.Size())
	k.say("%q original size: %d %s\n", name, before.Size()/div, unitName)
	o := k.integrity(&wim.WriterOptions{
		Codec: f.codec, ChunkSize: f.chunk, Level: levelOf(f.level), Workers: threads, Recompress: k.has("recompress") || k.has("compress"),
		CheckCopies: k.has("check"),
	})
	codec := o.Codec
	if codec == wim.Auto {
		codec = r.Codec()
	}
	if err := checkChunk(codec, o.ChunkSize); err != nil {
		return err
	}
	if err := setSolid(o, &f); err != nil {
		return err
	}
	if k.has("pipable") || r.Pipable() && !k.has("not-pipable") {
		if o.Codec == wim.Auto {
			o.Codec = r.Codec()
		}
		if o.ChunkSize == 0 && o.Codec == r.Codec() {
			o.ChunkSize = r.ChunkSize()
		}
		o.GUID, o.ReparseFix, o.BootIndex, o.Integrity = r.GUID(), r.ReparseFix(), r.BootIndex(), false
		err = k.writePipe(name, imagesOf(r), o)
	} else {
		err = k.rebuild(name, o)
	}
	if err != nil {
		return err
	}
	after, err := os.Stat(name)
	if err != nil {
		return coded(err, codeOpen)
	}
	k.say("%q optimized size: %d %s\n", name, after.Size()/div, unitName)
	k.say("Space saved: %d %s\n", (before.Size()-after.Size())/div, unitName)
	return nil
}

// kib is the unit that optimize counts in: KiB and above.
func kib(n int64) (int64, string) {
	if div, name := unit(n); div > 1 {
		return div, name
	}
	return 1 << 10, "KiB"
}

// staysPipable reports whether a WIM that exists is a pipable one and is to stay so. With --not-pipable it is written anew first.
func (k *call) staysPipable(name string) (bool, error) {
	r, err := wim.Open(name)
	if err != nil {
		return false, coded(fmt.Errorf("%s: %w", name, err), codeOpen)
	}
	pipable := r.Pipable()
	if err := r.Close(); err != nil || !pipable || !k.has("not-pipable") {
		return pipable, err
	}
	return false, k.rebuild(name, &wim.WriterOptions{})
}

// informing is where information goes while the standard output has a WIM.
func (k *call) informing() io.Writer {
	if k.has("quiet") {
		return io.Discard
	}
	return k.env.Stderr
}

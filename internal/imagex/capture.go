package imagex

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"husk/internal/atomicfile"
	"husk/internal/directio"
	"husk/internal/filelock"
	"husk/internal/winsys"
	"husk/wim"
	"husk/winfile"
)

// runCapture is capture and append.
func runCapture(k *call) error {
	src, target := k.args[0], k.args[1]
	appending := k.command.Name == "append"
	if appending && k.has("create") && isMissing(target) {
		appending = false
	}
	w, err := k.writing()
	if err != nil {
		return err
	}
	threads, err := k.threads()
	if err != nil {
		return err
	}
	if _, err := k.properties(); err != nil {
		return err
	}
	if target == "-" {
		k.out = k.informing()
	}
	if appending {
		return k.appendImage(src, target, threads)
	}
	o, err := k.newFormat(&w)
	if err != nil {
		return err
	}
	o.Workers = threads
	known, err := k.bases(o, nil)
	if err != nil {
		return err
	}
	s := k.captureScanning(!k.has("norpfix"))
	info, t, err := k.image1(src, target, s, nil)
	if err != nil {
		return err
	}
	if err := k.update(t, known); err != nil {
		return err
	}
	o.ReparseFix = !k.has("norpfix")
	if k.has("boot") {
		o.BootIndex = 1
	}
	if target == "-" || k.has("pipable") {
		return k.capturePipable(t, info, o, target)
	}
	f, err := atomicfile.Create(target, true)
	if err != nil {
		return coded(err, codeOpen)
	}
	defer f.Abort()
	k.using(o.Codec, threads)
	k.progressOf(o, "Archiving file data", t.Totals().Bytes)
	if err := k.write(f, o, t, info); err != nil {
		return err
	}
	return coded(f.Commit(), codeWrite)
}

// properties are what --image-property asks for.
func (k *call) properties() (list [][2]string, err error) {
	for _, p := range k.values["image-property"] {
		name, value, ok := strings.Cut(p, "=")
		if !ok || name == "" {
			return nil, badArgument("'--image-property' argument must be in the form NAME=VALUE")
		}
		list = append(list, [2]string{name, value})
	}
	return list, nil
}

// write makes a new WIM of one image.
func (k *call) write(f wim.WriteTarget, o *wim.WriterOptions, t *winfile.Tree, info wim.ImageInfo) error {
	wr, err := wim.Create(f, o)
	if err != nil {
		return coded(err, codeParam)
	}
	return k.add(wr, o, t, info)
}

// add writes an image and the end of the WIM.
func (k *call) add(wr *wim.Writer, o *wim.WriterOptions, t *winfile.Tree, info wim.ImageInfo) error {
	if err := wr.AddImage(k.ctx, t, info); err != nil {
		k.ended(o, false)
		return errors.Join(coded(err, codeRead), wr.Abort())
	}
	k.ended(o, true)
	properties, err := k.properties()
	for _, p := range properties {
		if err == nil {
			err = k.setProperty(wr, wr.ImageCount(), p[0], p[1])
		}
	}
	if err != nil {
		return errors.Join(coded(err, codeParam), wr.Abort())
	}
	return coded(wr.Close(), codeWrite)
}

// progressOf lets a writer draw progress of total bytes.
func (k *call) progressOf(o *wim.WriterOptions, verb string, total int64) {
	p := newProgress(k.out, verb, total)
	o.Progress = p.to
	k.bar = p
}

// ended finishes the line of the progress.
func (k *call) ended(_ *wim.WriterOptions, ok bool) {
	if k.bar != nil {
		k.bar.finish(ok)
		k.bar = nil
	}
}

// newFormat is how a new WIM is written.
func (k *call) newFormat(w *writing) (*wim.WriterOptions, error) {
	o := &wim.WriterOptions{Codec: w.codec, ChunkSize: w.chunk, Level: levelOf(w.level), Integrity: k.has("check") || k.has("include-integrity")}
	if o.Codec == wim.Auto {
		switch {
		case k.has("wimboot"):
			o.Codec = wim.XPRESS
		case w.solid: // what of it is not solid, as wimlib has it
			o.Codec = wim.LZMS
		default:
			o.Codec = wim.LZX
		}
	}
	if o.ChunkSize == 0 && k.has("wimboot") && o.Codec == wim.XPRESS {
		o.ChunkSize = 4096
	}
	if err := checkChunk(o.Codec, o.ChunkSize); err != nil {
		return nil, err
	}
	return o, setSolid(o, w)
}

func (k *call) captureScanning(rpfix bool) *scanning {
	return &scanning{
		dereference: k.has("dereference"), unix: k.has("unix-data"), noACLs: k.has("no-acls"), strictACLs: k.has("strict-acls"),
		rpfix: rpfix && !k.has("dereference"),
	}
}

// image1 scans the source and says what its image is called. used are the names that images of the WIM have.
func (k *call) image1(src, target string, s *scanning, used []string) (wim.ImageInfo, *winfile.Tree, error) {
	info := wim.ImageInfo{Flags: k.value("flags"), WIMBoot: k.has("wimboot"), Description: k.arg(3)}
	if len(k.args) > 2 {
		info.Name = k.args[2]
	} else {
		info.Name = freeName(baseName(src), used)
	}
	if info.Name != "" && slices.Contains(used, info.Name) {
		return info, nil, fail(codeCollision, "There is already an image named %q in the WIM!", info.Name)
	}
	config := k.value("config")
	if own := filepath.Join(src, filepath.FromSlash(iniPath)); config == "" && k.has("wimboot") && !isMissing(own) {
		config = own
	}
	conf, text, err := k.config(config)
	if err != nil {
		return info, nil, err
	}
	s.conf = conf
	if target != "-" {
		s.own = target
	}
	t, err := k.scanSource(src, s)
	if err != nil {
		return info, nil, err
	}
	if k.has("wimboot") && k.value("config") != "" {
		if err := insert(t.Root, iniPath, newFile(text), false); err != nil {
			return info, nil, err
		}
	}
	if err := winsys.Describe(&info, t); err != nil {
		k.warn("%s: the image does not tell all of its Windows: %v", src, err)
	}
	if info.Description != "" && len(k.args) > 3 {
		k.say("Setting the DESCRIPTION property of image %d to %q.\n", len(used)+1, info.Description)
	}
	return info, t, nil
}

// scanSource makes the tree of a folder, a volume or a source list.
func (k *call) scanSource(src string, s *scanning) (*winfile.Tree, error) {
	var root *winfile.Entry
	var err error
	if k.has("source-list") {
		root, err = k.scanList(src, s)
	} else if ok, derr := isDevice(src); derr == nil && ok {
		root, err = k.scanVolume(src, s)
	} else {
		k.say("Scanning %q\n", src)
		root, err = k.scanTree(src, "/", s)
	}
	if err != nil {
		return nil, err
	}
	root.Name, root.ShortName = "", ""
	if !root.Info.IsDir() {
		return nil, fail(codeNotDir, "%q is not a directory", src)
	}
	t := &winfile.Tree{Root: root}
	recount(t)
	n := t.Totals()
	bytes, name := unit(n.Bytes)
	k.say("\r%d %s scanned (%d files, %d directories)    \n", n.Bytes/bytes, name, n.Names, n.Dirs)
	return t, nil
}

// scanList makes a tree of what a source list has.
func (k *call) scanList(name string, s *scanning) (*winfile.Entry, error) {
	text, err := k.readText(name)
	if err != nil {
		return nil, err
	}
	root := newDirectory("")
	for n, line := range strings.Split(text, "\n") {
		words, err := splitWords(line)
		if err != nil {
			return nil, badArgument("%s:%d: %v", name, n+1, err)
		}
		if len(words) == 0 {
			continue
		}
		if len(words) > 2 {
			return nil, badArgument("%s:%d: %d paths, want a source and a target", name, n+1, len(words))
		}
		from, to := words[0], words[len(words)-1]
		k.say("Scanning %q (loading as WIM path: %q)...\n", from, cleanPath(to))
		one := *s
		one.rpfix = s.rpfix && cleanPath(to) == "/"
		e, err := k.scanTree(from, cleanPath(to), &one)
		if err == nil {
			err = insert(root, to, e, false)
		}
		if err != nil {
			return nil, err
		}
	}
	return root, nil
}

// splitWords parts a line at blanks outside quotes; a line that begins with # has none.
func splitWords(line string) (words []string, err error) {
	line = strings.TrimSpace(line)
	for line != "" && line[0] != '#' {
		if q := line[0]; q == '"' || q == '\'' {
			end := strings.IndexByte(line[1:], q)
			if end < 0 {
				return nil, fmt.Errorf("missing closing quote: %s", line)
			}
			words, line = append(words, line[1:1+end]), line[end+2:]
		} else {
			end := strings.IndexAny(line, " \t\v\f\r")
			if end < 0 {
				end = len(line)
			}
			words, line = append(words, line[:end]), line[end:]
		}
		if line = strings.TrimLeft(line, " \t\v\f\r"); line != "" && line[0] == '#' {
			words = append(words, line) // only a whole line is a comment
			line = ""
		}
	}
	return words, nil
}

// maxText bounds lists and commands in files.
const maxText = 64 << 20

// readText reads a text file, UTF-8 or UTF-16, or the standard input if it is called "-".
func (k *call) readText(name string) (string, error) {
	var b []byte
	var err error
	if name == "-" {
		b, err = io.ReadAll(io.LimitReader(k.env.Stdin, maxText))
	} else {
		var f *os.File
		if f, err = os.Open(name); err == nil {
			b, err = io.ReadAll(io.LimitReader(f, maxText))
			err = errors.Join(err, f.Close())
		}
	}
	if err != nil {
		return "", coded(fmt.Errorf("can't open %q: %w", name, err), codeOpen)
	}
	if rest, ok := bytes.CutPrefix(b, []byte("\xff\xfe")); ok {
		return winfile.NameFromUTF16LE(rest), nil
	}
	return strings.TrimPrefix(string(b), "\ufeff"), nil
}

// baseName is what an image is called by default.
func baseName(src string) string {
	if abs, err := filepath.Abs(src); err == nil && (src == "." || strings.HasSuffix(src, "..")) {
		src = abs
	}
	return filepath.Base(src)
}

// freeName adds a number to a name that is used already.
func freeName(name string, used []string) string {
	free := name
	for n := 1; slices.Contains(used, free); n++ {
		free = name + " (" + strconv.Itoa(n) + ")"
	}
	return free
}

func newDirectory(name string) *winfile.Entry {
	now := winfile.FiletimeOf(time.Now())
	return &winfile.Entry{Name: name, Info: &winfile.Info{Attributes: winfile.AttrDirectory, Created: now, Written: now, Accessed: now, Links: 1}}
}

func newFile(content []byte) *winfile.Entry {
	now := winfile.FiletimeOf(time.Now())
	return &winfile.Entry{Info: &winfile.Info{
		Attributes: winfile.AttrNormal, Created: now, Written: now, Accessed: now, Links: 1, Data: winfile.NewBlob(content),
	}}
}

// editable opens a WIM for writing and keeps other writers out.
func (k *call) editable(name string) (f *directio.File, r *wim.Reader, size int64, err error) {
	file, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, nil, 0, coded(fmt.Errorf("can't open %q read-write: %w", name, err), codeOpen)
	}
	f = directio.New(file)
	k.closers = append(k.closers, f)
	unlock, err := filelock.Lock(file)
	if err != nil {
		return nil, nil, 0, coded(fmt.Errorf("%s: %w", name, err), codeLocked)
	}
	k.closers = append(k.closers, closerFunc(func() error { unlock(); return nil }))
	if size, err = f.Seek(0, io.SeekEnd); err == nil {
		r, err = wim.NewReader(f, size)
	}
	if err != nil {
		return nil, nil, 0, coded(fmt.Errorf("%s: %w", name, err), codeOpen)
	}
	if _, parts := r.Part(); parts > 1 {
		return nil, nil, 0, fail(codeReadOnly, "%q is a part of a split WIM and cannot be changed", name)
	}
	if r.ReadOnly() {
		return nil, nil, 0, fail(codeReadOnly, "%q is marked read-only", name)
	}
	return f, r, size, k.check(r, name)
}

type closerFunc func() error

func (c closerFunc) Close() error { return c() }

// appendImage adds an image to a WIM.
func (k *call) appendImage(src, target string, threads int) error {
	pipe, err := k.staysPipable(target)
	if err != nil {
		return err
	}
	f, r, size, err := k.editable(target)
	if err != nil {
		return err
	}
	o := &wim.WriterOptions{Workers: threads, Integrity: k.has("check") || k.has("include-integrity")}
	known, err := k.bases(o, r)
	if err != nil {
		return err
	}
	rpfix := k.has("rpfix") || r.ReparseFix() && !k.has("norpfix")
	info, t, err := k.image1(src, target, k.captureScanning(rpfix), namesOf(r))
	if err != nil {
		return err
	}
	if err := k.update(t, known); err != nil {
		return err
	}
	if k.has("boot") {
		o.BootIndex = len(r.Images()) + 1
	}
	if pipe || k.has("pipable") {
		if err := k.propertiesInto(&info); err != nil {
			return err
		}
		p := likeWIM(r, threads)
		p.Have = o.Have
		if o.BootIndex != 0 {
			p.BootIndex = o.BootIndex
		}
		return k.writePipe(target, append(imagesOf(r), wim.PipeImage{Tree: t, Info: info}), p)
	}
	k.using(r.Codec(), threads)
	k.progressOf(o, "Archiving file data", t.Totals().Bytes)
	wr, err := wim.Append(f, size, o)
	if err != nil {
		return coded(fmt.Errorf("%s: %w", target, err), codeParam)
	}
	if k.has("rpfix") {
		wr.SetReparseFix(true)
	}
	if err := k.add(wr, o, t, info); err != nil {
		return err
	}
	return k.rebuilt(target, threads)
}

func namesOf(r *wim.Reader) []string {
	var names []string
	for _, i := range r.Images() {
		names = append(names, i.Name())
	}
	return names
}

// bases opens what --delta-from names, whose data the new WIM leaves out, and returns the WIM that --update-of means, nil if none.
// own is the WIM that is appended to.
func (k *call) bases(o *wim.WriterOptions, own *wim.Reader) (update *wim.Image, err error) {
	var deltas []*wim.Reader
	for _, name := range k.values["delta-from"] {
		r, err := k.openOne(name)
		if err != nil {
			return nil, err
		}
		deltas = append(deltas, r)
	}
	if len(deltas) > 0 {
		o.Have = func(h winfile.SHA1) bool {
			return slices.ContainsFunc(deltas, func(r *wim.Reader) bool { return r.Has(h) })
		}
	}
	if !k.has("update-of") {
		return nil, nil
	}
	name, word, ok := strings.Cut(k.value("update-of"), ":")
	if i := strings.LastIndexByte(k.value("update-of"), ':'); i >= 0 {
		name, word = k.value("update-of")[:i], k.value("update-of")[i+1:]
	}
	var r *wim.Reader
	switch {
	case ok:
		if r, err = k.openOne(name); err != nil {
			return nil, err
		}
	case own != nil:
		word, r = name, own
	case len(deltas) == 1:
		word, r = name, deltas[0]
	default:
		return nil, badArgument("For capture, --update-of must be WIMFILE:IMAGE unless --delta-from names one WIM!")
	}
	if n, err := strconv.Atoi(word); err == nil && n < 0 {
		word = strconv.Itoa(len(r.Images()) + 1 + n)
	}
	n, err := k.image(r, name, word)
	if err != nil || n <= 0 {
		return nil, errors.Join(err, k.noImage(name, word))
	}
	return r.Images()[n-1], nil
}

// update gives files that are as in an older image its contents, so that they are not read.
func (k *call) update(t *winfile.Tree, old *wim.Image) error {
	if old == nil {
		return nil
	}
	before, err := old.Tree()
	if err != nil {
		return coded(err, codeMetadata)
	}
	wim.Reuse(t, before)
	return nil
}

// Package archive puts systems into WIMs: capture makes a new WIM, append adds an image to one that exists.
package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"husk/internal/atomicfile"
	"husk/internal/directio"
	"husk/internal/filelock"
	"husk/internal/source"
	"husk/internal/tree"
	"husk/internal/ui"
	"husk/internal/winsys"
	"husk/wim"
	"husk/winfile"
	"husk/wof"
)

// Options tunes Capture and Append.
type Options struct {
	Name               string // "" means the source's own
	Description, Flags string
	Properties         [][2]string // XML elements and their text
	Wimboot            bool        // XPRESS in 4 KiB chunks, and the image is marked for pointers
	Compress           string      // as --compress has it; "" means XPRESS
	ChunkSize          int         // bytes; 0 means 32 KiB, 128 KiB for LZMS, or 4 KiB with Wimboot
	Solid              bool        // put the contents into solid resources
	SolidCompress      string      // as --solid-compress has it; "" means LZMS
	SolidChunkSize     int         // bytes; 0 means 64 MiB, or the most that the codec has
	NoSolidSort        bool        // leave the contents of solid resources in the order of reading
	Check              bool        // write an integrity table
	Config             string      // capture configuration file; "" means the image's own, or the built-in list
	RPFix, NoRPFix     bool
	WIMs               []string       // where the data of a source's pointer files is
	Layers             []source.Layer // the same that are open already
	Dereference        bool           // read and hash the contents of pointer files instead of trusting the pointers
	Overwrite          bool           // Capture may replace a WIM
	DryRun             bool
	Threads            int
	UI                 *ui.UI
}

// Result tells what was captured.
type Result struct {
	Image       int // 1-based
	Name        string
	DryRun      bool
	Totals      winfile.Totals
	Excluded    int   // names left out by the configuration
	NewBlobs    int64 // contents stored now
	NewBytes    int64 // of them, plain
	StoredBytes int64 // of them, as stored
	KnownBlobs  int64 // found in the WIM or twice in the source
	KnownBytes  int64
	WIMBytes    int64 // the whole file
	Elapsed     time.Duration
}

// iniPath is where Windows keeps the configuration of its own image.
const iniPath = "Windows/System32/WimBootCompress.ini"

// Capture makes a new WIM with one image. A WIM that exists is an fs.ErrExist error unless Overwrite is set; it is replaced
// only when the new one is complete.
func Capture(ctx context.Context, src, target string, o *Options) (*Result, error) {
	start := time.Now()
	w, err := writerOptions(o)
	if err != nil {
		return nil, err
	}
	if err := atomicfile.Check(target, o.Overwrite || o.DryRun); err != nil {
		return nil, err
	}
	s, excluded, err := open(ctx, src, target, nil, o)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if s.Uses(target) {
		return nil, ui.Hint(ui.Usage(fmt.Errorf("%s is read from and would be replaced, with all its images", target)), "choose another name")
	}
	info, err := imageInfo(s, o)
	if err != nil {
		return nil, err
	}
	r := &Result{Image: 1, Name: info.Name, DryRun: o.DryRun, Totals: s.Tree.Totals(), Excluded: excluded}
	if o.DryRun {
		return r, nil
	}
	f, err := atomicfile.Create(target, o.Overwrite)
	if err != nil {
		return nil, err
	}
	defer f.Abort()
	p := o.UI.Start("capture", r.Totals.Bytes)
	w.Progress = func(done int64) { p.Set(done, r.Totals.Bytes) }
	wr, err := wim.Create(f, w)
	if err != nil {
		return nil, err
	}
	if err := add(ctx, wr, s.Tree, info); err != nil {
		p.Done()
		return nil, err
	}
	p.Done()
	if err := f.Commit(); err != nil {
		return nil, err
	}
	return r, r.finish(wr, s.Tree, target, start)
}

// Append adds an image to a WIM in place. Until its header is rewritten, as the last step, the WIM is what it was.
func Append(ctx context.Context, src, target string, o *Options) (_ *Result, err error) {
	start := time.Now()
	if o.Compress != "" || o.ChunkSize != 0 {
		return nil, errors.New("codec and chunk size are those of the WIM")
	}
	w := &wim.WriterOptions{Workers: o.Threads, Integrity: o.Check}
	if err := setSolid(w, o); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(target, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	f := directio.New(file)
	defer func() { err = errors.Join(err, f.Close()) }()
	unlock, err := filelock.Lock(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", target, err)
	}
	defer unlock()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	old, err := wim.NewReader(f, size)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", target, err)
	}
	s, excluded, err := open(ctx, src, target, old.Blob, o)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	info, err := imageInfo(s, o)
	if err != nil {
		return nil, err
	}
	for _, i := range old.Images() {
		if i.Name() == info.Name && info.Name != "" {
			return nil, ui.Hint(fmt.Errorf("%s: image %d is called %q already", target, i.Index, info.Name), "give another NAME")
		}
	}
	r := &Result{Image: len(old.Images()) + 1, Name: info.Name, DryRun: o.DryRun, Totals: s.Tree.Totals(), Excluded: excluded}
	if o.DryRun {
		return r, nil
	}
	p := o.UI.Start("append", r.Totals.Bytes)
	defer p.Done()
	w.Progress = func(done int64) { p.Set(done, r.Totals.Bytes) }
	wr, err := wim.Append(f, size, w)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", target, err)
	}
	if err := add(ctx, wr, s.Tree, info); err != nil {
		return nil, fmt.Errorf("%s: %w", target, err)
	}
	return r, r.finish(wr, s.Tree, target, start)
}

// imageInfo is what the XML will say of the image.
func imageInfo(s *source.Source, o *Options) (wim.ImageInfo, error) {
	info := wim.ImageInfo{Name: o.Name, Description: o.Description, Flags: o.Flags, WIMBoot: o.Wimboot}
	if info.Name == "" {
		info.Name = s.Name()
	}
	for _, p := range o.Properties {
		if err := setProperty(&info, p[0], p[1]); err != nil {
			return info, err
		}
	}
	if err := winsys.Describe(&info, s.Tree); err != nil {
		o.UI.Warn("%s: the image does not tell all of its Windows: %s", s.Path, err)
	}
	return info, nil
}

// add writes the image and completes the WIM; on failure the writer puts back what was there.
func add(ctx context.Context, w *wim.Writer, t *winfile.Tree, info wim.ImageInfo) error {
	if err := w.AddImage(ctx, t, info); err != nil {
		return errors.Join(err, w.Abort())
	}
	return w.Close()
}

// setProperty sets an element of the image's XML by the name it has there.
func setProperty(i *wim.ImageInfo, name, value string) error {
	text := map[string]*string{
		"NAME": &i.Name, "DESCRIPTION": &i.Description, "FLAGS": &i.Flags, "DISPLAYNAME": &i.DisplayName, "DISPLAYDESCRIPTION": &i.DisplayDescription,
	}[strings.ToUpper(name)]
	if text == nil {
		return ui.Usage(fmt.Errorf("--image-property=%s: want NAME, DESCRIPTION, FLAGS, DISPLAYNAME or DISPLAYDESCRIPTION", name))
	}
	*text = value
	return nil
}

func (r *Result) finish(w *wim.Writer, t *winfile.Tree, target string, start time.Time) error {
	st := w.Stats()
	r.NewBlobs, r.NewBytes, r.StoredBytes = st.NewBlobs, st.BytesNew, st.BytesStored
	r.KnownBlobs, r.KnownBytes = st.Duplicates, r.Totals.Bytes+reparseBytes(t)-st.BytesNew
	fi, err := os.Stat(target)
	if err != nil {
		return err
	}
	r.WIMBytes, r.Elapsed = fi.Size(), time.Since(start)
	return nil
}

// reparseBytes counts the data of reparse points, which a WIM stores like contents.
func reparseBytes(t *winfile.Tree) int64 {
	var n int64
	seen := make(map[*winfile.Info]struct{})
	for _, e := range t.All() {
		i := e.Info
		if _, ok := seen[i]; ok || i.Reparse == nil || i.Attributes&winfile.AttrEncrypted != 0 {
			continue
		}
		seen[i] = struct{}{}
		n += int64(len(i.Reparse.Data))
	}
	return n
}

// pathBelow is the slash path of a file below a folder, wherever links lead; "" if it is elsewhere. The file need not exist.
func pathBelow(dir, file string) string {
	d, err := realPath(dir)
	if err != nil {
		return ""
	}
	f, err := realPath(file)
	if err != nil {
		if f, err = realPath(filepath.Dir(file)); err != nil {
			return ""
		}
		f = filepath.Join(f, filepath.Base(file))
	}
	rel, err := filepath.Rel(d, f)
	if err != nil || !filepath.IsLocal(rel) || rel == "." {
		return ""
	}
	return filepath.ToSlash(rel)
}

func realPath(name string) (string, error) {
	abs, err := filepath.Abs(name)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(abs)
}

// parseCodec reads a codec and its level, as "LZX", "LZX:fast" or, as wimlib has levels, "LZX:50".
func parseCodec(option, text string) (codec wim.Codec, level wim.Level, err error) {
	name, l, given := strings.Cut(strings.ToLower(text), ":")
	switch name {
	case "xpress", "fast": // "fast", "maximum" and "recovery" are wimlib's other names
		codec = wim.XPRESS
	case "lzx", "maximum":
		codec = wim.LZX
	case "lzms", "recovery":
		codec = wim.LZMS
	case "none":
		codec = wim.None
	default:
		return 0, 0, ui.Usage(fmt.Errorf("--%s=%s: want none, XPRESS, LZX or LZMS", option, text))
	}
	n, numErr := strconv.Atoi(l)
	switch {
	case !given || l == "default" || numErr == nil && n >= 35 && n < 75:
	case l == "fast" || numErr == nil && n > 0 && n < 35:
		level = wim.Fast
	case l == "best" || numErr == nil && n >= 75:
		level = wim.Best
	default:
		return 0, 0, ui.Usage(fmt.Errorf("--%s=%s: level %q, want fast, default, best or a number such as 20, 50 or 100", option, text, l))
	}
	return codec, level, nil
}

// checkChunkSize refuses sizes that a codec cannot have. 0 is the default.
func checkChunkSize(option string, codec wim.Codec, n int) error {
	least, most := 4<<10, 64<<10
	switch codec {
	case wim.LZX:
		least, most = 32<<10, 2<<20
	case wim.LZMS:
		least, most = 32<<10, 1<<30
	}
	if n != 0 && (n < least || n > most || n&(n-1) != 0) {
		return ui.Usage(fmt.Errorf("--%s=%d: want a power of two from %d to %d", option, n, least, most))
	}
	return nil
}

// setSolid says how solid resources are written.
func setSolid(w *wim.WriterOptions, o *Options) (err error) {
	if !o.Solid {
		if o.SolidCompress != "" || o.SolidChunkSize != 0 || o.NoSolidSort {
			return ui.Usage(errors.New("--solid-compress, --solid-chunk-size and --no-solid-sort need --solid"))
		}
		return nil
	}
	if o.Wimboot {
		return ui.Usage(errors.New("--solid and --wimboot exclude each other: pointer files cannot point into solid resources"))
	}
	w.Solid, w.SolidUnsorted, w.SolidChunkSize, w.SolidCodec = true, o.NoSolidSort, o.SolidChunkSize, wim.LZMS
	if o.SolidCompress != "" {
		if w.SolidCodec, w.SolidLevel, err = parseCodec("solid-compress", o.SolidCompress); err != nil {
			return err
		}
	}
	return checkChunkSize("solid-chunk-size", w.SolidCodec, o.SolidChunkSize)
}

// writerOptions turns the user's words into a codec.
func writerOptions(o *Options) (*wim.WriterOptions, error) {
	w := &wim.WriterOptions{Workers: o.Threads, Integrity: o.Check, ChunkSize: o.ChunkSize, Codec: wim.XPRESS}
	var err error
	if o.Compress != "" {
		if w.Codec, w.Level, err = parseCodec("compress", o.Compress); err != nil {
			return nil, err
		}
	}
	if err := checkChunkSize("chunk-size", w.Codec, o.ChunkSize); err != nil {
		return nil, err
	}
	if err := setSolid(w, o); err != nil {
		return nil, err
	}
	if o.Wimboot && w.Codec == wim.LZMS {
		return nil, ui.Usage(errors.New("--wimboot: Windows reads no files from LZMS chunks; use XPRESS or LZX"))
	}
	if o.Wimboot {
		if w.ChunkSize == 0 {
			w.ChunkSize = map[wim.Codec]int{wim.XPRESS: 4096, wim.LZX: 32768}[w.Codec]
		}
		codec := map[wim.Codec]wof.Codec{wim.XPRESS: wof.CodecXPRESS, wim.LZX: wof.CodecLZX}[w.Codec]
		if err := wof.CheckWIM(wof.WIMFormat{Codec: codec, ChunkSize: uint32(w.ChunkSize)}); err != nil {
			return nil, ui.Usage(fmt.Errorf("--wimboot: %w", err))
		}
	}
	return w, nil
}

// OpenSource opens what is to be captured as Capture does: without what the configuration and target exclude. It returns how many names
// are left out. known has contents that are had already; it may be nil.
func OpenSource(ctx context.Context, src, target string, known func(winfile.SHA1) *winfile.Blob, o *Options) (*source.Source, int, error) {
	return open(ctx, src, target, known, o)
}

// WriterOptions turns the words of o on compression into a writer's.
func WriterOptions(o *Options) (*wim.WriterOptions, error) { return writerOptions(o) }

// open opens the source, leaves out what the configuration excludes and the target itself, and puts the configuration into a
// wimboot image. known has contents that the target has already; it may be nil.
func open(ctx context.Context, src, target string, known func(winfile.SHA1) *winfile.Blob, o *Options) (*source.Source, int, error) {
	conf, text, err := configuration(src, o)
	if err != nil {
		return nil, 0, err
	}
	excluded, self := 0, pathBelow(src, target)
	exclude := func(path string, _ bool) bool {
		own := self != "" && (path == self || strings.HasPrefix(path, self+atomicfile.TempMark))
		if !own && (conf == nil || !conf.Excluded(path)) {
			return false
		}
		excluded++
		return true
	}
	s, err := source.Open(ctx, src, &source.Options{
		WIMs: o.WIMs, Layers: o.Layers, Known: known, Dereference: o.Dereference, Exclude: exclude, Warn: o.UI.Warn,
		Scan: func(so *tree.ScanOptions) { so.RPFix = !o.NoRPFix },
	})
	if err != nil {
		return nil, 0, err
	}
	if s.NTFS != nil {
		// Damage has been warned of, and is all that there is. What a disk fails to give may be there at the next attempt.
		if err, failing := s.NTFS.Unread(), (*fs.PathError)(nil); errors.As(err, &failing) {
			return nil, 0, errors.Join(fmt.Errorf("%s: %w", src, err), s.Close())
		}
	}
	if s.Kind != source.Folder {
		if conf == nil {
			if conf, err = configurationOf(s.Tree, o); err != nil {
				return nil, 0, errors.Join(err, s.Close())
			}
		}
		s.Tree, _ = tree.Filter(s.Tree, exclude)
	}
	if o.Wimboot && text != nil {
		putConfiguration(s.Tree, text)
	}
	return s, excluded, nil
}

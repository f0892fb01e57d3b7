package reshape

import (
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"sync"

	"husk/internal/atomicfile"
	"husk/internal/deploy"
	"husk/internal/ui"
	"husk/ntfs"
	"husk/winfile"
	"husk/wof"
)

// Compact says which files become compact files, and how.
type Compact struct {
	Algorithm wof.Algorithm
	Config    string // file with a [PrepopulateList], taken alone; "" means the volume's own, or the built-in list
	UEFI      bool   // only UEFI starts the volume: what loaders read may be compact, in the form that they read
}

// ToCompact makes files of a volume compact files. Pointer files stay; compact files of another algorithm get the new one. Files that would
// not take a cluster less stay as they are.
func ToCompact(ctx context.Context, spec string, c *Compact, o *Options) (*Result, error) {
	s, err := open(ctx, spec, o)
	if err != nil {
		return nil, err
	}
	return s.finish(s.toCompact(ctx, c))
}

func (s *session) toCompact(ctx context.Context, c *Compact) error {
	s.resolveAll()
	conf, err := deploy.ReadConfig(c.Config, s.o.UI)
	if err != nil {
		return err
	}
	co := &wof.CompactOptions{Algorithm: c.Algorithm, Config: conf, Build: s.build(), BIOS: !c.UEFI}
	if conf == nil {
		co.Early = deploy.Early(s.src.Tree, s.o.UI)
	}
	rules, err := wof.NewCompactRules(s.src.Tree, co)
	if err != nil {
		return ui.Hint(err, "give a configuration with --config=FILE")
	}
	s.restore()
	plan := rules.Decide(s.src.Tree)
	plain := make(map[*winfile.Info]wof.PlainFile)
	for _, p := range plan.Plain {
		plain[p.Info] = p
	}
	var todo []file
	for _, f := range s.files() {
		raw, special := s.raw[f.info]
		a, eligible := plan.Algorithm(f.info)
		switch {
		case special && !isPointer(&raw) && (!eligible || isCompact(&raw, a)):
			add(&s.result.Already, f.info)
		case !eligible:
			if p, ok := plain[f.info]; ok {
				s.result.stays(p)
			}
		case s.onDisk(f.info) <= s.cluster():
			s.result.stays(wof.PlainFile{Path: f.path, Info: f.info, Reason: wof.NoGain})
		default:
			todo = append(todo, f)
		}
	}
	return s.compress(ctx, todo, func(i *winfile.Info) wof.Algorithm {
		a, _ := plan.Algorithm(i)
		return a
	})
}

func isCompact(raw *winfile.Info, a wof.Algorithm) bool {
	c, err := wof.CompactOf(raw.Reparse)
	return err == nil && c.Algorithm == a
}

// compress makes the files compact.
func (s *session) compress(ctx context.Context, todo []file, algorithm func(*winfile.Info) wof.Algorithm) error {
	slices.SortStableFunc(todo, func(x, y file) int { return cmp.Compare(x.info.Data.Order, y.info.Data.Order) })
	total := int64(0)
	for _, f := range todo {
		total += f.info.Size()
	}
	p := s.o.UI.Start("compress", total)
	defer p.Done()
	return batches(todo, func(list []file) error {
		if list[0].info.Size() >= largeFile {
			return s.compressLarge(ctx, list[0], algorithm(list[0].info), p)
		}
		stored, err := s.compressBatch(ctx, list, algorithm, p)
		if err != nil {
			return err
		}
		for _, f := range list {
			if err := s.setCompact(f, algorithm(f.info), stored[f.info.Data]); err != nil {
				return err
			}
		}
		return s.commit()
	})
}

// compressBatch reads and compresses the contents of a batch.
func (s *session) compressBatch(ctx context.Context, list []file, algorithm func(*winfile.Info) wof.Algorithm, p *ui.Progress) (map[*winfile.Blob]*winfile.Blob, error) {
	var mu sync.Mutex
	stored := make(map[*winfile.Blob]*winfile.Blob)
	how := make(map[*winfile.Blob]wof.Algorithm)
	for _, f := range list {
		how[f.info.Data] = algorithm(f.info)
	}
	err := readWhole(ctx, list, s.workers(), p, func(b *winfile.Blob, content []byte) {
		c := winfile.NewBlob(wof.EncodeCompact(how[b], content, 1))
		mu.Lock()
		stored[b] = c
		mu.Unlock()
	})
	return stored, err
}

// readWhole reads the contents of a batch; take gets each as a whole, several at once.
func readWhole(ctx context.Context, list []file, workers int, p *ui.Progress, take func(b *winfile.Blob, content []byte)) error {
	var mu sync.Mutex
	parts := make(map[*winfile.Blob][]byte)
	return winfile.ReadBlobs(ctx, blobsOf(list), workers, func(b *winfile.Blob, off int64, piece []byte) error {
		last := off+int64(len(piece)) == b.Size
		if !last || off > 0 {
			mu.Lock()
			whole := parts[b]
			mu.Unlock()
			if whole == nil {
				whole = make([]byte, 0, b.Size)
			}
			whole = append(whole, piece...)
			mu.Lock()
			parts[b] = whole
			mu.Unlock()
			if last {
				take(b, whole)
			}
		} else {
			take(b, piece)
		}
		p.Add(int64(len(piece)))
		return nil
	})
}

// blobsOf lists the contents of files, each once.
func blobsOf(list []file) []*winfile.Blob {
	seen := make(map[*winfile.Blob]bool, len(list))
	var blobs []*winfile.Blob
	for _, f := range list {
		if b := f.info.Data; !seen[b] {
			seen[b] = true
			blobs = append(blobs, b)
		}
	}
	return blobs
}

// compressLarge compresses one content by way of a temporary file.
func (s *session) compressLarge(ctx context.Context, f file, a wof.Algorithm, p *ui.Progress) (err error) {
	near := s.src.Path
	if st, statErr := os.Stat(near); statErr != nil || !st.Mode().IsRegular() {
		near = os.TempDir() + string(os.PathSeparator) + "husk"
	}
	scratch, err := atomicfile.Scratch(near)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, scratch.Close())
		_ = os.Remove(scratch.Name()) // where open files cannot lose their name it still has one
	}()
	size, err := encode(ctx, scratch, f.info.Data, a, s.workers(), p)
	if err != nil {
		return err
	}
	if err := s.setCompact(f, a, &winfile.Blob{Size: size, Content: scratched{scratch}}); err != nil {
		return err
	}
	return s.commit()
}

// encode writes the stored form of a content: the chunks behind the room of the table, and then that.
func encode(ctx context.Context, w io.WriterAt, b *winfile.Blob, a wof.Algorithm, workers int, p *ui.Progress) (size int64, err error) {
	enc := wof.NewCompactEncoder(a, b.Size, workers)
	size = enc.TableSize()
	r, err := b.Content.OpenBlob(b)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	buf := make([]byte, 1<<20)
	for left := b.Size; left > 0; {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		n, err := io.ReadFull(r, buf[:min(left, int64(len(buf)))])
		if err != nil {
			return 0, err
		}
		err = enc.Add(buf[:n], func(stored []byte) error {
			_, err := w.WriteAt(stored, size)
			size += int64(len(stored))
			return err
		})
		if err != nil {
			return 0, err
		}
		left -= int64(n)
		p.Add(int64(n))
	}
	table, err := enc.Table()
	if err != nil {
		return 0, err
	}
	_, err = w.WriteAt(table, 0)
	return size, err
}

// scratched is the content of a temporary file.
type scratched struct{ f *os.File }

// OpenBlob implements [winfile.Content].
func (c scratched) OpenBlob(b *winfile.Blob) (io.ReadCloser, error) {
	return io.NopCloser(io.NewSectionReader(c.f, 0, b.Size)), nil
}

// setCompact makes a file compact if that gains something.
func (s *session) setCompact(f file, a wof.Algorithm, stored *winfile.Blob) error {
	s.result.Read += f.info.Size()
	before, after := s.onDisk(f.info), s.clusters(stored.Size)
	if after >= before {
		s.result.stays(wof.PlainFile{Path: f.path, Info: f.info, Reason: wof.NoGain})
		return nil
	}
	done, err := s.change(f.path, func(e *ntfs.Editor) error {
		return e.SetCompact(f.path, (&wof.CompactInfo{Algorithm: a}).Marshal(), stored)
	})
	if done {
		add(&s.result.Changed, f.info)
		s.result.Freed += before - after
	}
	return err
}

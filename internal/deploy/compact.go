package deploy

import (
	"cmp"
	"context"
	"runtime"
	"sync"

	"husk/internal/source"
	"husk/internal/ui"
	"husk/ntfs"
	"husk/wim"
	"husk/winfile"
	"husk/wof"
)

// CompactResult tells where the streams of compact files came from. Equal contents count once.
type CompactResult struct {
	Reused     wof.Total // taken as they are in the source
	Compressed wof.Total // compressed anew
	Stored     int64     // bytes of all streams
	Plan       Plan      // what became of each file
}

// compaction is the streams of the compact files of a new volume. Their sizes must be known before the volume can be laid out: those that
// the source has in the right form are taken from there when the volume is written, the others wait in a spool.
type compaction struct {
	plan    *wof.CompactPlan
	cluster int64
	jobs    map[compactKey]*compactJob
	spool   *spool // nil if nothing is compressed anew
	result  CompactResult
}

type compactKey struct {
	blob      *winfile.Blob
	algorithm wof.Algorithm
}

// compactJob is one content in one form.
type compactJob struct {
	compactKey
	stream *winfile.Blob // nil if it would not gain, or is not known yet
	reused bool
}

// MakeCompact has the files of a volume that is not laid out yet become compact files, as Make does. target is the file that it will be in,
// beside which what must be compressed waits. done is to be called when the volume is written.
func MakeCompact(ctx context.Context, s *source.Source, target string, build *ntfs.BuildOptions, o *Options) (_ *CompactResult, done func(), _ error) {
	c, err := compact(ctx, s, target, build, o)
	if err != nil {
		return nil, nil, err
	}
	build.Backing, build.BackingStream = c.backing, c.stream
	c.result.Plan = c.plan
	return &c.result, c.close, nil
}

// compact decides which files become compact files, and makes what cannot be taken from the source.
func compact(ctx context.Context, s *source.Source, target string, build *ntfs.BuildOptions, o *Options) (_ *compaction, err error) {
	conf, err := ReadConfig(o.Compact.Config, o.UI)
	if err != nil {
		return nil, err
	}
	co := &wof.CompactOptions{Algorithm: o.Compact.Algorithm, Config: conf, Build: buildOf(s), BIOS: !o.Compact.UEFI}
	if conf == nil {
		co.Early = Early(s.Tree, o.UI)
	}
	rules, err := wof.NewCompactRules(s.Tree, co)
	if err != nil {
		return nil, ui.Hint(err, "give a configuration with --config=FILE")
	}
	warnOf(&rules.Rules, o.UI)
	c := &compaction{plan: rules.Decide(s.Tree), cluster: int64(cmp.Or(build.ClusterSize, 4096)), jobs: make(map[compactKey]*compactJob)}
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	anew := c.gather(s.Tree)
	if !o.DryRun {
		if err := c.compress(ctx, anew, target, o); err != nil {
			return nil, err
		}
	}
	waiting := make(map[*compactJob]bool) // of a dry run, in which nothing is compressed: they count as if they gained
	if o.DryRun {
		for _, j := range anew {
			waiting[j] = true
		}
	}
	c.plan.Settle(s.Tree, func(i *winfile.Info, a wof.Algorithm) bool {
		j := c.jobs[compactKey{i.Data, a}]
		return j.stream != nil || waiting[j]
	})
	for _, j := range c.jobs {
		c.count(j)
	}
	return c, nil
}

func (c *compaction) count(j *compactJob) {
	t := &c.result.Compressed
	switch {
	case j.stream == nil:
		return
	case j.reused:
		t = &c.result.Reused
	}
	t.Files++
	t.Bytes += j.blob.Size
	c.result.Stored += j.stream.Size
}

// clusters is the number of clusters for so many bytes.
func (c *compaction) clusters(n int64) int64 { return (n + c.cluster - 1) / c.cluster }

// gains reports whether a stream of so many bytes is smaller by at least a cluster.
func (c *compaction) gains(b *winfile.Blob, stored int64) bool {
	return c.clusters(stored) < c.clusters(b.Size)
}

// gather makes a job of each content, and returns those that need compression, in the order of the tree.
func (c *compaction) gather(t *winfile.Tree) (anew []*compactJob) {
	for _, e := range t.All() {
		a, ok := c.plan.Algorithm(e.Info)
		if !ok {
			continue
		}
		key := compactKey{e.Info.Data, a}
		if c.jobs[key] != nil {
			continue
		}
		j := &compactJob{compactKey: key}
		c.jobs[key] = j
		if !c.gains(key.blob, 1) {
			continue // not even one byte less than a cluster would do
		}
		stream, known := storedAs(key.blob, a)
		switch {
		case !known:
			anew = append(anew, j)
		case stream != nil && c.gains(key.blob, stream.Size):
			j.stream, j.reused = stream, true
		}
	}
	return anew
}

// storedAs returns the stream of a compact file that the source has already. known tells that there is no other: a content that the source could
// not compress with the same algorithm has none.
func storedAs(b *winfile.Blob, a wof.Algorithm) (stream *winfile.Blob, known bool) {
	if stream, have, ok := wof.Stored(b); ok {
		return stream, have == a
	}
	r, ok := b.Content.(*wim.Reader)
	if !ok {
		return nil, false
	}
	codec := wof.CodecNone
	switch r.Codec() {
	case wim.XPRESS:
		codec = wof.CodecXPRESS
	case wim.LZX:
		codec = wof.CodecLZX
	}
	if have, ok := wof.AlgorithmOf(codec, int64(r.ChunkSize())); !ok || have != a {
		return nil, false
	}
	if stream, ok := r.RawBlob(b); ok {
		return stream, true
	}
	stored, compressed := r.StoredSize(b)
	return nil, !compressed && stored == b.Size
}

// compress fills the spool.
func (c *compaction) compress(ctx context.Context, jobs []*compactJob, target string, o *Options) error {
	if len(jobs) == 0 {
		return nil
	}
	var err error
	if c.spool, err = newSpool(target); err != nil {
		return err
	}
	workers := o.Threads
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	byBlob := make(map[*winfile.Blob][]*compactJob, len(jobs))
	var blobs []*winfile.Blob
	total := int64(0)
	for _, j := range jobs {
		if byBlob[j.blob] == nil {
			blobs = append(blobs, j.blob)
			total += j.blob.Size
		}
		byBlob[j.blob] = append(byBlob[j.blob], j)
	}
	p := o.UI.Start("compress", total)
	defer p.Done()
	var mu sync.Mutex
	open := make(map[*winfile.Blob][]*spooling) // contents of which some has come
	return winfile.ReadBlobs(ctx, blobs, workers, func(b *winfile.Blob, off int64, piece []byte) error {
		last := off+int64(len(piece)) == b.Size
		mu.Lock()
		list := open[b]
		if list == nil {
			for _, j := range byBlob[b] {
				list = append(list, c.spool.start(j, workers))
			}
			open[b] = list
		}
		if last {
			delete(open, b)
		}
		mu.Unlock()
		for _, s := range list {
			if err := s.add(piece, last); err != nil {
				return err
			}
			if last && c.gains(b, s.size()) {
				if err := s.finish(); err != nil {
					return err
				}
			}
		}
		p.Add(int64(len(piece)))
		return nil
	})
}

// backing is the reparse point of a compact file, nil for others.
func (c *compaction) backing(i *winfile.Info) []byte {
	if j := c.job(i); j != nil && j.stream != nil {
		return (&wof.CompactInfo{Algorithm: j.algorithm}).Marshal()
	}
	return nil
}

// stream is the stream of a compact file.
func (c *compaction) stream(i *winfile.Info) *winfile.Stream {
	return &winfile.Stream{Name: wof.CompactStream, Data: c.job(i).stream}
}

func (c *compaction) job(i *winfile.Info) *compactJob {
	a, ok := c.plan.Algorithm(i)
	if !ok {
		return nil
	}
	return c.jobs[compactKey{i.Data, a}]
}

func (c *compaction) close() {
	if c.spool != nil {
		c.spool.close()
	}
}

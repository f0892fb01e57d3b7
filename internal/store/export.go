package store

import (
	"context"
	"fmt"
	"time"

	"husk/internal/archive"
	"husk/internal/atomicfile"
	"husk/internal/ui"
	"husk/wim"
)

// ExportOptions tunes Export.
type ExportOptions struct {
	Compress  string // as archive.Options has it; "" means that of the store, whose contents are copied as they are
	ChunkSize int
	Overwrite bool
	Threads   int
}

// Export writes points into one WIM that needs no other: for backups, and for those who have no husk. It returns its size.
func (s *Store) Export(ctx context.Context, points []*Point, target string, o *ExportOptions) (int64, time.Duration, error) {
	start := time.Now()
	w, err := s.layerOptions()
	if err != nil {
		return 0, 0, err
	}
	if o.Compress != "" || o.ChunkSize != 0 {
		if w, err = archive.WriterOptions(&archive.Options{Compress: o.Compress, ChunkSize: o.ChunkSize}); err != nil {
			return 0, 0, err
		}
	}
	w.Workers = o.Threads
	for _, l := range s.layers {
		if sameFile(l.Path, target) {
			return 0, 0, ui.Usage(fmt.Errorf("%s is a layer of the store", target))
		}
	}
	f, err := atomicfile.Create(target, o.Overwrite)
	if err != nil {
		return 0, 0, err
	}
	defer f.Abort()
	if s.ui != nil {
		var total int64
		for _, p := range points {
			total += p.Image.Info().TotalBytes
		}
		p := s.ui.Start("export", total)
		defer p.Done()
		w.Progress = func(done int64) { p.Set(done, total) }
	}
	wr, err := wim.Create(f, w)
	if err != nil {
		return 0, 0, err
	}
	for _, p := range points {
		name := p.String()
		if err := wr.ExportImage(ctx, p.Image, &wim.ExportOptions{Name: &name}); err != nil {
			return 0, 0, fmt.Errorf("%s: %w", p, err)
		}
	}
	if err := wr.Close(); err != nil {
		return 0, 0, err
	}
	size, err := sizeOf(f)
	if err != nil {
		return 0, 0, err
	}
	return size, time.Since(start), f.Commit()
}

package imagex

import (
	"fmt"
	"io"
	"sync"
)

// progress draws "\rVERB: 4 MiB of 20 MiB (20%) done" each time the percentage changes, and a newline at the end.
type progress struct {
	mu    sync.Mutex
	w     io.Writer
	verb  string
	total int64
	done  int64
	last  int64 // percentage shown, -1 if none
}

func newProgress(w io.Writer, verb string, total int64) *progress {
	return &progress{w: w, verb: verb, total: total, last: -1}
}

// add counts n more bytes. It may be called by several goroutines.
func (p *progress) add(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.set(p.done + n)
}

// to sets the count.
func (p *progress) to(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.set(n)
}

func (p *progress) set(n int64) {
	p.done = min(n, p.total)
	percent := int64(100)
	if p.total > 0 {
		percent = p.done * 100 / p.total
	}
	if percent == p.last {
		return
	}
	p.last = percent
	div, name := unit(p.total)
	fmt.Fprintf(p.w, "\r%s: %d %s of %d %s (%d%%) done", p.verb, p.done/div, name, p.total/div, name, percent)
}

// finish ends the line, at 100 % if all went well.
func (p *progress) finish(ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ok {
		p.set(p.total)
	}
	if p.last >= 0 {
		fmt.Fprintln(p.w)
	}
}

// unit is what sizes up to total are counted in.
func unit(total int64) (div int64, name string) {
	switch {
	case total >= 10<<30:
		return 1 << 30, "GiB"
	case total >= 10<<20:
		return 1 << 20, "MiB"
	case total >= 10<<10:
		return 1 << 10, "KiB"
	}
	return 1, "bytes"
}

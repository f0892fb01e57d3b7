package ntfs

import (
	"io"
	"slices"
	"sync"
)

const (
	gatherSize    = 1 << 20   // of a window, and so of most writes
	gatherDirect  = 128 << 10 // longer pieces are written as they come
	gatherWindows = 16        // that have memory at once
)

// gather makes large writes of pieces that come from several goroutines in nearly ascending order. The area is cut into windows; a
// window is written once it is full, or in parts if too many are open.
type gather struct {
	w       io.WriterAt
	start   int64
	size    int64
	limit   int // of windows with memory
	mu      sync.Mutex
	windows map[int64]*window // those that are neither untouched nor complete
	open    []*window         // those with memory, the longest unused first
	free    [][]byte
}

type window struct {
	number int64
	have   int64 // bytes arrived, slack included
	buf    []byte
	parts  []span // filled and not written, ascending, apart from one another
	users  int    // goroutines that copy into buf
}

// span is a range of bytes in a window.
type span struct{ from, to int }

func newGather(w io.WriterAt, start, size int64) *gather {
	return &gather{w: w, start: start, size: size, limit: gatherWindows, windows: make(map[int64]*window)}
}

// put takes bytes at an offset of the volume, and behind them slack bytes that are zero. No byte comes twice.
func (g *gather) put(off int64, p []byte, slack int64) error {
	off -= g.start
	if len(p) >= gatherDirect {
		if _, err := g.w.WriteAt(p, g.start+off); err != nil {
			return err
		}
		return g.account(off, int64(len(p))+slack)
	}
	for left := len(p) + int(slack); left > 0; {
		at := int(off % gatherSize)
		n := min(left, gatherSize-at)
		k := min(len(p), n)
		if err := g.fill(off/gatherSize, at, p[:k], n); err != nil {
			return err
		}
		off, p, left = off+int64(n), p[k:], left-n
	}
	return nil
}

// account counts bytes that need no memory.
func (g *gather) account(off, n int64) error {
	for n > 0 {
		m := min(n, gatherSize-off%gatherSize)
		g.mu.Lock()
		win := g.window(off / gatherSize)
		win.have += m
		if err := g.release(win); err != nil {
			return err
		}
		off, n = off+m, n-m
	}
	return nil
}

func (g *gather) window(number int64) *window {
	win := g.windows[number]
	if win == nil {
		win = &window{number: number}
		g.windows[number] = win
	}
	return win
}

// fill copies a piece into a window, with zeros behind it up to n bytes.
func (g *gather) fill(number int64, at int, p []byte, n int) error {
	g.mu.Lock()
	win := g.window(number)
	if err := g.provide(win); err != nil {
		g.mu.Unlock()
		return err
	}
	win.users++
	g.mu.Unlock()
	copy(win.buf[at:], p)
	clear(win.buf[at+len(p) : at+n])
	g.mu.Lock()
	win.users--
	win.add(span{at, at + n})
	win.have += int64(n)
	return g.release(win)
}

// provide gives a window memory. If too many have some, the one longest unused is written as far as it goes. mu is held.
func (g *gather) provide(win *window) error {
	if win.buf != nil {
		return nil
	}
	if len(g.open) >= g.limit {
		if i := slices.IndexFunc(g.open, func(o *window) bool { return o.users == 0 }); i >= 0 {
			old := g.open[i]
			g.open = slices.Delete(g.open, i, i+1)
			buf := old.buf
			old.buf = nil
			err := g.write(old, buf)
			g.free = append(g.free, buf)
			if err != nil {
				return err
			}
		}
	}
	if n := len(g.free); n > 0 {
		win.buf, g.free = g.free[n-1], g.free[:n-1]
	} else {
		win.buf = make([]byte, gatherSize)
	}
	g.open = append(g.open, win)
	return nil
}

// release writes the window if it is complete. It gives up mu.
func (g *gather) release(win *window) error {
	want := min(gatherSize, g.size-win.number*gatherSize)
	if win.have < want || win.users > 0 {
		g.mu.Unlock()
		return nil
	}
	delete(g.windows, win.number)
	buf := win.buf
	if buf != nil {
		g.open = slices.DeleteFunc(g.open, func(o *window) bool { return o == win })
		win.buf = nil
	}
	g.mu.Unlock()
	if buf == nil {
		return nil
	}
	err := g.write(win, buf)
	g.mu.Lock()
	g.free = append(g.free, buf)
	g.mu.Unlock()
	return err
}

// flush writes what is left of windows that never became complete.
func (g *gather) flush() error {
	for _, win := range g.open {
		if err := g.write(win, win.buf); err != nil {
			return err
		}
	}
	return nil
}

// add notes a filled span.
func (w *window) add(s span) {
	i, _ := slices.BinarySearchFunc(w.parts, s, func(a, b span) int { return a.from - b.from })
	if i > 0 && w.parts[i-1].to == s.from {
		w.parts[i-1].to = s.to
		if i < len(w.parts) && w.parts[i].from == s.to {
			w.parts[i-1].to = w.parts[i].to
			w.parts = slices.Delete(w.parts, i, i+1)
		}
		return
	}
	if i < len(w.parts) && w.parts[i].from == s.to {
		w.parts[i].from = s.from
		return
	}
	w.parts = slices.Insert(w.parts, i, s)
}

// write writes the filled spans.
func (g *gather) write(win *window, buf []byte) error {
	for _, s := range win.parts {
		if _, err := g.w.WriteAt(buf[s.from:s.to], g.start+win.number*gatherSize+int64(s.from)); err != nil {
			return err
		}
	}
	win.parts = win.parts[:0]
	return nil
}

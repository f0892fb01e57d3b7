package ui

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cheggaaa/pb/v3"
)

// Progress follows one long step. Add is cheap and safe for concurrent use.
type Progress struct {
	ui    *UI
	phase string
	total int64
	done  atomic.Int64
	start time.Time
	last  atomic.Int64 // when the last JSON line was printed, ns since start
	bar   *bar
}

type bar struct{ *pb.ProgressBar }

const (
	template  = `{{string . "phase"}} {{percent .}} {{bar . }} {{counters . }} {{speed . "%%s/s" ""}} {{rtime . %q "%%s" ""}}`
	lineWidth = 79 // columns of a terminal that does not tell, such as a serial line
	jsonEvery = 500 * time.Millisecond
)

// Start begins a step whose amount of work is total bytes (0 if not known). phase is a message key.
func (u *UI) Start(phase string, total int64) *Progress {
	p := &Progress{ui: u, phase: phase, total: total, start: time.Now()}
	if u.Quiet {
		return p
	}
	if u.JSON {
		u.Event("start", map[string]any{"phase": phase, "total": total})
		return p
	}
	if !u.terminal {
		return p
	}
	b := pb.New64(total).SetTemplateString(fmt.Sprintf(template, u.T("%s left", "%s")))
	b.Set("phase", u.T(phase)).Set(pb.Bytes, true).Set(pb.SIBytesPrefix, false).SetWriter(u.err)
	b.SetRefreshRate(200 * time.Millisecond)
	if !u.sized {
		b.SetWidth(lineWidth)
	}
	p.bar = &bar{b}
	u.mu.Lock()
	u.bar = p.bar
	u.mu.Unlock()
	b.Start()
	return p
}

// Add counts n more bytes as done.
func (p *Progress) Add(n int64) {
	done := p.done.Add(n)
	if p.bar != nil {
		p.bar.Add64(n)
		return
	}
	if !p.ui.JSON || p.ui.Quiet {
		return
	}
	now, last := int64(time.Since(p.start)), p.last.Load()
	if now-last >= int64(jsonEvery) && p.last.CompareAndSwap(last, now) {
		p.ui.Event("progress", map[string]any{"phase": p.phase, "done": done, "total": p.total, "seconds": seconds(time.Duration(now))})
	}
}

// Set says how much of how much is done; for work whose amount is only known on the way.
func (p *Progress) Set(done, total int64) {
	if p.bar != nil {
		p.bar.SetTotal(total)
	}
	p.total = total
	p.Add(done - p.done.Load())
}

// Done ends the step and returns how long it took. On a terminal the bar goes away.
func (p *Progress) Done() time.Duration {
	d := time.Since(p.start)
	if p.bar != nil {
		p.ui.mu.Lock()
		p.ui.bar = nil
		p.bar.Set(pb.CleanOnFinish, true)
		p.bar.Finish()
		p.ui.mu.Unlock()
	}
	if p.ui.JSON && !p.ui.Quiet {
		p.ui.Event("done", map[string]any{"phase": p.phase, "done": p.done.Load(), "seconds": seconds(d)})
	}
	return d
}

// clear wipes a bar that is being drawn, so that a line can be printed in its place; the bar is drawn again below it.
func (u *UI) clear() {
	if u.bar != nil {
		fmt.Fprint(u.err, "\r\x1b[K")
	}
}

func seconds(d time.Duration) float64 { return float64(d.Milliseconds()) / 1000 }

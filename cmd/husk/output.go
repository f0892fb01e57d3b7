package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"husk/internal/ui"
)

// newBufferedOutput gathers the lines of long listings.
func newBufferedOutput(w io.Writer) *bufio.Writer { return bufio.NewWriterSize(w, 64<<10) }

// perSecond is a rate; an instant counts as a millisecond.
func perSecond(n int64, d time.Duration) int64 {
	return int64(float64(n) / max(d, time.Millisecond).Seconds())
}

// refusedIf turns "exists already" into a refusal that says how to overrule it.
func refusedIf(err error) error {
	if errors.Is(err, fs.ErrExist) {
		return ui.Hint(fmt.Errorf("%w: %w", errRefused, err), "choose another name, or replace it with --yes")
	}
	return err
}

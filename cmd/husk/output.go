package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"
	"unicode"

	"husk/internal/ui"
)

// newBufferedOutput gathers the lines of long listings.
func newBufferedOutput(w io.Writer) *bufio.Writer { return bufio.NewWriterSize(w, 64<<10) }

// printable is a name as a terminal may show it: control characters, which images and volumes can have in names, become "?". JSON
// has them as they are.
func printable(name string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '?'
		}
		return r
	}, name)
}

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

package ui

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

// CanAsk reports whether there is somebody to ask.
func (u *UI) CanAsk() bool { return u.asks && !u.JSON }

// Ask asks for a line of text and proposes one, which Enter takes. With Yes, or without a terminal, the proposal is taken unasked. The end
// of the input is io.EOF.
func (u *UI) Ask(proposal, format string, args ...any) (string, error) {
	if u.Yes || !u.CanAsk() {
		return proposal, nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.clear()
	fmt.Fprint(u.err, u.T(format, args...))
	if proposal != "" {
		fmt.Fprintf(u.err, " [%s]", proposal)
	}
	fmt.Fprint(u.err, ": ")
	line, err := u.line()
	if err != nil {
		return "", err
	}
	if line == "" {
		line = proposal
	}
	return line, nil
}

// Accept asks a question that Enter says yes to. With Yes, or without a terminal, it is not asked. The end of the input is no.
func (u *UI) Accept(format string, args ...any) bool {
	if u.Yes || !u.CanAsk() {
		return true
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.clear()
	fmt.Fprint(u.err, u.T(format, args...), " ", u.T("[Y/n]"), " ")
	line, err := u.line()
	if err != nil {
		return false
	}
	switch strings.ToLower(line) {
	case "", "y", "yes", "是":
		return true
	}
	return false
}

// line reads one line. A terminal gives one at a time, so nothing of the next is lost with the buffer.
func (u *UI) line() (string, error) {
	line, err := bufio.NewReader(u.in).ReadString('\n')
	if err != nil && (!errors.Is(err, io.EOF) || line == "") {
		return "", err
	}
	return strings.TrimSpace(line), nil
}

// Streams are what the session reads from and writes to.
func (u *UI) Streams() (in io.Reader, out, err io.Writer) { return u.in, u.out.w, u.err }

// Package ui is how husk speaks to people and to programs: messages in English or Simplified Chinese, progress with speed and
// time left on a terminal, tables, questions, and the same as JSON lines for programs.
//
// English is the source language: a message's key is its English format string, and locales/zh-CN.json maps it to Chinese. A
// test holds that every message has its translation with the same verbs.
package ui

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"golang.org/x/term"
	"golang.org/x/text/message"
)

// UI is one session with a person or a program. Its methods are safe for concurrent use.
type UI struct {
	JSON  bool // JSON lines on Out, nothing else
	Yes   bool // questions are answered with yes
	Quiet bool // no progress and no notes

	in       io.Reader
	out      *output
	err      io.Writer
	terminal bool // err is a terminal: progress is drawn
	sized    bool // and tells how wide it is
	asks     bool // in is a terminal too: questions can be asked
	printer  *message.Printer
	english  bool

	mu  sync.Mutex
	bar *bar // drawn now, or nil
}

// New returns a session on the given streams in the given language (see [Language]).
func New(in io.Reader, out, err io.Writer, lang string) *UI {
	u := &UI{in: in, out: &output{w: out}, err: err, printer: printerFor(lang), english: lang != "zh-CN"}
	if f, ok := err.(*os.File); ok {
		u.terminal = term.IsTerminal(int(f.Fd()))
		width, _, err := term.GetSize(int(f.Fd()))
		u.sized = err == nil && width > 0
	}
	if f, ok := in.(*os.File); ok {
		u.asks = u.terminal && term.IsTerminal(int(f.Fd()))
	}
	return u
}

// T translates and formats a message. Numbers are grouped in the way of the language.
func (u *UI) T(format string, args ...any) string {
	if u.english {
		format = singular(format, args)
	}
	return u.printer.Sprintf(format, args...)
}

// Say prints a message and a line end, for people only.
func (u *UI) Say(format string, args ...any) {
	if u.JSON {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.clear()
	fmt.Fprintln(u.out, u.T(format, args...))
}

// Warn tells of something that the user should know and that does not stop the work.
func (u *UI) Warn(format string, args ...any) {
	if u.JSON {
		u.Event("warning", map[string]any{"message": fmt.Sprintf(format, args...)})
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.clear()
	fmt.Fprintln(u.err, u.T("warning: %s", u.T(format, args...)))
}

// Raw returns the stream for output that is the command's product: file contents, XML, listings.
func (u *UI) Raw() io.Writer { return u.out }

// Event prints one JSON line if JSON is asked for: {"event": kind, ...fields}.
func (u *UI) Event(kind string, fields map[string]any) {
	if !u.JSON {
		return
	}
	line := map[string]any{"event": kind}
	for k, v := range fields {
		line[k] = v
	}
	u.Line(line)
}

// Line prints any value as one JSON line.
func (u *UI) Line(v any) {
	u.mu.Lock()
	defer u.mu.Unlock()
	enc := json.NewEncoder(u.out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		u.out.fail(err)
	}
}

// OutputError is the first error of writing to the output stream: a full disk, say, behind a redirection.
func (u *UI) OutputError() error {
	u.out.mu.Lock()
	defer u.out.mu.Unlock()
	return u.out.err
}

// output remembers that it failed, so that not every line needs a check.
type output struct {
	w   io.Writer
	mu  sync.Mutex
	err error
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.w.Write(p)
	if err != nil {
		o.fail(err)
	}
	return n, err
}

func (o *output) fail(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		o.err = err
	}
}

// Align tells how a table column is set.
type Align bool

const (
	Left  Align = false
	Right Align = true
)

// Table prints rows under a header. Widths are those of a terminal, where a Chinese character takes two columns.
func (u *UI) Table(header []string, align []Align, rows [][]string, footer ...string) {
	t := table.NewWriter()
	style := table.StyleLight
	style.Options = table.Options{SeparateHeader: true, SeparateFooter: true}
	style.Format = table.FormatOptions{Header: text.FormatDefault, Footer: text.FormatDefault}
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	t.SetStyle(style)
	t.AppendHeader(tableRow(header))
	for _, r := range rows {
		t.AppendRow(tableRow(r))
	}
	if len(footer) > 0 {
		t.AppendFooter(tableRow(footer))
	}
	var configs []table.ColumnConfig
	for i, a := range align {
		if a == Right {
			configs = append(configs, table.ColumnConfig{Number: i + 1, Align: text.AlignRight, AlignHeader: text.AlignRight, AlignFooter: text.AlignRight})
		}
	}
	t.SetColumnConfigs(configs)
	u.print(t)
}

func tableRow(cells []string) table.Row {
	r := make(table.Row, len(cells))
	for i, c := range cells {
		r[i] = c
	}
	return r
}

// Confirm asks a yes-or-no question. Without a terminal to ask on it answers no, unless Yes is set.
func (u *UI) Confirm(format string, args ...any) bool {
	if u.Yes {
		return true
	}
	if !u.asks || u.JSON {
		return false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.clear()
	fmt.Fprint(u.err, u.T(format, args...), " ", u.T("[y/N]"), " ")
	line, _ := bufio.NewReader(u.in).ReadString('\n')
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes", "是":
		return true
	}
	return false
}

// Error prints the error that ends the program, and a hint of what to do next if there is one.
func (u *UI) Error(err error, hint string) {
	if u.JSON {
		u.Event("error", map[string]any{"message": err.Error(), "hint": hint})
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.clear()
	fmt.Fprintln(u.err, u.T("husk: error: %s", err))
	if hint != "" {
		fmt.Fprintln(u.err, u.T("      hint: %s", hint))
	}
}

// List prints names and values in two columns.
func (u *UI) List(rows [][]string) {
	t := table.NewWriter()
	style := table.StyleLight
	style.Options = table.Options{}
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	t.SetStyle(style)
	for _, r := range rows {
		t.AppendRow(tableRow(r))
	}
	u.print(t)
}

func (u *UI) print(t table.Writer) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.clear()
	for line := range strings.SplitSeq(t.Render(), "\n") {
		fmt.Fprintln(u.out, strings.TrimRight(line, " "))
	}
}

package convert

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"husk/internal/filelock"
	"husk/internal/ui"
)

// journalMark is appended to the name of what is converted, or made, for the notes of a conversion that is under way.
const journalMark = ".husk-convert"

const (
	journalVersion = 1
	maxJournal     = 1 << 20 // bytes: some lines
)

// step is how far a conversion has come.
type step string

const (
	stepCapture  step = "capture"  // about to be captured, under this name of the image
	stepCaptured step = "captured" // the WIM is complete
	stepVerified step = "verified" // and was read back
	stepBuild    step = "build"    // the target is being made
	stepBuilt    step = "built"    // and is complete
	stepDone     step = "done"     // nothing is left but what was needed on the way
)

// job says which conversion a journal is of.
type job struct {
	Version int    `json:"version"`
	System  string `json:"system"`
	Target  string `json:"target,omitempty"`
	Form    Form   `json:"form"`
	WIM     string `json:"wim"`
	Inside  bool   `json:"inside,omitempty"` // the WIM goes onto the system's own volume
}

// note is a line of the journal.
type note struct {
	Step        step   `json:"step"`
	Name        string `json:"name,omitempty"`        // of the image
	New         bool   `json:"new,omitempty"`         // the WIM is of this conversion alone
	Fingerprint string `json:"fingerprint,omitempty"` // of the system when it was captured
	GUID        string `json:"guid,omitempty"`        // of the WIM; with capture of one that is replaced
	Image       int    `json:"image,omitempty"`
	Layer       string `json:"layer,omitempty"` // of a store: its file
}

// journal is the journal of a conversion: the job, then a line for each step. What is behind the last whole line was cut off and counts as
// never written.
type journal struct {
	f      *os.File
	unlock func()
	size   int64
	notes  []note
}

var errOtherJob = errors.New("another conversion of it was begun and is not finished")

// openJournal opens or starts a journal. One of another job is an error, unless it is to be forgotten.
func openJournal(path string, j job, restart bool) (_ *journal, err error) {
	j.Version = journalVersion
	f, unlock, err := lockedFile(path)
	if err != nil {
		return nil, err
	}
	n := &journal{f: f, unlock: unlock}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.close())
		}
	}()
	text, err := io.ReadAll(io.LimitReader(f, maxJournal))
	if err != nil {
		return nil, err
	}
	text = text[:bytes.LastIndexByte(text, '\n')+1]
	n.size = int64(len(text))
	if len(text) == 0 || restart {
		n.size = 0
		return n, n.write(j)
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	var old job
	if err := dec.Decode(&old); err != nil {
		return nil, fmt.Errorf("%s: not the journal of a conversion: %w", path, err)
	}
	if old != j {
		return nil, ui.Hint(fmt.Errorf("%s: %w: of %s to %s", path, errOtherJob, old.System, old.goal()),
			"finish it with the same command as before, or forget it with --restart")
	}
	for dec.More() {
		var line note
		if err := dec.Decode(&line); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		n.notes = append(n.notes, line)
	}
	return n, nil
}

func (j *job) goal() string {
	if j.Target != "" {
		return j.Target
	}
	return j.WIM
}

// lockedFile opens a file that no other process has.
func lockedFile(path string) (*os.File, func(), error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, nil, err
		}
		unlock, err := filelock.Lock(f)
		if err != nil {
			return nil, nil, errors.Join(ui.Hint(fmt.Errorf("%s: %w", path, err), "another husk converts it: wait until it is done"), f.Close())
		}
		st, err := f.Stat()
		if err != nil {
			unlock()
			return nil, nil, errors.Join(err, f.Close())
		}
		if now, err := os.Stat(path); err == nil && os.SameFile(st, now) {
			return f, unlock, nil
		}
		unlock() // who had it before was done with it, and removed it
		if err := f.Close(); err != nil {
			return nil, nil, err
		}
	}
}

func (n *journal) close() error {
	n.unlock()
	return n.f.Close()
}

// write puts a line behind the last one and makes it durable.
func (n *journal) write(line any) error {
	b, err := json.Marshal(line)
	if err != nil {
		return err
	}
	b = append(b, '\n')
	if err := n.f.Truncate(n.size); err != nil {
		return err
	}
	if _, err := n.f.WriteAt(b, n.size); err != nil {
		return err
	}
	n.size += int64(len(b))
	return n.f.Sync()
}

func (n *journal) add(line note) error {
	n.notes = append(n.notes, line)
	return n.write(line)
}

// last finds the last note of a step.
func (n *journal) last(s step) *note {
	for i := len(n.notes) - 1; i >= 0; i-- {
		if n.notes[i].Step == s {
			return &n.notes[i]
		}
	}
	return nil
}

// forget begins anew within the same job.
func (n *journal) forget(j job) error {
	j.Version = journalVersion
	n.notes, n.size = nil, 0
	return n.write(j)
}

// remove ends the conversion.
func (n *journal) remove() error {
	name := n.f.Name()
	err := os.Remove(name)
	return errors.Join(err, n.close())
}

// absolute is a path that means the same in whatever folder the command is repeated.
func absolute(path string) string {
	if path == "" {
		return ""
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	return abs
}

// readJournal reads the notes of a journal without a lock; nil if there is none.
func readJournal(path string) (*journal, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxJournal))
	if err != nil {
		return nil, err
	}
	lines := bytes.Split(text[:bytes.LastIndexByte(text, '\n')+1], []byte("\n"))
	n := &journal{}
	for _, line := range lines[min(1, len(lines)):] {
		var s note
		if len(line) > 0 && json.Unmarshal(line, &s) == nil {
			n.notes = append(n.notes, s)
		}
	}
	return n, nil
}

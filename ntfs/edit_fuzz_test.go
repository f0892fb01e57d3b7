package ntfs

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"os"
	"testing"

	"husk/winfile"
)

// fuzzChanges makes a change of each kind. Each may fail.
func fuzzChanges(e *Editor) error {
	return errors.Join(
		e.SetPointer("links/linked", pointerOf(9000, wofWIM)),
		e.SetPointer("many/entry-00010-xxxxxxxxxx", pointerOf(10, wofWIM)),
		e.SetCompact("many/entry-00051-xxxxx", pointerOf(51, wofFile), winfile.NewBlob(make([]byte, 5000))),
		e.SetPlain("links/linked", winfile.NewBlob(make([]byte, 20000))),
		e.Replace("streams", winfile.NewBlob(make([]byte, 500))),
		e.Replace("many/entry-00030-xxxxxxx", winfile.NewBlob(make([]byte, 5000))),
		e.Remove("many/entry-00000-"), e.Remove("junction"), e.Remove("object id"), e.Remove("links/a hard link with a long name 3"),
		e.Add("many/new", &winfile.Info{Security: sampleSecurity(5000), Data: winfile.NewBlob(make([]byte, 3000))}),
		e.Add("many/new with a rather long name that takes space in the index", &winfile.Info{}),
		e.Mkdir("directory"), e.Add("directory/x", &winfile.Info{Data: winfile.NewBlob([]byte("x"))}),
	)
}

// FuzzEdit edits damaged volumes: it may refuse, and what it commits can be read.
func FuzzEdit(f *testing.F) {
	name, _ := buildImage(f, sampleTree(60), &BuildOptions{Size: 4 << 20, LogSize: minLogSize})
	sound, err := os.ReadFile(name)
	if err != nil {
		f.Fatal(err)
	}
	blocks := metadataBlocks(f, openBytes(f, sound))
	f.Add([]byte{})
	for i := range blocks {
		f.Add([]byte{byte(i), byte(i >> 8), byte(i*7) & 0xf0, byte(i) & 3, byte(i * 11), 0xff, 0, 0x80, 0, 0, 0, 0})
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		b := bytes.Clone(sound)
		patch(b, blocks, p)
		d := newMemoryDevice(b)
		j := &memoryJournal{}
		e, err := OpenEditor(d, d.size(), j, nil)
		if err != nil {
			return
		}
		err = fuzzChanges(e)
		if len(p) == 0 && err != nil {
			t.Error(err)
		}
		if e.Close() != nil {
			return
		}
		if _, err := NewReader(d, d.size()); err != nil {
			t.Errorf("after the edit: %v", err)
		}
	})
}

// FuzzEditJournal replays whatever has the right checksum.
func FuzzEditJournal(f *testing.F) {
	start := builtDevice(f, sampleTree(60), &BuildOptions{Size: 4 << 20, LogSize: minLogSize})
	d := start.copy()
	var events []traceEvent
	d.trace = &events
	e := openEdit(f, d, &memoryJournal{d: d})
	if err := errors.Join(fuzzChanges(e), e.Close()); err != nil {
		f.Fatal(err)
	}
	for _, ev := range events {
		if ev.kind == 'j' {
			f.Add(ev.data[:len(ev.data)-sha256.Size])
			f.Add(ev.data[:journalHeader+journalChange])
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		sum := sha256.Sum256(body)
		d, j := start.copy(), &memoryJournal{b: append(bytes.Clone(body), sum[:]...)}
		e, err := OpenEditor(d, d.size(), j, nil)
		if err != nil {
			return
		}
		if len(j.b) > 0 {
			t.Error("the journal is still there")
		}
		fuzzChanges(e)
		e.Close()
	})
}

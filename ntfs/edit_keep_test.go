package ntfs

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"husk/winfile"
)

// TestEditKeepsWhatItDoesNotKnow edits a file that has attributes which mean nothing to husk: of transactions, and of a type that no
// Windows has. They stay as they are, wherever they come to lie.
func TestEditKeepsWhatItDoesNotKnow(t *testing.T) {
	e := newEditor(t, sampleVolume(t, 30, &BuildOptions{Size: 8 << 20, LogSize: minLogSize}))
	n := e.find("folder/b")
	strange := []attribute{
		residentAttr(typeLoggedUtilityStream, "$TXF_DATA", 0, bytes.Repeat([]byte{0x5a}, 56)),
		residentAttr(attrType(0xf0), "", 0, bytes.Repeat([]byte{0xa5}, 100)),
	}
	for _, a := range strange {
		e.insert(n, a)
	}
	before := problemsOf(t, openBytes(t, e.b))
	d := newMemoryDevice(e.b)
	streams := &winfile.Info{Streams: []winfile.Stream{{Name: "a", Data: blobOf(strings.Repeat("a", 600))}}}
	for _, step := range []struct {
		name string
		do   func(e *Editor) error
	}{
		{"small", func(e *Editor) error { return e.Replace("folder/b", blobOf(strings.Repeat("x", 300))) }},
		{"pointer", func(e *Editor) error { return e.SetPointer("folder/b", pointerOf(300, wofWIM)) }},
		{"compact", func(e *Editor) error {
			return e.SetCompact("folder/b", pointerOf(300, wofFile), winfile.NewBlob(make([]byte, 5000)))
		}},
		{"plain", func(e *Editor) error { return e.SetPlain("folder/b", blobOf(strings.Repeat("y", 9000))) }},
		{"another file", func(e *Editor) error { return e.Add("folder/c", streams) }},
	} {
		x := openEdit(t, d, &memoryJournal{})
		if err := errors.Join(step.do(x), x.Close()); err != nil {
			t.Fatal(step.name, err)
		}
		_, list, err := openDevice(t, d).baseAttrs(n)
		if err != nil {
			t.Fatal(step.name, err)
		}
		for _, want := range strange {
			found := false
			for _, a := range list {
				found = found || a.typ() == want.typ() && bytes.Equal(a.name(), want.name()) && !a.nonResident() && bytes.Equal(a.value(), want.value())
			}
			if !found {
				t.Errorf("%s: %v is not what it was", step.name, want.typ())
			}
		}
	}
	after := problemsOf(t, openDevice(t, d))
	known := func(list []Problem) (k []Problem) {
		for _, p := range list {
			if p.Code != "attribute-type" && !noChunks(p) {
				k = append(k, p)
			}
		}
		return k
	}
	if len(known(before)) != len(known(after)) {
		t.Errorf("problems after the edit: %v; before: %v", after, before)
	}
	x := openEdit(t, d, &memoryJournal{})
	if err := errors.Join(x.Remove("folder/b"), x.Close()); err != nil {
		t.Fatal(err)
	}
	if list := problemsOf(t, openDevice(t, d)); len(list) > 0 {
		t.Errorf("problems after the file is gone: %v", list)
	}
}

// TestEditJournalAfterRollback replays a transaction whose contents lie where an operation that failed had written before.
func TestEditJournalAfterRollback(t *testing.T) {
	start := sampleDeviceOf(t)
	d := start.copy()
	var events []traceEvent
	d.trace = &events
	e := openEdit(t, d, &memoryJournal{d: d})
	const size = 3 << 20
	if err := e.Replace("streams", &winfile.Blob{Size: size, Content: shortContent(size - 1)}); err == nil {
		t.Fatal("content that ended too early was taken")
	}
	want := strings.Repeat("content", size/7)
	e.nextCluster = 0 // those of the failure are among the first
	if err := errors.Join(e.Replace("streams", blobOf(want)), e.Close()); err != nil {
		t.Fatal(err)
	}
	for i, ev := range events {
		if ev.kind != 'j' {
			continue
		}
		cutOff, j := cut(start, events, i+2, 0, nil)
		x, err := OpenEditor(cutOff, cutOff.size(), j, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := readState(t, x.v)["streams"].data; got != want {
			t.Errorf("%d bytes, want %d", len(got), len(want))
		}
	}
}

// sampleDeviceOf is a volume of 6 MiB with the sample tree.
func sampleDeviceOf(t *testing.T) *memoryDevice {
	t.Helper()
	return newMemoryDevice(sampleVolume(t, 30, &BuildOptions{Size: 6 << 20, LogSize: minLogSize}))
}

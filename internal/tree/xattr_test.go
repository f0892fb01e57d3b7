package tree

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"

	"husk/winfile"
)

func TestEAs(t *testing.T) {
	eas := []winfile.EA{{Name: "EANM", Value: []byte("val")}, {Flags: 0x80, Name: "", Value: nil}, {Name: "LONG", Value: pattern(1, 65535)}}
	b, err := appendEAs(nil, eas)
	if err != nil {
		t.Fatal(err)
	}
	// The first entry, as ntfs-3g accepts it and shows it again.
	if want := []byte("\x10\x00\x00\x00\x00\x04\x03\x00EANM\x00val"); !bytes.HasPrefix(b, want) {
		t.Errorf("%x, want it to start %x", b[:20], want)
	}
	got, err := parseEAs(b)
	if err != nil || len(got) != 3 || got[0].Name != "EANM" || got[1].Flags != 0x80 || !bytes.Equal(got[2].Value, eas[2].Value) {
		t.Errorf("%v, %v", got, err)
	}
	binary.LittleEndian.PutUint32(b[16:], 0) // the API of Windows ends a list so
	if got, err := parseEAs(b); err != nil || len(got) != 2 {
		t.Errorf("ended by 0: %v, %v", got, err)
	}
	for _, bad := range [][]byte{{1}, make([]byte, 8), append([]byte("\x04\x00\x00\x00\x00\x01\x00\x00x\x00"), b...),
		[]byte("\x10\x00\x00\x00\x00\x04\xff\xffEANM\x00val")} {
		if got, err := parseEAs(bad); err == nil {
			t.Errorf("%x gives %v", bad, got)
		}
	}
	for _, bad := range []winfile.EA{{Name: string(make([]byte, 255))}, {Name: "x", Value: make([]byte, 65536)}} {
		if _, err := appendEAs(nil, []winfile.EA{bad}); err == nil {
			t.Errorf("name of %d and value of %d bytes accepted", len(bad.Name), len(bad.Value))
		}
	}
}

// FuzzXattr holds that what is accepted can be written and read again.
func FuzzXattr(f *testing.F) {
	f.Add(xattrAttributes, []byte{0x20, 0, 0, 0})
	f.Add(xattrTimes, make([]byte, 32))
	f.Add(xattrShortName, []byte("LINK1~1\x00dir/f\x00"))
	f.Add(xattrReparse, (&winfile.Reparse{Tag: winfile.TagMountPoint, Data: junction("x")}).Buffer())
	f.Add(xattrObjectID, pattern(1, 64))
	f.Add(xattrEAs, []byte("\x10\x00\x00\x00\x00\x04\x03\x00EANM\x00val\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Add(xattrStream+"name", []byte("content"))
	f.Fuzz(func(t *testing.T, name string, v []byte) {
		e := &winfile.Entry{Name: "f", Info: new(winfile.Info)}
		times, err := setXattr(e, "dir/f", name, v, binary.LittleEndian)
		if err != nil {
			return
		}
		if times != nil {
			e.Info.Created, e.Info.Written, e.Info.Accessed, e.Info.Changed = times[0], times[1], times[2], times[3]
		}
		list, err := xattrsOf(e.Info, 0, e.ShortName, binary.LittleEndian)
		if err != nil {
			return // names of 255 bytes
		}
		if r := e.Info.Reparse; r != nil && name == xattrReparse {
			list = append(list, xattr{xattrReparse, r.Buffer(), ""})
		}
		again := &winfile.Entry{Name: "f", Info: &winfile.Info{Streams: e.Info.Streams}}
		if name == xattrReparseFixed {
			again.Info.Reparse = e.Info.Reparse
		}
		for _, x := range list {
			times, err := setXattr(again, "dir/f", x.name, x.value, binary.LittleEndian)
			if err != nil {
				t.Fatalf("%s %x: %v", x.name, x.value, err)
			}
			if times != nil {
				i := again.Info
				i.Created, i.Written, i.Accessed, i.Changed = times[0], times[1], times[2], times[3]
			}
		}
		if !reflect.DeepEqual(e, again) {
			t.Fatal(cmp.Diff(e, again))
		}
	})
}

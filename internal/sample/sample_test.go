package sample

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"husk/internal/reftool"
	"husk/winfile"
)

// digest covers every name and every field of a tree, and the contents.
func digest(t *testing.T, tr *winfile.Tree) string {
	t.Helper()
	h := sha256.New()
	for path, e := range tr.All() {
		i := e.Info
		fmt.Fprintf(h, "%s|%s|%v|%d %d %d %d|%d %d|%x|%v|", path, e.ShortName, i.Attributes, i.Created, i.Written, i.Accessed, i.Changed, i.Links, i.ID, i.Security, i.Reparse)
		for b := range i.Blobs() {
			data, err := b.ReadAll(64 << 20)
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			fmt.Fprintf(h, "%d %x|", b.Size, sha256.Sum256(data))
		}
		for _, s := range i.Streams {
			fmt.Fprintf(h, "%s|", s.Name)
		}
		if i.Extra != nil {
			fmt.Fprintf(h, "%x|%v", i.Extra.ObjectID, i.Extra.EAs)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

func mustTree(t *testing.T, o Options) *winfile.Tree {
	t.Helper()
	tr, err := Tree(o)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func TestTreesAreTheSameEachTime(t *testing.T) {
	for _, o := range []Options{{Arch: "x64", Extremes: true}, {Arch: "x86"}} {
		if a, b := digest(t, mustTree(t, o)), digest(t, mustTree(t, o)); a != b {
			t.Errorf("%+v: two runs differ", o)
		}
	}
	if _, err := Tree(Options{Arch: "arm64"}); err == nil {
		t.Error("an unknown architecture was accepted")
	}
}

func TestTreeIsSound(t *testing.T) {
	tr := mustTree(t, Options{Extremes: true})
	names := make(map[*winfile.Info]int32)
	shorts := make(map[*winfile.Info]string)
	objects := make(map[string]string)
	for path, e := range tr.All() {
		i := e.Info
		if !winfile.ValidName(e.Name) {
			t.Errorf("%s: name is not valid", path)
		}
		if names[i]++; e.ShortName != "" {
			if old := shorts[i]; old != "" {
				t.Errorf("%s: short names %s and %s of one file", path, old, e.ShortName)
			}
			shorts[i] = e.ShortName
			if !is83(e.ShortName) {
				t.Errorf("%s: short name %q", path, e.ShortName)
			}
		}
		if (i.Reparse != nil) != (i.Attributes&winfile.AttrReparse != 0) {
			t.Errorf("%s: attributes %v, reparse point %v", path, i.Attributes, i.Reparse)
		}
		if x := i.Extra; x != nil && x.ObjectID != nil && names[i] == 1 {
			if other := objects[string(x.ObjectID[:16])]; other != "" {
				t.Errorf("%s and %s have one object id", path, other)
			}
			objects[string(x.ObjectID[:16])] = path
		}
		used := make(map[string]bool)
		for _, c := range e.Children {
			for _, n := range []string{c.Name, c.ShortName} {
				if n != "" && used[winfile.Fold(n)] && n != c.Name {
					t.Errorf("%s: %q twice", path, n)
				}
				used[winfile.Fold(n)] = true
			}
		}
	}
	most := int32(0)
	for i, n := range names {
		if i.Links != n {
			t.Errorf("links %d, want %d", i.Links, n)
		}
		most = max(most, n)
	}
	if most != 1500 {
		t.Errorf("at most %d names, want 1500", most)
	}
	for _, path := range []string{"PROGRA~1", `Program Files (x86)`, "Users/张三/NTUSER.DAT", "Windows/System32/drivers/netio.sys", "Windows/WinSxS"} {
		if tr.Lookup(path) == nil {
			t.Errorf("no %s", path)
		}
	}
	if i := tr.Lookup("Windows/System32/ntdll.dll").Info; i.Links < 9 {
		t.Errorf("ntdll.dll has %d names, want more than 8", i.Links)
	}
}

func TestSystemsShareContent(t *testing.T) {
	sums := make(map[[20]byte]int64)
	var shared, total int64
	for _, arch := range []string{"x64", "x86"} {
		var mu sync.Mutex
		var blobs []*winfile.Blob
		seen := make(map[*winfile.Blob]bool)
		for _, e := range mustTree(t, Options{Arch: arch}).All() {
			for b := range e.Info.Blobs() {
				if !seen[b] {
					seen[b] = true
					blobs = append(blobs, b)
				}
			}
		}
		data := make(map[*winfile.Blob][]byte)
		err := winfile.ReadBlobs(context.Background(), blobs, 2, func(b *winfile.Blob, _ int64, p []byte) error {
			mu.Lock()
			defer mu.Unlock()
			data[b] = append(data[b], p...)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range data {
			sum := sha1.Sum(d)
			if arch == "x86" {
				total += int64(len(d))
				shared += sums[sum]
			}
			sums[sum] = int64(len(d))
		}
	}
	if shared*10 < total*3 {
		t.Errorf("%d of %d bytes of the x86 system are in the x64 one, want 30%%", shared, total)
	}
}

// The bytes are those of the keys in stores made by Windows' bcdboot.
func TestDescriptorIsWhatWindowsWrites(t *testing.T) {
	got := descriptor(sidAdministrators, sidSystem, 0, ace{false, 0, 0xf003f, sidAdministrators}, ace{false, 0, 0xf003f, sidSystem})
	const want = "0100048048000000580000000000000014000000020034000200000000001800" +
		"3f000f0001020000000000052000000020020000000014003f000f0001010000000000051200000001020000000000052000000020020000010100000000000512000000"
	if hex.EncodeToString(got) != want {
		t.Errorf("got  %x\nwant %s", got, want)
	}
}

func TestHivexReadsHives(t *testing.T) {
	for _, path := range []string{"SYSTEM", "SOFTWARE", "SAM", "SECURITY", "DEFAULT"} {
		blob := mustTree(t, Options{}).Lookup("Windows/System32/config/" + path).Info.Data
		data, err := blob.ReadAll(1 << 24)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), path)
		if err := os.WriteFile(file, data, 0o644); err != nil {
			t.Fatal(err)
		}
		reftool.Run(t, "hivexml", file)
		if path == "SOFTWARE" {
			out := reftool.Run(t, "hivexget", file, `\Microsoft\Windows NT\CurrentVersion`, "EditionID")
			if strings.TrimSpace(out) != "Ultimate" {
				t.Errorf("EditionID %q, want Ultimate", out)
			}
		}
	}
}

// pe is a program as mingw-w64 links it: .text, then debug sections, symbols and the string table with their names.
func pe(debugFirst bool) []byte {
	b := make([]byte, 0x3000)
	copy(b, "MZ")
	le := binary.LittleEndian
	le.PutUint32(b[0x3c:], 0x80)
	copy(b[0x80:], "PE\x00\x00")
	le.PutUint16(b[0x86:], 2)
	le.PutUint32(b[0x8c:], 0x2000) // symbols, none; then the string table
	le.PutUint16(b[0x94:], 240)
	section := func(i int, name string, start, size uint32) {
		s := b[0x98+240+40*i:]
		copy(s, name)
		le.PutUint32(s[16:], size)
		le.PutUint32(s[20:], start)
	}
	code, debug := 0, 1
	if debugFirst {
		code, debug = 1, 0
	}
	section(code, ".text", 0x400, 0x1000)
	section(debug, "/4", 0x1400, 0xc00)
	copy(b[0x2004:], ".debug_info\x00")
	return b
}

func TestWithoutDebugSections(t *testing.T) {
	b := pe(false)
	head, end, err := withoutDebug(bytes.NewReader(b), int64(len(b)))
	if err != nil || end != 0x1400 {
		t.Fatalf("end %#x, %v, want 0x1400", end, err)
	}
	if n := binary.LittleEndian.Uint16(head[0x86:]); n != 1 {
		t.Errorf("%d sections left, want 1", n)
	}
	for what, b := range map[string][]byte{
		"debug sections first": pe(true), "not a program": bytes.Repeat([]byte("text "), 100), "tiny": []byte("MZ"),
		"cut": pe(false)[:0x90],
	} {
		if head, _, err := withoutDebug(bytes.NewReader(b), int64(len(b))); head != nil || err != nil {
			t.Errorf("%s: was cut, %v", what, err)
		}
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "a.dll")
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	blob, err := programBlob(path)
	if err != nil {
		t.Fatal(err)
	}
	r, err := blob.Content.OpenBlob(blob)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if err != nil || int64(len(data)) != blob.Size || !bytes.Equal(data[0x1000:], b[0x1000:0x1400]) {
		t.Errorf("%d bytes, %v, want %d", len(data), err, blob.Size)
	}
}

func TestTreeFromUnpackedPackages(t *testing.T) {
	root := t.TempDir()
	for path, data := range map[string][]byte{
		"amd64/usr/lib/wine/x86_64-windows/a.dll": pe(false), "amd64/usr/lib/wine/x86_64-windows/notepad.exe": pe(false),
		"amd64/usr/lib/wine/i386-windows/only-one.dll": pe(false),
		"i386/usr/lib/wine/i386-windows/a.dll":         pe(false), "i386/usr/lib/wine/i386-windows/notepad.exe": pe(false),
		"amd64/usr/share/wine/nls/c_936.nls": []byte("nls"), "amd64/usr/share/wine/wine.inf": []byte(madeUpInf),
	} {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tr := mustTree(t, Options{Wine: root, Arch: "x86"})
	if e := tr.Lookup("Windows/System32/a.dll"); e == nil || e.Info.Size() != 0x1400 {
		t.Errorf("a.dll is %+v", e)
	}
	if _, err := Tree(Options{Wine: t.TempDir()}); err == nil {
		t.Error("an empty folder was accepted")
	}
}

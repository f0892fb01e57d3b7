package regf

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"husk/internal/reftool"
)

// plain is a hive whose names the tools can print.
func plain(t *testing.T) *Hive {
	t.Helper()
	h := rich(t, 5)
	check(t, h.Root().Delete("名字"))
	check(t, must(h.Root().Lookup(`Types\All`))(t).DeleteValue("é"))
	return h
}

// content is what a .reg file can hold of a hive, in the order of ours: paths, names, types and bytes.
func content(t *testing.T, h *Hive) string {
	t.Helper()
	var b strings.Builder
	for k, err := range h.Root().All() {
		check(t, err)
		fmt.Fprintf(&b, "[%q]\n", strings.ToLower(k.Path()))
		values := make(map[string]string)
		for _, v := range must(k.Values())(t) {
			values[v.Name] = fmt.Sprintf("%d %x", v.Type, v.Data)
		}
		fmt.Fprintf(&b, "%q\n", values) // fmt sorts keys
	}
	return b.String()
}

// libregf sees every key and value of ours, in our order.
func TestRegfinfoReadsOurs(t *testing.T) {
	for _, minor := range []uint32{3, 5} {
		h := plain(t)
		h.Minor = minor
		var want strings.Builder
		for k, err := range h.Root().All() {
			check(t, err)
			depth := 0
			if k.Path() != "" {
				depth = 1 + strings.Count(k.Path(), `\`)
			}
			fmt.Fprintf(&want, "%*s(key:) %s\n", depth, "", k.Name())
			for i, v := range must(k.Values())(t) {
				fmt.Fprintf(&want, "%*s(value: %d) %s\n", depth+1, "", i, strings.TrimSpace(v.Name))
			}
		}
		out := reftool.Run(t, "regfinfo", write(t, must(h.Bytes())(t)))
		_, got, _ := strings.Cut(out, "Key hierarchy\n")
		clean := func(s string) []string {
			var lines []string
			for l := range strings.Lines(s) {
				if l = strings.TrimRight(l, "\r\n "); l != "" {
					lines = append(lines, strings.Replace(l, "(default)", "", 1))
				}
			}
			return lines
		}
		g, w := clean(got), clean(want.String())
		for i := range max(len(g), len(w)) {
			if i >= len(g) || i >= len(w) || strings.TrimRight(g[i], " ") != strings.TrimRight(w[i], " ") {
				t.Fatalf("1.%d: line %d of %d: %q, want %q", minor, i, len(g), g[min(i, len(g)-1)], w[min(i, len(w)-1)])
			}
		}
		if !strings.Contains(out, fmt.Sprintf("1.%d", minor)) {
			t.Errorf("regfinfo says\n%.300s", out)
		}
	}
}

// What hivexregedit exports of a hive of ours is the hive, and what it imports of that is it, too.
func TestHivexregedit(t *testing.T) {
	h := plain(t)
	exported := func() string {
		t.Helper()
		theirs := reftool.Run(t, "hivexregedit", "--export", "--prefix", prefix, write(t, must(h.Bytes())(t)), `\`)
		theirs = strings.Replace(theirs, "["+prefix+`\]`, "["+prefix+"]", 1) // as it writes the root
		if got, want := content(t, imported(t, []byte(theirs))), content(t, h); got != want {
			t.Errorf("its export has\n%.2000s\nwant\n%.2000s", got, want)
		}
		return theirs
	}
	exported()
	all := must(h.Root().Lookup(`Types\All`))(t)
	for _, v := range slices.Clone(must(all.Values())(t)) {
		if len(v.Data) >= segmentSize-1 {
			check(t, all.DeleteValue(v.Name)) // it cannot write those
		}
	}
	reg := filepath.Join(t.TempDir(), "reg")
	check(t, os.WriteFile(reg, []byte(exported()), 0o600))
	empty := write(t, must(must(New(5, "ROOT"))(t).Bytes())(t))
	reftool.Run(t, "hivexregedit", "--merge", "--prefix", prefix, empty, reg)
	merged := must(Open(empty))(t)
	if got, want := content(t, merged), content(t, h); got != want {
		t.Errorf("what it imported has\n%.2000s\nwant\n%.2000s", got, want)
	}
	for _, p := range damage(merged.Check()) {
		t.Errorf("hivexregedit leaves: %v", p)
	}
}

// TestForeignHive reads a hive that hivexregedit made of the .reg file beside it, in a hive that was empty.
func TestForeignHive(t *testing.T) {
	h := must(Open("testdata/hivex.hive"))(t)
	reg := must(os.ReadFile("testdata/hivex.reg"))(t)
	if got, want := content(t, h), content(t, imported(t, reg)); got != want {
		t.Errorf("it has\n%s\nwant\n%s", got, want)
	}
	for _, p := range damage(h.Check()) {
		t.Error(p)
	}
	again := must(Parse(must(h.Bytes())(t)))(t)
	if content(t, again) != content(t, h) {
		t.Error("written again it differs")
	}
	if p := again.Check(); len(p) > 0 {
		t.Error(p)
	}
}

// TestListOfLists: a list of lists may not have another one in it.
func TestListOfLists(t *testing.T) {
	h := must(New(5, "ROOT"))(t)
	for i := range 1200 { // more than one list holds
		must(h.root.Create(fmt.Sprintf("k%04d", i)))(t)
	}
	b := must(h.Bytes())(t)
	ri := bytes.Index(b, []byte("ri\x03\x00"))
	if ri < 0 {
		t.Fatal("no list of three lists")
	}
	if keys := must(must(Parse(b))(t).Root().Subkeys())(t); len(keys) != 1200 {
		t.Fatalf("%d keys", len(keys))
	}
	for _, kind := range []string{"ri", "li"} {
		c := bytes.Clone(b)
		leaf := pageSize + int(le.Uint32(c[ri+4:])) + 4
		copy(c[leaf:], kind) // its entries of 8 bytes become twice as many of 4, hashes among them
		bad := must(Parse(c))(t)
		_, err := bad.Root().Subkeys()
		if err == nil || kind == "ri" && !strings.Contains(err.Error(), "ri below ri") {
			t.Errorf("%s: %v", kind, err)
		}
		if len(bad.Check()) == 0 {
			t.Errorf("%s: Check finds nothing", kind)
		}
	}
	c := bytes.Clone(b)
	copy(c[ri+4:ri+8], c[ri+8:ri+12])
	if bad := must(Parse(c))(t); len(bad.Check()) == 0 {
		t.Error("a list twice: Check finds nothing")
	}
}

// TestLogEntryHashes: an entry of a log whose header or pages do not have their hash is the end of the log.
func TestLogEntryHashes(t *testing.T) {
	v := versions(t)
	d := dirty(v[0], 6, 5)
	for _, tt := range []struct {
		off  int // byte that is changed
		used bool
	}{
		{8, false},  // flags: nothing but the hash of the header has them
		{24, false}, // hash of the pages
		{32, false}, // hash of the header
		{39, false}, // its last byte
		{entryHeader + 8, false},
		{-1, true},
	} {
		e := newEntry(v[0], v[1], 5)
		if tt.off >= 0 {
			e[tt.off] ^= 0x10
		}
		h := must(Parse(d, newLog(d, 5, e)))(t)
		want := v[0]
		if tt.used {
			want = v[1]
		}
		if h.Recovery.Complete != tt.used || !bytes.Equal(h.bins, want[pageSize:]) {
			t.Errorf("byte %d changed: %+v", tt.off, h.Recovery)
		}
	}
}

package regf

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"husk/internal/reftool"
	"husk/winfile"
)

const stamp = 0x01db15f6d4ebad35

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// dump lists everything that a hive means.
func dump(t testing.TB, h *Hive) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "%s 1.%d %d\n", h.FileName, h.Minor, h.Written)
	for k, err := range h.Root().All() {
		check(t, err)
		class := must(k.Class())(t)
		sd := must(k.Security())(t)
		fmt.Fprintf(&b, "[%q %q] flags %#x written %d access %#x user %#x debug %#x class %x security %x\n",
			k.Path(), k.Name(), k.Flags, k.Written, k.Access, k.UserFlags, k.Debug, class, sd)
		for _, v := range must(k.Values())(t) {
			fmt.Fprintf(&b, "  %q %v %#x %x\n", v.Name, v.Type, v.flags, v.Data)
		}
	}
	return b.String()
}

// rich is a hive with something of everything.
func rich(t testing.TB, minor uint32) *Hive {
	t.Helper()
	h := must(New(minor, "ROOT"))(t)
	h.FileName, h.Written, h.Now = `\SystemRoot\System32\Config\A hive with a long name`, stamp, stamp
	r := h.Root()
	many := must(r.Create("Many"))(t)
	for i := range 1500 {
		k := must(many.Create(fmt.Sprintf("key%d", (i*7)%1500)))(t)
		check(t, k.SetDWord("n", uint32((i*7)%1500)))
	}
	types := must(r.Create(`Types\All`))(t)
	check(t, types.SetSZ("", "default"))
	check(t, types.SetSZ("sz", `text with "quotes" and \ and 中文`))
	check(t, types.SetExpandSZ("expand", `%SystemRoot%\x`))
	check(t, types.SetMultiSZ("multi", "a", "b c", "中"))
	check(t, types.SetDWord("dword", 0xdeadbeef))
	check(t, types.SetQWord("qword", 1<<40))
	check(t, types.SetBinary("empty", nil))
	check(t, types.SetBinary("one", []byte{1}))
	check(t, types.SetBinary("four", []byte{1, 2, 3, 4}))
	check(t, types.SetBinary("five", []byte{1, 2, 3, 4, 5}))
	check(t, types.Set("be", DWordBE, []byte{0, 0, 1, 2}))
	check(t, types.Set("link", Link, winfile.AppendUTF16LE(nil, `\Registry\Machine\X`)))
	check(t, types.Set("none", None, []byte("x")))
	check(t, types.Set("odd type", 0xffff0010, []byte{9, 8}))
	check(t, types.Set("unclean", SZ, []byte("a\x00b\x00\x00\x00c")))
	check(t, types.Set("é", ResourceList, bytes.Repeat([]byte{3}, 100)))
	for _, n := range []int{segmentSize - 1, segmentSize, segmentSize + 1, 2 * segmentSize, 3*segmentSize + 77, 1 << 20} {
		check(t, types.SetBinary(fmt.Sprintf("big %d", n), pattern(n)))
	}
	names := must(r.Create("名字"))(t)
	must(names.Create("Ärger"))(t)
	must(names.Create("ÿ"))(t)
	must(names.Create("\xed\xa0\x80 lone"))(t)
	must(names.Create(strings.Repeat("长", maxName)))(t)
	must(names.Create("😀 smile"))(t)
	special := must(r.Create(`Special`))(t)
	check(t, special.SetClass(winfile.AppendUTF16LE(nil, "1f2e3d4c")))
	special.Flags |= KeySymlink | 0x1000
	special.Access, special.UserFlags, special.Debug = 0x0201, 0x84, 3
	sd := AdminFull()
	sd[32] = 0x19
	check(t, special.SetSecurity(sd))
	must(special.Create(`Below\It`))(t)
	return h
}

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return b
}

// reread writes a hive and reads it again; the file must have no problem.
func reread(t testing.TB, h *Hive) *Hive {
	t.Helper()
	b := must(h.Bytes())(t)
	got := must(Parse(b))(t)
	for _, p := range got.Check() {
		t.Errorf("%v", p)
	}
	return got
}

// The bytes are those of a hive that hivex, reglookup and libregf read without complaint.
func TestEmptyHiveGolden(t *testing.T) {
	h := must(New(5, "ROOT"))(t)
	h.Written = stamp
	h.root.Written = stamp
	got := must(h.Bytes())(t)
	want := make([]byte, 8192)
	put := func(off int, s string) {
		b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
		check(t, err)
		copy(want[off:], b)
	}
	const ft = "35adebd4f615db01"
	put(0, "72656766 01000000 01000000"+ft+"01000000 05000000 00000000 01000000 20000000 00100000 01000000")
	put(0x1fc, "95cd57b3")
	put(0x1000, "6862696e 00000000 00100000 0000000000000000"+ft)
	put(0x1020, "a8ffffff 6e6b 2c00"+ft+"00000000 ffffffff 00000000 00000000 ffffffff ffffffff 00000000 ffffffff 78000000 ffffffff"+
		strings.Repeat("00000000", 5)+"0400 0000 524f4f54")
	put(0x1078, "80ffffff 736b 0000 78000000 78000000 01000000 64000000 01000480 48000000 58000000 00000000 14000000 02003400 02000000 00001800"+
		"3f000f00 01020000 00000005 20000000 20020000 00001400 3f000f00 01010000 00000005 12000000 01020000 00000005 20000000 20020000 01010000 00000005 12000000")
	put(0x10f8, "080f0000")
	if !bytes.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", hex.Dump(got[:0x1100]), hex.Dump(want[:0x1100]))
	}
}

func TestNameHash(t *testing.T) {
	for name, want := range map[string]uint32{"Description": 0xcec53364, "Objects": 0x4aae45ee} {
		if got := nameHash(name); got != want {
			t.Errorf("%s: %#x, want %#x", name, got, want)
		}
	}
	if got := string(fmt.Sprint(nameHint("ab"), nameHint("abcdef"), nameHint("a中"))); got != "[97 98 0 0] [97 98 99 100] [0 0 0 0]" {
		t.Errorf("hints %s", got)
	}
}

func TestCompareNames(t *testing.T) {
	names := []string{"", "A", "a0", "AB", "b", "É", "ÿ", "Ā", "é中", "中", "😀", "\xed\xa0\x80", "Z_", "Za", "z`"}
	for _, a := range names {
		for _, b := range names {
			x, y := winfile.UTF16FromName(a), winfile.UTF16FromName(b)
			up := winfile.UpCase()
			for i := range x {
				x[i] = up[x[i]]
			}
			for i := range y {
				y[i] = up[y[i]]
			}
			want := 0
			for i := 0; i < min(len(x), len(y)) && want == 0; i++ {
				want = int(x[i]) - int(y[i])
			}
			if want == 0 {
				want = len(x) - len(y)
			}
			if got := compareNames(a, b); sign(got) != sign(want) {
				t.Errorf("%q and %q: %d, want %d", a, b, got, want)
			}
		}
		if got := nameUnits(a); got != len(winfile.UTF16FromName(a)) {
			t.Errorf("%q: %d units", a, got)
		}
	}
}

func sign(n int) int { return min(1, max(-1, n)) }

func TestRoundTrip(t *testing.T) {
	for _, minor := range []uint32{3, 4, 5, 6} {
		h := rich(t, minor)
		h.FileName = "A hive with a name"
		got := reread(t, h)
		if d := cmp.Diff(dump(t, h), dump(t, got)); d != "" {
			t.Fatalf("1.%d: %s", minor, d)
		}
		got.Now = 0
		if again := reread(t, got); again.Sequence != 2 || dump(t, again) != dump(t, got) {
			t.Errorf("1.%d: the second writing differs, sequence %d", minor, again.Sequence)
		}
		if a, b := must(h.Bytes())(t), must(h.Bytes())(t); !bytes.Equal(a, b) {
			t.Errorf("1.%d: two writings differ", minor)
		}
	}
}

func TestLookupAndChange(t *testing.T) {
	h := reread(t, rich(t, 5))
	r := h.Root()
	if k := must(r.Lookup(`mANY\KEY777`))(t); k.Path() != `Many\key777` {
		t.Errorf("path %q", k.Path())
	}
	if k := must(r.Lookup(`名字\ärger`))(t); k.Name() != "Ärger" {
		t.Errorf("name %q", k.Name())
	}
	if s := must(r.Text(`types\all`, "EXPAND"))(t); s != `%SystemRoot%\x` {
		t.Errorf("expand %q", s)
	}
	if s := must(r.Text(`types\all`, "unclean"))(t); s != "ab" {
		t.Errorf("unclean %q", s)
	}
	if s := must(r.Strings(`types\all`, "multi"))(t); cmp.Diff(s, []string{"a", "b c", "中"}) != "" {
		t.Errorf("multi %q", s)
	}
	for name, want := range map[string]uint64{"dword": 0xdeadbeef, "be": 0x102, "qword": 1 << 40} {
		if n := must(r.Uint(`types\all`, name))(t); n != want {
			t.Errorf("%s %#x, want %#x", name, n, want)
		}
	}
	if _, err := r.Uint(`types\all`, "sz"); err == nil {
		t.Error("a string was read as a number")
	}
	for _, f := range []func() error{
		func() error { _, err := r.Lookup("Many\\no"); return err },
		func() error { _, err := r.Text("Types", "no"); return err },
		func() error { return r.Delete("no") },
		func() error { return r.DeleteValue("no") },
	} {
		if err := f(); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v, want %v", err, fs.ErrNotExist)
		}
	}
	many := must(r.Lookup("Many"))(t)
	for i := range 1490 {
		check(t, many.Delete(fmt.Sprintf("KEY%d", i)))
	}
	must(many.Create(`new\below`))(t)
	all := must(r.Lookup(`Types\All`))(t)
	check(t, all.DeleteValue("BIG 1048576"))
	check(t, all.SetSZ("DWORD", "now a string"))
	check(t, must(r.Lookup("Special"))(t).Rename("Aspecial"))
	if err := must(r.Lookup("Aspecial"))(t).Rename("many"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("rename onto another key: %v", err)
	}
	got := reread(t, h)
	if dump(t, got) != dump(t, h) {
		t.Error(cmp.Diff(dump(t, h), dump(t, got)))
	}
	if n := len(must(must(got.Root().Lookup("many"))(t).Subkeys())(t)); n != 11 {
		t.Errorf("%d subkeys, want 11", n)
	}
	if v := must(must(got.Root().Lookup(`Types\All`))(t).Value("dword"))(t); v.Name != "dword" || v.Type != SZ {
		t.Errorf("replaced value %+v", v)
	}
	if k := must(must(got.Root().Subkeys())(t), nil)(t)[0]; k.Name() != "Aspecial" {
		t.Errorf("first key %q", k.Name())
	}
}

func TestRefusals(t *testing.T) {
	h := must(New(5, "ROOT"))(t)
	for _, name := range []string{"", `a\b`, strings.Repeat("x", 256), "\xff"} {
		if _, err := h.root.add(name); err == nil {
			t.Errorf("key %q was made", name)
		}
	}
	if err := h.root.Set("\xff", SZ, nil); err == nil {
		t.Error("a value with a broken name was made")
	}
	if err := h.root.SetSecurity([]byte{1, 2, 3}); err == nil {
		t.Error("a broken descriptor was taken")
	}
	if _, err := h.root.Create(strings.Repeat(`a\`, maxDepth+1)); err == nil {
		t.Error("too deep a key was made")
	}
	if _, err := New(2, "x"); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("version 1.2: %v", err)
	}
	if _, err := Parse(make([]byte, 8192)); !errors.Is(err, ErrNotHive) {
		t.Errorf("zeros: %v", err)
	}
}

// Each damage must be told by Check at its place, and by reading what it concerns; the rest stays readable.
func TestDamage(t *testing.T) {
	h := must(New(5, "ROOT"))(t)
	a := must(h.root.Create("A"))(t)
	check(t, a.SetSZ("v", "some text"))
	check(t, a.SetBinary("big", pattern(40000)))
	must(h.root.Create("B"))(t)
	must(h.root.Create("C"))(t)
	check(t, h.root.SetSZ("of the root", "text"))
	clean := must(h.Bytes())(t)
	find := func(s string) int { return bytes.Index(clean[pageSize:], []byte(s)) + pageSize }
	nkA := find("A\x00\x00\x00") - keySize
	if string(clean[nkA:nkA+2]) != "nk" {
		t.Fatal("no key A")
	}
	list := find("lh")
	sk := find("sk\x00\x00")
	for _, tt := range []struct {
		name  string
		off   int
		bytes string
		want  string // part of a problem
		reads bool   // the tree can still be read
	}{
		{"signature of a key", nkA, "xx", `key cell at`, false},
		{"parent", nkA + 16, "\x00\x00\x00\x00", "parent 0x0, want 0x20 (key \"A\")", true},
		{"free cell", nkA - 4, "\x58\x00\x00\x00", "free cell of 88 bytes", false},
		{"size of a cell", nkA - 4, "\x01\x00\x00\x80", "want a multiple of 8", false},
		{"security", nkA + 44, "\xff\xff\xff\xff", "security cell", false},
		{"hash", list + 8, "\x00", `hash of "A" 0x`, true},
		{"a key twice", list + 12, string(clean[list+4 : list+8]), "belongs to something else too", false},
		{"absurd count", list + 2, "\xff\xff", "65535 entries", false},
		{"list kind", list, "zz", "want lf, lh, li or ri", false},
		{"list of itself", list, "ri", "want", false},
		{"references", sk + 12, "\x05", "5 references, want 4", true},
		{"ring", sk + 4, "\x20\x00\x00\x00", "no security cell", true},
		{"descriptor", sk + 20 + 16, "\xff\xff", "DACL at", true},
		{"descriptor size", sk + 16, "\xff\xff\xff", "descriptor of", false},
		{"name of a key", nkA + 72, "\xff\xff", "name of 65535 bytes", false},
		{"values", nkA + 36, "\xff\xff\xff\xff", "4294967295 values", false},
		{"subkeys", 0x1024 + 20, "\x09", "9 subkeys, the lists have 3", true},
		{"bin", 0x1000, "x", "want hbin", true},
		{"bin offset", 0x1004, "\x01", "own offset 0x1, want 0x0", true},
		{"bin size", 0x1008, "\x01", "size 0x1001", true},
		{"segments", find("db\x03"), "db\x02", "2 segments, want 3", false},
		{"longest value", nkA + 64, "\x00\x00\x00\x00", "longest value 0 bytes, want 40000 or more", true},
		{"value", find("vk"), "kk", "want at least 20 and vk", false},
		{"order", list + 4, string(clean[list+12:list+16]) + string(clean[list+16:list+20]) + string(clean[list+4:list+12]), "want ascending names", true},
	} {
		b := bytes.Clone(clean)
		copy(b[tt.off:], tt.bytes)
		h, err := Parse(b)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		found := false
		problems := h.Check()
		for _, p := range problems {
			found = found || strings.Contains(p.String(), tt.want)
		}
		if !found {
			t.Errorf("%s: %v, want one with %q", tt.name, problems, tt.want)
		}
		_, err = h.Bytes()
		if (err == nil) != tt.reads {
			t.Errorf("%s: read with %v, want %t", tt.name, err, tt.reads)
		}
		var f *FormatError
		if err != nil && !errors.As(err, &f) {
			t.Errorf("%s: %v is no FormatError", tt.name, err)
		}
		if s, err := h.Root().Text("", "of the root"); (err != nil || s != "text") && tt.name != "value" {
			t.Errorf("%s: the root has %q, %v", tt.name, s, err)
		}
	}
	for off, what := range map[int]string{0x14: "version", 0x18: "version", 0x20: "file format", 0x1c: "file type", 0x28: "bins", 0x24: "key cell"} {
		b := baseBlock(bytes.Clone(clean))
		b[off] += 9
		b.seal()
		if _, err := Parse(b); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("base block %#x: %v, want %s", off, err, what)
		}
	}
}

// The paths of keys far down are told in part.
func TestProblemsAreShort(t *testing.T) {
	h := must(New(5, "ROOT"))(t)
	k := must(h.root.Create(strings.Repeat(strings.Repeat("n", 255)+`\`, 100) + "end"))(t)
	check(t, k.SetSZ("v", "some text"))
	b := must(h.Bytes())(t)
	copy(b[bytes.Index(b, []byte("vk")):], "xx")
	p := damage(must(Parse(b))(t).Check())
	if len(p) != 1 || len(p[0].Text) > 1000 || !strings.Contains(p[0].Text, `…\\nnn`) || !strings.HasSuffix(p[0].Text, `nnn\\end")`) {
		t.Error(p)
	}
}

func write(t testing.TB, b []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "hive")
	check(t, os.WriteFile(name, b, 0o644))
	return name
}

func TestHivexReadsOurs(t *testing.T) {
	for _, minor := range []uint32{3, 5} {
		h := rich(t, minor)
		check(t, must(h.Root().Lookup("名字"))(t).Delete("\xed\xa0\x80 lone")) // hivexml ends at names that are not UTF-16
		name := write(t, must(h.Bytes())(t))
		xml := reftool.Run(t, "hivexml", name)
		for _, want := range []string{`<node name="key1499">`, `<node name="名字">`, `type="int32" key="n" value="1499"`, `type="string" key="sz"`} {
			if !strings.Contains(xml, want) {
				t.Errorf("1.%d: no %s", minor, want)
			}
		}
		if n := strings.Count(xml, "<node "); n != 1512 {
			t.Errorf("1.%d: %d keys, want 1512", minor, n)
		}
		joined := strings.ReplaceAll(xml, "\r\n", "")
		for _, n := range []int{segmentSize, 2 * segmentSize, 1 << 20} {
			if want := fmt.Sprintf(`key="big %d" value="%s"`, n, base64.StdEncoding.EncodeToString(pattern(n))); !strings.Contains(joined, want) {
				t.Errorf("1.%d: big data of %d bytes differs", minor, n)
			}
		}
	}
}

func TestReglookupReadsOurs(t *testing.T) {
	name := write(t, must(rich(t, 5).Bytes())(t))
	out := reftool.Run(t, "reglookup", name)
	for line := range strings.Lines(out) {
		if strings.Contains(line, "ERROR") || strings.Contains(line, "WARN") && !strings.Contains(line, "converting") && !strings.Contains(line, "quoting") {
			t.Errorf("complaint: %.300s", line)
		}
	}
	for _, want := range []string{"/Many/key1499/n,DWORD,0x000005DB", "/Types/All/be,DWORD_BE,0x00000102"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %s", want)
		}
	}
}

func TestManyKeys(t *testing.T) {
	const n = 100_001
	h := must(New(5, "ROOT"))(t)
	for _, i := range rand.New(rand.NewPCG(1, 2)).Perm(n) {
		must(h.root.Create(fmt.Sprintf("k%06d", i)))(t)
	}
	got := reread(t, h)
	keys := must(got.root.Subkeys())(t)
	if len(keys) != n || keys[77].Name() != "k000077" {
		t.Fatalf("%d keys", len(keys))
	}
	out := reftool.Run(t, "reglookup", "-t", "KEY", write(t, must(h.Bytes())(t)))
	if c := strings.Count(out, "/k"); c != n {
		t.Errorf("reglookup sees %d keys, want %d", c, n)
	}
}

// hivexsh edits a hive of ours; we read what it made.
func TestHivexEditsOurs(t *testing.T) {
	name := write(t, must(rich(t, 5).Bytes())(t))
	script := filepath.Join(t.TempDir(), "script")
	var more strings.Builder
	for i := range 1200 {
		fmt.Fprintf(&more, "add sub%d\n", i*7%1200)
	}
	check(t, os.WriteFile(script, []byte(`cd \Types\All
setval 2
@
string:changed
new
hex:1:2d,4e,87,65,20,00,74,00,00,00
cd \Many\key77
del
cd \Many
setval 1
n
dword:5
cd \
add Added
cd Added
add Below
setval 1
list
hex:7:61,00,00,00,62,00,00,00,00,00
`+more.String()+"commit\n"), 0o644))
	reftool.Run(t, "hivexsh", "-w", "-f", script, name)
	h := must(Open(name))(t)
	if _, err := h.Root().Lookup(`Many\key77`); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("key77: %v", err)
	}
	must(h.Root().Lookup(`Many\key78`))(t)
	k := must(h.Root().Lookup(`Types\All`))(t)
	if s := must(k.Text("", ""))(t); s != "changed" {
		t.Errorf("default value %q", s)
	}
	if s := must(k.Text("", "new"))(t); s != "中文 t" {
		t.Errorf("new value %q", s)
	}
	must(h.Root().Lookup(`Added\Below`))(t)
	if keys := must(must(h.Root().Lookup(`Added`))(t).Subkeys())(t); len(keys) != 1201 || keys[1200].Name() != "sub999" {
		t.Errorf("%d keys below Added", len(keys))
	}
	if l := must(h.Root().Strings(`Added`, "list"))(t); cmp.Diff(l, []string{"a", "b"}) != "" {
		t.Errorf("list %q", l)
	}
	for _, p := range damage(h.Check()) {
		t.Errorf("hivex leaves: %v", p)
	}
	h.Now = 0
	if got := reread(t, h); dump(t, got) != dump(t, h) {
		t.Error("what hivex made does not round-trip")
	}
}

// xmlNode is a key as hivexml prints it.
type xmlNode struct {
	Name   string     `xml:"name,attr"`
	Nodes  []xmlNode  `xml:"node"`
	Values []xmlValue `xml:"value"`
}

type xmlValue struct {
	Type     string `xml:"type,attr"`
	Encoding string `xml:"encoding,attr"`
	Key      string `xml:"key,attr"`
	Value    string `xml:"value,attr"`
	Strings  []struct {
		Text string `xml:",chardata"`
	} `xml:"string"`
}

// sameAsHivex compares a key with what hivexml says of it, names, numbers, strings and bytes.
func sameAsHivex(t *testing.T, k *Key, n xmlNode) (values int) {
	t.Helper()
	theirs := make(map[string]xmlValue)
	for _, v := range n.Values {
		theirs[v.Key] = v
	}
	for _, v := range must(k.Values())(t) {
		x, ok := theirs[v.Name]
		if !ok {
			t.Errorf("%s: hivex has no value %q", k.Path(), v.Name)
			continue
		}
		values++
		var got string
		switch {
		case x.Encoding == "base64":
			got = base64.StdEncoding.EncodeToString(v.Data)
			x.Value = strings.NewReplacer("\r", "", "\n", "").Replace(x.Value)
		case v.Type == MultiSZ:
			list := must(v.Strings())(t)
			got = strings.Join(list, "|")
			var s []string
			for _, e := range x.Strings {
				s = append(s, e.Text)
			}
			x.Value = strings.TrimSuffix(strings.Join(s, "|"), "|") // it lists the empty string at the end too
		case v.Type == DWord, v.Type == DWordBE, v.Type == QWord:
			got = fmt.Sprint(must(v.Uint())(t))
			if v.Type == DWord {
				got = fmt.Sprint(int32(must(v.Uint())(t)))
			}
		default:
			got, _ = v.Text()
		}
		if got != x.Value {
			t.Errorf("%s %q %v: %.60q, hivex has %.60q", k.Path(), v.Name, v.Type, got, x.Value)
		}
	}
	keys := must(k.Subkeys())(t)
	if len(keys) != len(n.Nodes) {
		t.Errorf("%s: %d subkeys, hivex has %d", k.Path(), len(keys), len(n.Nodes))
		return values
	}
	for i, c := range keys {
		if c.Name() != n.Nodes[i].Name {
			t.Errorf("%s: subkey %q, hivex has %q", k.Path(), c.Name(), n.Nodes[i].Name)
		}
		values += sameAsHivex(t, c, n.Nodes[i])
	}
	return values
}

func TestSameAsHivex(t *testing.T) {
	h := rich(t, 5)
	check(t, must(h.Root().Lookup("名字"))(t).Delete("\xed\xa0\x80 lone"))
	file := write(t, must(h.Bytes())(t))
	var top struct {
		Node xmlNode `xml:"node"`
	}
	check(t, xml.Unmarshal([]byte(reftool.Run(t, "hivexml", file)), &top))
	if n := sameAsHivex(t, must(Open(file))(t).Root(), top.Node); n != 1522 {
		t.Errorf("%d values compared, want 1522", n)
	}
}

// TestManyKeysChange: finding keys by an index stays right when keys go and come.
func TestManyKeysChange(t *testing.T) {
	h := must(New(5, "ROOT"))(t)
	for i := range 3 * indexFrom {
		must(h.root.Create(string(rune('a'+i%26)) + string(rune('z'-i/26))))(t)
	}
	must(h.root.Create("0"))(t) // out of order: an index from here on
	must(h.root.Subkey("cz"))(t)
	check(t, h.root.Delete("cz"))
	if k, err := h.root.Subkey("CZ"); err == nil {
		t.Errorf("%s is still there", k.Path())
	}
	k := must(h.root.Create("cz"))(t)
	check(t, k.Rename("other"))
	if _, err := h.root.Subkey("cz"); err == nil {
		t.Error("found by the name that it had")
	}
	must(h.root.Subkey("OTHER"))(t)
}

// TestValueFlags: a flag of a value that is not of its name (a tombstone of layered hives) stays until the value is set.
func TestValueFlags(t *testing.T) {
	const tombstone = 2
	h := must(New(6, "ROOT"))(t)
	check(t, h.root.SetSZ("gone", ""))
	h.root.values[0].flags = tombstone
	again := must(Parse(must(h.Bytes())(t)))(t)
	v := must(again.root.Value("gone"))(t)
	if v.flags != tombstone {
		t.Errorf("flags %#x, want %#x", v.flags, tombstone)
	}
	check(t, again.root.SetSZ("gone", "back"))
	again = must(Parse(must(again.Bytes())(t)))(t)
	if v := must(again.root.Value("gone"))(t); v.flags != 0 {
		t.Errorf("flags %#x of a value that was set", v.flags)
	}
}

// TestRootFlag: hives whose root key does not say so boot; written, it says so.
func TestRootFlag(t *testing.T) {
	b := must(must(New(5, "ROOT"))(t).Bytes())(t)
	root := pageSize + binHeader + 4
	if string(b[root:root+2]) != "nk" {
		t.Fatalf("%q", b[root:root+2])
	}
	b[root+2] &^= byte(KeyRoot)
	h := must(Parse(b))(t)
	if len(h.Check()) == 0 {
		t.Error("Check does not tell")
	}
	if p := must(Parse(must(h.Bytes())(t)))(t).Check(); len(p) > 0 {
		t.Error(p)
	}
}

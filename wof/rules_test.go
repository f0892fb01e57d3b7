package wof

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"husk/capconf"
	"husk/winfile"
)

// file describes a file of a test tree.
type file struct {
	path string
	info *winfile.Info
}

// plainInfo is an ordinary file with content s.
func plainInfo(s string) *winfile.Info {
	return &winfile.Info{Attributes: winfile.AttrArchive, Links: 1, Data: winfile.NewBlob([]byte(s))}
}

func makeTree(files ...file) *winfile.Tree {
	dir := func(name string) *winfile.Entry {
		return &winfile.Entry{Name: name, Info: &winfile.Info{Attributes: winfile.AttrDirectory, Links: 1}}
	}
	t := &winfile.Tree{Root: dir("")}
	for _, f := range files {
		e := t.Root
		parts := strings.Split(f.path, "/")
		for _, p := range parts[:len(parts)-1] {
			c := e.Child(p)
			if c == nil {
				c = dir(p)
				e.Children = append(e.Children, c)
			}
			e = c
		}
		e.Children = append(e.Children, &winfile.Entry{Name: parts[len(parts)-1], Info: f.info})
	}
	return t
}

// fakeWIM has every blob that was put into it.
type fakeWIM map[winfile.SHA1]Resource

func (w fakeWIM) Lookup(h winfile.SHA1) (Resource, bool) {
	r, ok := w[h]
	return r, ok
}

func (w fakeWIM) put(b *winfile.Blob, change func(*Resource)) {
	r := Resource{
		DataSourceID: 3,
		BlobTable:    winfile.SHA1{1, 2, 3},
		Offset:       0xd0 + int64(len(w)),
		StoredSize:   b.Size + 1, // only has to differ
		Size:         b.Size,
		Compressed:   true,
	}
	if change != nil {
		change(&r)
	}
	w[b.SHA1] = r
}

// wimOf has all contents of a tree.
func wimOf(t *winfile.Tree) fakeWIM {
	w := make(fakeWIM)
	for _, e := range t.All() {
		if e.Info.Data != nil {
			w.put(e.Info.Data, nil)
		}
	}
	return w
}

// listing shows the plain files of a plan.
func listing(p *Plan) (list []string) {
	for _, f := range p.Plain {
		word, _ := f.Reason.MarshalText()
		list = append(list, strings.TrimSpace(fmt.Sprintf("%s: %s %s", f.Path, word, f.Pattern)))
	}
	return list
}

func decide(t *testing.T, tree *winfile.Tree, opts *RuleOptions, w fakeWIM) *Plan {
	t.Helper()
	rules, err := NewRules(tree, opts)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := rules.Decide(tree, w)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// config is a configuration with one list.
func config(t *testing.T, patterns string) *capconf.Config {
	t.Helper()
	c, _, err := capconf.Parse([]byte("[PrepopulateList]\n" + patterns))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestDecideByFile(t *testing.T) {
	content := func() *winfile.Info { return plainInfo("content") }
	for _, tt := range []struct {
		name   string
		path   string // default "f"
		change func(*winfile.Info)
		wim    func(*Resource)
		want   Reason
	}{
		{name: "ordinary", want: Backed},
		{name: "named stream", change: func(i *winfile.Info) {
			i.Streams = []winfile.Stream{{Name: "Zone.Identifier", Data: winfile.NewBlob([]byte("3"))}}
		}, want: Backed},
		{name: "raw in a compressed WIM", wim: func(r *Resource) { r.Compressed, r.StoredSize = false, r.Size }, want: Backed},
		{name: "hidden, system, read-only", change: func(i *winfile.Info) {
			i.Attributes |= winfile.AttrHidden | winfile.AttrSystem | winfile.AttrReadOnly
		}, want: Backed},
		{name: "NTFS-compressed", change: func(i *winfile.Info) { i.Attributes |= winfile.AttrCompressed }, want: Backed},
		{name: "junction", change: func(i *winfile.Info) {
			i.Attributes |= winfile.AttrReparse | winfile.AttrDirectory
			i.Reparse = &winfile.Reparse{Tag: winfile.TagMountPoint}
		}, want: ReparsePoint},
		{name: "symlink", change: func(i *winfile.Info) {
			i.Attributes |= winfile.AttrReparse
			i.Reparse, i.Data = &winfile.Reparse{Tag: winfile.TagSymlink}, nil
		}, want: ReparsePoint},
		{name: "cloud file with data", change: func(i *winfile.Info) {
			i.Attributes |= winfile.AttrReparse
			i.Reparse = &winfile.Reparse{Tag: 0x9000001a}
		}, want: ReparsePoint},
		{name: "EFS", change: func(i *winfile.Info) { i.Attributes |= winfile.AttrEncrypted }, want: Encrypted},
		{name: "empty", change: func(i *winfile.Info) { i.Data = nil }, want: Empty},
		{name: "empty with named stream", change: func(i *winfile.Info) {
			i.Streams, i.Data = []winfile.Stream{{Name: "s", Data: i.Data}}, nil
		}, want: Empty},
		{name: "sparse", change: func(i *winfile.Info) { i.Attributes |= winfile.AttrSparse }, want: Sparse},
		{name: "at the size limit", change: func(i *winfile.Info) { i.Data.Size = MaxBacked }, want: Backed},
		{name: "over the size limit", change: func(i *winfile.Info) { i.Data.Size = MaxBacked + 1 }, want: TooLarge},
		{name: "SHA-1 not known", change: func(i *winfile.Info) { i.Data.SHA1 = winfile.SHA1{} }, want: NotInWIM},
		{name: "not in the WIM", change: func(i *winfile.Info) { i.Data.SHA1[0]++ }, want: NotInWIM},
		{name: "unusable WIM", wim: func(r *Resource) { r.Unusable = true }, want: Unusable},
		{name: "solid", wim: func(r *Resource) { r.Solid = true }, want: Solid},
		{name: "compressed to its own size", wim: func(r *Resource) { r.StoredSize = r.Size }, want: SizesMislead},
		{name: "raw of another size", wim: func(r *Resource) { r.Compressed = false }, want: SizesMislead},
		{name: "SYSTEM", path: "Windows/System32/config/SYSTEM", want: SystemHive},
		{name: "its log", path: "windows/system32/Config/system.LOG1", want: SystemHive},
		{name: "SOFTWARE", path: "Windows/System32/config/SOFTWARE", want: Backed},
		{name: "overlay", path: "System Volume Information/WimOverlay.dat", want: VolumeInfo},
		{name: "on the list", path: "Boot/x/BCD", want: Prepopulate},
	} {
		t.Run(tt.name, func(t *testing.T) {
			i := content()
			w := make(fakeWIM)
			sum := i.Data.SHA1
			if tt.change != nil {
				tt.change(i)
			}
			if b := i.Data; b != nil {
				known := *b
				known.SHA1 = sum
				w.put(&known, tt.wim)
			}
			path := tt.path
			if path == "" {
				path = "f"
			}
			plan := decide(t, makeTree(file{path, i}), &RuleOptions{Config: config(t, `\Boot`)}, w)
			if n := plan.Total(tt.want); n.Files != 1 || n.Bytes != i.Size() {
				t.Errorf("%+v for %v; plain %q", n, tt.want, listing(plan))
			}
			b := plan.Backing(i)
			if (b != nil) != (tt.want == Backed) || (len(plan.Plain) == 0) != (tt.want == Backed) {
				t.Fatalf("buffer of %d bytes, plain %q", len(b), listing(plan))
			}
			if b == nil {
				return
			}
			p, err := ParsePointer(b)
			r := w[i.Data.SHA1]
			want := Pointer{0, 3, i.Data.SHA1, r.BlobTable, i.Data.Size, r.StoredSize, r.Offset}
			if err != nil || *p != want {
				t.Errorf("%+v, %v, want %+v", p, err, want)
			}
		})
	}
}

func TestDecideErrors(t *testing.T) {
	for _, tt := range []struct {
		name string
		wim  func(*Resource)
		want string
	}{
		{"size", func(r *Resource) { r.Size++ }, "wof: d/f: content 040f06fd774092478d450774f5ba30c5da78acc8 has 7 bytes, and 8 in the WIM"},
		{"offset", func(r *Resource) { r.Offset = -1 }, "wof: d/f: content 040f06fd774092478d450774f5ba30c5da78acc8 has 8 bytes at offset -1 of the WIM"},
		{"stored", func(r *Resource) { r.StoredSize = 0 }, "wof: d/f: content 040f06fd774092478d450774f5ba30c5da78acc8 has 0 bytes at offset 208 of the WIM"},
	} {
		i := plainInfo("content")
		w := make(fakeWIM)
		w.put(i.Data, tt.wim)
		tree := makeTree(file{"d/f", i})
		rules, err := NewRules(tree, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := rules.Decide(tree, w); err == nil || err.Error() != tt.want {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
	}
}

func TestDecideLooksAtAllNames(t *testing.T) {
	linked := func(s string, n int32) *winfile.Info {
		i := plainInfo(s)
		i.Links = n
		return i
	}
	first, last, none, system, sparse := linked("first", 2), linked("last name", 3), linked("none", 2), linked("hive", 2), linked("holes", 2)
	sparse.Attributes |= winfile.AttrSparse
	tree := makeTree(
		file{"Boot/a", first}, file{"a", first},
		file{"b", last}, file{"WinSxS/b", last}, file{"WinSxS/b.SYS", last},
		file{"c", none}, file{"d", none},
		file{"WinSxS/SYSTEM", system}, file{"Windows/System32/config/SYSTEM", system},
		file{"e", sparse}, file{"f", sparse},
	)
	plan := decide(t, tree, &RuleOptions{Config: config(t, "*.sys\n\\Boot\\*\n")}, wimOf(tree))
	want := []string{`Boot/a: prepopulate \Boot\*`, `WinSxS/b.SYS: prepopulate *.sys`,
		`Windows/System32/config/SYSTEM: system-hive \Windows\System32\config\SYSTEM*`, `e: sparse`}
	if got := listing(plan); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for r, want := range map[Reason]Total{
		Backed: {1, 4}, Prepopulate: {2, 5 + 9}, SystemHive: {1, 4}, Sparse: {1, 5}, Directory: {6, 0}, Empty: {}, reasonCount: {},
	} {
		if got := plan.Total(r); got != want {
			t.Errorf("%v: %+v, want %+v", r, got, want)
		}
	}
	for i, want := range map[*winfile.Info]bool{first: false, last: false, none: true, system: false, sparse: false} {
		if got := plan.Backing(i) != nil; got != want {
			t.Errorf("%s: pointer %t", i.Data.SHA1, got)
		}
	}
}

func TestNewRules(t *testing.T) {
	const ini = "Windows/System32/WimBootCompress.ini"
	own := plainInfo("[PrepopulateList]\n\\own\n[Odd]\n")
	files := []string{"own", "given", "bootmgr", "Windows/System32/drivers/acpi.sys", "Windows/System32/winload.exe", "other"}
	const boot = `bootmgr: boot-file \bootmgr,Windows/System32/drivers/acpi.sys: boot-file \Windows\System32\drivers\*.sys,` +
		`Windows/System32/winload.exe: boot-file *winload.*`
	given := config(t, `\given`)
	for _, tt := range []struct {
		name string
		ini  string // its path
		opts *RuleOptions
		list ListSource
		want string
	}{
		{"no configuration", "", nil, BuiltInList, boot},
		{"own", ini, nil, ImageList, `own: prepopulate \own`},
		{"own in another case", strings.ToUpper(ini), nil, ImageList, `own: prepopulate \own`},
		{"own, Windows 7", ini, &RuleOptions{Build: 7601}, ImageList, `own: prepopulate \own,` + boot},
		{"own, Windows 8", ini, &RuleOptions{Build: 9200}, ImageList, `own: prepopulate \own,` + boot},
		{"own, Windows 8.1", ini, &RuleOptions{Build: 9600}, ImageList, `own: prepopulate \own`},
		{"own, BIOS", ini, &RuleOptions{Build: 19041, BIOS: true}, ImageList, `own: prepopulate \own,` + boot},
		{"given", ini, &RuleOptions{Config: given, Build: 7601, BIOS: true}, GivenList, `given: prepopulate \given`},
		{"given, empty", "", &RuleOptions{Config: new(capconf.Config)}, GivenList, ``},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var list []file
			for _, f := range files {
				list = append(list, file{f, plainInfo(f)})
			}
			if tt.ini != "" {
				list = append(list, file{tt.ini, own})
			}
			tree := makeTree(list...)
			rules, err := NewRules(tree, tt.opts)
			if err != nil {
				t.Fatal(err)
			}
			if rules.List != tt.list || rules.BootList != strings.Contains(tt.want, boot) {
				t.Errorf("list %d, boot list %t", rules.List, rules.BootList)
			}
			if (len(rules.Warnings) == 1) != (tt.list == ImageList) {
				t.Errorf("warnings %v", rules.Warnings)
			}
			plan, err := rules.Decide(tree, wimOf(tree))
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(listing(plan), ","); got != tt.want {
				t.Errorf("%s\nwant %s", got, tt.want)
			}
		})
	}
}

// TestEarly: what the system itself tells is plain where the built-in list is, whatever name of the file is judged first.
func TestEarly(t *testing.T) {
	driver := plainInfo("driver")
	driver.Links = 2
	tree := makeTree(file{"Windows/a.sys", driver}, file{"Windows/odd/driver.sys", driver}, file{"Windows/other.sys", plainInfo("other")})
	w := fakeWIM{}
	w.put(driver.Data, nil)
	w.put(tree.Lookup("Windows/other.sys").Info.Data, nil)
	given, _, err := capconf.Parse([]byte("[PrepopulateList]\n\\x\n"))
	if err != nil {
		t.Fatal(err)
	}
	early := []string{"windows/ODD/driver.sys", "Windows/gone.sys"}
	for _, tt := range []struct {
		o    RuleOptions
		want int
	}{{RuleOptions{Early: early}, 1}, {RuleOptions{Early: early, Config: given}, 0}, {RuleOptions{}, 0}} {
		r, err := NewRules(tree, &tt.o)
		if err != nil {
			t.Fatal(err)
		}
		p, err := r.Decide(tree, w)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Total(Early).Files; got != tt.want || p.Total(Backed).Files != 2-tt.want {
			t.Errorf("%+v: %d early, %d pointers", tt.o, got, p.Total(Backed).Files)
		}
		if tt.want == 1 && (p.Plain[0].Path != "Windows/a.sys" || p.Plain[0].Reason != Early) {
			t.Errorf("%+v", p.Plain)
		}
	}
	for _, tt := range []struct {
		o     CompactOptions
		plain int
		algo  Algorithm // of the driver if it is compact
	}{
		{CompactOptions{Algorithm: LZX, BIOS: true, Build: 19045, Early: early}, 1, 0},
		{CompactOptions{Algorithm: LZX, Build: 17763, Early: early}, 0, XPRESS4K},
		{CompactOptions{Algorithm: LZX, Build: 17763}, 0, LZX},
	} {
		r, err := NewCompactRules(tree, &tt.o)
		if err != nil {
			t.Fatal(err)
		}
		p := r.Decide(tree)
		if a, ok := p.Algorithm(driver); p.Total(Early).Files != tt.plain || ok != (tt.plain == 0) || a != tt.algo {
			t.Errorf("%+v: %d early, %v %v", tt.o, p.Total(Early).Files, a, ok)
		}
	}
}

func TestNewRulesErrors(t *testing.T) {
	const ini = "Windows/System32/WimBootCompress.ini"
	encrypted := plainInfo("x")
	encrypted.Attributes |= winfile.AttrEncrypted
	unreadable := plainInfo("x")
	unreadable.Data = &winfile.Blob{Size: 10}
	for want, i := range map[string]*winfile.Info{
		"capconf: line 1: pattern \"rubbish\" before the first section": plainInfo("rubbish"),
		"not an ordinary file: encrypted by EFS":                        encrypted,
		"not an ordinary file: directory":                               {Attributes: winfile.AttrDirectory},
		"a blob has no content to read it from":                         unreadable,
		"content of 65537 bytes, want at most 65536":                    plainInfo(strings.Repeat(";", capconf.MaxSize+1)),
	} {
		_, err := NewRules(makeTree(file{ini, i}), nil)
		if want = `wof: \Windows\System32\WimBootCompress.ini of the image: ` + want; err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
		if _, err := NewRules(makeTree(file{ini, i}), &RuleOptions{Config: new(capconf.Config)}); err != nil {
			t.Errorf("with a given configuration: %v", err)
		}
	}
}

func TestMaxSize(t *testing.T) {
	small, large := plainInfo("1234"), plainInfo("12345")
	tree := makeTree(file{"small", small}, file{"large", large})
	plan := decide(t, tree, &RuleOptions{MaxSize: 4}, wimOf(tree))
	if plan.Backing(small) == nil || plan.Backing(large) != nil || plan.Total(TooLarge).Bytes != 5 {
		t.Errorf("plain %q", listing(plan))
	}
	large.Data.Size = MaxBacked + 1
	if plan := decide(t, tree, &RuleOptions{MaxSize: MaxBacked + 1}, wimOf(tree)); plan.Total(TooLarge).Files != 1 {
		t.Errorf("limit raised: plain %q", listing(plan))
	}
}

func TestBootList(t *testing.T) {
	m := capconf.NewMatcher(BootList())
	for path, want := range map[string]bool{
		"bootmgr": true, "Boot/BCD": true, "EFI/Microsoft/Boot/bootmgfw.efi": true, "Windows/System32/winload.efi": true,
		"Windows/System32/Boot/winload.exe": true, "Windows/System32/zh-CN/winload.exe.mui": true, "Windows/System32/ntoskrnl.exe": true,
		"Windows/System32/hal.dll": true, "Windows/System32/halmacpi.dll": true, "Windows/System32/config/SOFTWARE": true,
		"Windows/System32/drivers/disk.sys": true, "Windows/System32/C_936.NLS": true, "Windows/System32/kdcom.dll": true,
		"Windows/System32/CatRoot/{F750E6C3-38EE-11D1-85E5-00C04FC295EE}/nt5.cat": true, "Windows/Fonts/vgaoem.fon": true,
		"Windows/Boot/Resources/zh-CN/bootres.dll.mui": true, "Windows/System32/drivers/wofadk.sys": true,
		"Windows/System32/kernel32.dll": false, "Windows/System32/drivers/etc/hosts": false, "Windows/explorer.exe": false,
		"Windows/System32/drivers/zh-CN/disk.sys.mui": false, "Windows/SysWOW64/kbdus.dll": false, "Program Files/x.sys": false,
	} {
		if got := m.Match(path) >= 0; got != want {
			t.Errorf("%s: %t", path, got)
		}
	}
}

func TestReasons(t *testing.T) {
	words := make(map[string]bool)
	for _, r := range Reasons() {
		b, err := r.MarshalText()
		if err != nil || len(b) == 0 || words[string(b)] || r.String() == "" || words[r.String()] {
			t.Errorf("reason %d: %q, %q, %v", r, b, r, err)
		}
		words[string(b)], words[r.String()] = true, true
	}
	if b, err := json.Marshal(map[Reason]int{Prepopulate: 1}); string(b) != `{"prepopulate":1}` || err != nil {
		t.Errorf("%s, %v", b, err)
	}
	if _, err := reasonCount.MarshalText(); err == nil {
		t.Error("unknown reason marshalled")
	}
}

func TestCheckWIM(t *testing.T) {
	const v, solid = 0x10d00, 0xe00
	for _, tt := range []struct {
		f    WIMFormat
		want string // empty: can back files
	}{
		{WIMFormat{CodecXPRESS, 4096, v, 1, false}, ""},
		{WIMFormat{CodecXPRESS, 8192, v, 1, false}, ""},
		{WIMFormat{CodecXPRESS, 16384, v, 1, false}, ""},
		{WIMFormat{CodecXPRESS, 32768, v, 0, false}, ""},
		{WIMFormat{CodecLZX, 32768, v, 1, false}, ""},
		{WIMFormat{CodecXPRESS, 65536, v, 1, false}, "XPRESS with chunks of 65536 bytes, want 4096, 8192, 16384 or 32768"},
		{WIMFormat{CodecXPRESS, 2048, v, 1, false}, "XPRESS with chunks of 2048 bytes, want 4096, 8192, 16384 or 32768"},
		{WIMFormat{CodecLZX, 65536, v, 1, false}, "LZX with chunks of 65536 bytes, want 32768"},
		{WIMFormat{CodecLZMS, 131072, v, 1, false}, "LZMS, want XPRESS or LZX"},
		{WIMFormat{7, 32768, v, 1, false}, "codec 7, want XPRESS or LZX"},
		{WIMFormat{CodecNone, 0, v, 1, false}, "it is uncompressed, which stops Windows with a blue screen"},
		{WIMFormat{CodecLZX, 32768, solid, 1, false}, "its version 0xe00 is that of WIMs with solid resources (ESD)"},
		{WIMFormat{CodecLZX, 32768, v, 2, false}, "it is split into 2 parts"},
		{WIMFormat{CodecLZX, 32768, v, 1, true}, "it is pipable"},
	} {
		err := CheckWIM(tt.f)
		if tt.want == "" {
			if err != nil {
				t.Errorf("%+v: %v", tt.f, err)
			}
			continue
		}
		if want := "wof: WIM cannot back files: " + tt.want + ": unsupported operation"; err == nil || err.Error() != want {
			t.Errorf("%+v: %v, want %s", tt.f, err, want)
		}
		if !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%+v: %v is not ErrUnsupported", tt.f, err)
		}
	}
}

// bigTree has 24,000 files, a third of them with two names.
func bigTree() *winfile.Tree {
	root := &winfile.Entry{Info: &winfile.Info{Attributes: winfile.AttrDirectory, Links: 1}}
	for d := range 240 {
		dir := &winfile.Entry{Name: fmt.Sprintf("amd64_component-%d_31bf3856ad364e35_6.1.7601.17514_none", d), Info: root.Info}
		for f := range 100 {
			i := plainInfo(fmt.Sprint(d, f))
			dir.Children = append(dir.Children, &winfile.Entry{Name: fmt.Sprintf("file%d.dll", f), Info: i})
			if f%3 == 0 {
				i.Links = 2
				dir.Children = append(dir.Children, &winfile.Entry{Name: fmt.Sprintf("link%d.dll", f), Info: i})
			}
		}
		root.Children = append(root.Children, dir)
	}
	windows := &winfile.Entry{Name: "Windows", Info: root.Info}
	windows.Children = []*winfile.Entry{{Name: "WinSxS", Info: root.Info, Children: root.Children}}
	root.Children = []*winfile.Entry{windows}
	return &winfile.Tree{Root: root}
}

func TestBackingAgreesWithTotals(t *testing.T) {
	tree := bigTree()
	plan := decide(t, tree, nil, wimOf(tree))
	seen := make(map[*winfile.Info]bool)
	for _, e := range tree.All() {
		if b := plan.Backing(e.Info); b != nil && !seen[e.Info] {
			seen[e.Info] = true
			if !bytes.Contains(b, e.Info.Data.SHA1[:]) {
				t.Fatal("pointer without the file's SHA-1")
			}
		}
	}
	if n := plan.Total(Backed).Files; n != len(seen) || n != 24000 {
		t.Errorf("%d backed, %d buffers", n, len(seen))
	}
}

func BenchmarkDecide(b *testing.B) {
	tree := bigTree()
	w := wimOf(tree)
	rules, err := NewRules(tree, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := rules.Decide(tree, w); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/32160, "ns/name")
}

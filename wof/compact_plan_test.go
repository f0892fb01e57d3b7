package wof

import (
	"fmt"
	"testing"

	"husk/capconf"
	"husk/winfile"
)

// compactTree has a file for each reason.
func compactTree() *winfile.Tree {
	taken := plainInfo("taken")
	taken.Streams = []winfile.Stream{{Name: "wofcompresseddata"}}
	sparse := plainInfo("sparse")
	sparse.Attributes |= winfile.AttrSparse
	secret := plainInfo("secret")
	secret.Attributes |= winfile.AttrEncrypted
	large := plainInfo("large")
	large.Data = &winfile.Blob{Size: MaxBacked + 1, SHA1: winfile.SHA1{1}}
	return makeTree(
		file{"Windows/notepad.exe", plainInfo("program")},
		file{"Windows/System32/ntoskrnl.exe", plainInfo("kernel")},
		file{"Windows/System32/config/SOFTWARE", plainInfo("hive")},
		file{"Windows/bootstat.dat", plainInfo("status")},
		file{"Users/me/NTUSER.DAT", plainInfo("user's hive")},
		file{"Users/me/ntuser.dat.LOG1", plainInfo("log of the user's hive")},
		file{"pagefile.sys", plainInfo("pages")},
		file{"Users/pagefile.sys", plainInfo("not the page file")},
		file{"Boot/BCD", plainInfo("store")},
		file{"System Volume Information/x", plainInfo("tracking")},
		file{"a/taken", taken}, file{"a/sparse", sparse}, file{"a/secret", secret}, file{"a/large", large},
		file{"a/empty", &winfile.Info{Links: 1}},
	)
}

func TestCompactRules(t *testing.T) {
	always := map[string]Reason{
		"Windows/System32/config/SOFTWARE": Rewritten, "Windows/bootstat.dat": Rewritten, "Users/me/NTUSER.DAT": Rewritten,
		"Users/me/ntuser.dat.LOG1": Rewritten, "pagefile.sys": Rewritten, "Boot/BCD": Rewritten, "System Volume Information/x": VolumeInfo,
		"a/taken": StreamTaken, "a/sparse": Sparse, "a/secret": Encrypted, "a/large": TooLarge, "a/empty": Empty,
	}
	const kernel = "Windows/System32/ntoskrnl.exe"
	given, _, err := capconf.Parse([]byte("[PrepopulateList]\n\\Windows\\notepad.exe\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		o      CompactOptions
		kernel string // algorithm, or the reason for none
		other  string // of notepad.exe
	}{
		{"build not known", CompactOptions{Algorithm: LZX}, BootFile.String(), "LZX"},
		{"Windows 8.1", CompactOptions{Algorithm: LZX, Build: 9600}, BootFile.String(), "LZX"},
		{"Windows 10", CompactOptions{Algorithm: LZX, Build: 10240}, "XPRESS4K", "LZX"},
		{"before the last change", CompactOptions{Algorithm: XPRESS16K, Build: 18361}, "XPRESS4K", "XPRESS16K"},
		{"Windows 10 1903", CompactOptions{Algorithm: LZX, Build: 18362}, "LZX", "LZX"},
		{"boot manager without 16K", CompactOptions{Algorithm: XPRESS16K, Build: 26100}, "XPRESS8K", "XPRESS16K"},
		{"BIOS", CompactOptions{Algorithm: XPRESS4K, Build: 26100, BIOS: true}, BootFile.String(), "XPRESS4K"},
		{"given list", CompactOptions{Algorithm: XPRESS16K, BIOS: true, Config: given}, "XPRESS4K", Prepopulate.String()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tree := compactTree()
			r, err := NewCompactRules(tree, &tt.o)
			if err != nil {
				t.Fatal(err)
			}
			p := r.Decide(tree)
			reasons := make(map[string]Reason)
			for _, f := range p.PlainFiles() {
				reasons[f.Path] = f.Reason
			}
			verdict := func(path string) string {
				if a, ok := p.Algorithm(tree.Lookup(path).Info); ok {
					return a.String()
				}
				return reasons[path].String()
			}
			for path, want := range always {
				if got := verdict(path); got != want.String() {
					t.Errorf("%s: %s, want %v", path, got, want)
				}
			}
			if got := verdict(kernel); got != tt.kernel {
				t.Errorf("kernel: %s, want %s", got, tt.kernel)
			}
			if got := verdict("Windows/notepad.exe"); got != tt.other {
				t.Errorf("program: %s, want %s", got, tt.other)
			}
			if got := verdict("Users/pagefile.sys"); got != tt.o.Algorithm.String() {
				t.Errorf("a file that is called like the page file: %s", got)
			}
		})
	}
}

// TestCompactLinks judges a file by all of its names.
func TestCompactLinks(t *testing.T) {
	boot, page, gain := plainInfo("boot"), plainInfo("page"), plainInfo("gain")
	for _, i := range []*winfile.Info{boot, page, gain} {
		i.Links = 2
	}
	tree := makeTree(file{"a", boot}, file{"b", page}, file{"c", gain}, file{"d", gain}, file{"e", plainInfo("no gain")},
		file{"pagefile.sys", page}, file{"Windows/System32/ntoskrnl.exe", boot})
	r, err := NewCompactRules(tree, &CompactOptions{Algorithm: LZX, Build: 10586})
	if err != nil {
		t.Fatal(err)
	}
	p := r.Decide(tree)
	if a, ok := p.Algorithm(boot); !ok || a != XPRESS4K {
		t.Errorf("boot file %v, %t", a, ok)
	}
	if a, ok := p.Algorithm(page); ok {
		t.Errorf("page file %v", a)
	}
	asked := make(map[*winfile.Info]int)
	p.Settle(tree, func(i *winfile.Info, a Algorithm) bool {
		asked[i]++
		if want := map[*winfile.Info]Algorithm{boot: XPRESS4K}[i]; i == boot && a != want {
			t.Errorf("asked about %v", a)
		}
		return i != tree.Lookup("e").Info
	})
	if len(asked) != 3 || asked[boot] != 1 || asked[gain] != 1 {
		t.Errorf("asked %v", asked)
	}
	if got, want := fmt.Sprint(p.Total(Backed), p.Total(NoGain), p.Total(Rewritten), p.Total(reasonCount)), "{2 8} {1 7} {1 4} {0 0}"; got != want {
		t.Errorf("totals %s, want %s", got, want)
	}
	if last := p.Plain[len(p.Plain)-1]; last.Path != "e" || last.Reason != NoGain {
		t.Errorf("%+v", last)
	}
}

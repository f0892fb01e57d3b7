// Package importrule holds the direction of the imports in husk:
//
//	commands    cmd/…, bench, internal/sample/mksample
//	   │
//	work        internal/… (capture, apply, verify, sources, trees, screen)
//	   │
//	formats     every other folder: wim, ntfs, wof, vhd, mbr, gpt, capconf
//	   │
//	words       winfile, guid, compress/…, internal/ondisk, internal/extents
//
// A package imports from its own layer or from below. A format imports no other format, except where the disk does so too;
// formats and words import nothing from outside this module but the standard library. Tests may import more.
package importrule

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// formatImports are the imports between formats, each with its reason.
var formatImports = map[string]string{
	"bcd -> regf":    "a boot store is a registry hive",
	"wof -> capconf": "which files may be pointers stands in a section of a capture configuration",
}

// forTests are packages that only tests, each other and the commands beside them may import.
var forTests = []string{"internal/faultfs", "internal/cutfile", "internal/reftool", "internal/sample", "compress/internal/codectest", "pe/petest"}

type layer int

const (
	words layer = iota
	formats
	work
	commands
)

// layerOf gives the layer of a folder of this module.
func layerOf(dir string) layer {
	under := func(parents ...string) bool {
		return slices.ContainsFunc(parents, func(p string) bool { return dir == p || strings.HasPrefix(dir, p+"/") })
	}
	switch {
	case under("winfile", "guid", "compress", "internal/ondisk", "internal/extents"):
		return words
	case under("cmd", "bench", "internal/sample/mksample"):
		return commands
	case under("internal"):
		return work
	}
	return formats
}

// check returns what is wrong with an import in a file that is not a test, or nothing.
func check(from, imported string) string {
	dir, ours := strings.CutPrefix(imported, "husk/")
	low := layerOf(from) <= formats
	if !ours {
		if first, _, _ := strings.Cut(imported, "/"); low && strings.Contains(first, ".") {
			return "only the standard library may be imported from outside here"
		}
		return ""
	}
	switch {
	case slices.Contains(forTests, dir) && slices.Contains(forTests, from):
		return ""
	case slices.Contains(forTests, dir) && layerOf(from) != commands:
		return "it is for tests only"
	case layerOf(dir) > layerOf(from):
		return "it is above"
	case layerOf(from) == formats && layerOf(dir) == formats && formatImports[from+" -> "+dir] == "":
		return "formats do not know each other"
	}
	return ""
}

func TestImportsPointDown(t *testing.T) {
	used := make(map[string]bool)
	files := 0
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			if base := d.Name(); rel != "." && (base == "testdata" || base == "demo-out" || strings.HasPrefix(base, ".")) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(rel, ".go") || strings.HasSuffix(rel, "_test.go") {
			return nil
		}
		files++
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		from := path.Dir(rel)
		for _, s := range f.Imports {
			imported, err := strconv.Unquote(s.Path.Value)
			if err != nil {
				return err
			}
			used[from+" -> "+strings.TrimPrefix(imported, "husk/")] = true
			if wrong := check(from, imported); wrong != "" {
				t.Errorf("%s imports %s: %s", rel, imported, wrong)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 10 {
		t.Errorf("%d files seen, want the whole module", files)
	}
	for e := range formatImports {
		if !used[e] {
			t.Errorf("exception %q is not needed", e)
		}
	}
}

func TestRuleRefuses(t *testing.T) {
	for _, tt := range []struct {
		from, imported string
		ok             bool
	}{
		{"wim", "husk/winfile", true},
		{"wim", "husk/compress/xpress", true},
		{"wim", "encoding/xml", true},
		{"wim", "husk/ntfs", false},
		{"wof", "husk/capconf", true},
		{"wim", "husk/internal/tree", false},
		{"wim", "golang.org/x/sys/unix", false},
		{"winfile", "husk/wim", false},
		{"winfile/treefs", "husk/winfile", true},
		{"internal/tree", "husk/wim", true},
		{"internal/tree", "golang.org/x/sys/unix", true},
		{"internal/tree", "husk/cmd/husk", false},
		{"internal/tree", "husk/internal/sample", false},
		{"compress/lzx", "husk/compress/internal/codectest", false},
		{"compress/internal/codectest", "husk/internal/reftool", true},
		{"compress/lzx", "husk/internal/reftool", false},
		{"internal/sample/mksample", "husk/internal/sample", true},
		{"cmd/husk", "husk/internal/deploy", true},
	} {
		if got := check(tt.from, tt.imported); (got == "") != tt.ok {
			t.Errorf("%s imports %s: %q, want ok %v", tt.from, tt.imported, got, tt.ok)
		}
	}
}

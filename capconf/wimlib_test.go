package capconf

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"husk/internal/reftool"
)

// TestAgainstWimlib captures a tree with wimlib-imagex and a configuration, and compares what it left out with Excluded. A base
// name in [ExclusionException] is left out of it: wimlib does not let that cover what is below a folder of that name.
func TestAgainstWimlib(t *testing.T) {
	reftool.Look(t, "wimlib-imagex")
	t.Setenv("WIMLIB_IMAGEX_IGNORE_CASE", "1") // as on Windows
	dir := t.TempDir()
	src := filepath.Join(dir, "src")
	for _, name := range []string{
		"pagefile.sys", "Windows/pagefile.sys", "Windows/System32/a.dll", "Windows/System32/b.dll", "Windows/Temp/x/y",
		"Windows/Temp/keep.txt", "Windows/CSC/v2/z", "Users/me/AppData/cache/1", "Users/you/AppData/cache/2", "Users/you/x.tmp",
		"Users/you/notes.tmp.txt", "资料/文件1.txt", "资料/文件22.txt", "a b/c d", "q", "x.TMP/inner/deep", "$Recycle.Bin/S-1/$I",
	} {
		path := filepath.Join(src, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for name, list := range map[string]string{
		"default":      "",
		"base names":   "*.tmp\nq\nAPPDATA\n",
		"anchored":     "\\windows\\system32\n\\users\\*\\appdata\\CACHE\n\\资料\\文件?.txt\n",
		"quotes":       "\"\\a b\"\n'q'\nC:\\Windows\\Temp\n",
		"slashes":      "/Windows//Temp///\nsystem32/\n\\\\Users\\me\n",
		"exceptions":   "\\Windows\n\\Users\\*\n[ExclusionException]\n\\Windows\\Temp\\keep.txt\n\\Users\\y*\\*.tmp\n\\Windows\\CSC\n",
		"exception *":  "\\*\n[ExclusionException]\n\\Windows\\*\\a.dll\n",
		"everything":   "*\n",
		"wildcards":    "*i*.d?l\n?\n*.*.*\n\\$*\n",
		"two per name": "*2*\n\\windows\\system32\\*\n",
	} {
		t.Run(name, func(t *testing.T) {
			c := Default()
			wim := filepath.Join(t.TempDir(), "x.wim")
			args := []string{"capture", src, wim}
			if list != "" {
				text := "[ExclusionList]\n" + list
				var err error
				if c, _, err = Parse([]byte(text)); err != nil {
					t.Fatal(err)
				}
				ini := wim + ".ini"
				if err := os.WriteFile(ini, []byte(text), 0o666); err != nil {
					t.Fatal(err)
				}
				args = append(args, "--config="+ini)
			}
			reftool.Run(t, "wimlib-imagex", args...)
			theirs := strings.Split(strings.TrimSpace(reftool.Run(t, "wimlib-imagex", "dir", wim, "1")), "\n")
			slices.Sort(theirs)
			if ours := captured(t, src, c); !slices.Equal(ours, theirs) {
				t.Errorf("captured %q, wimlib has %q", ours, theirs)
			}
		})
	}
}

// captured walks a folder as a capture does and lists what it takes, as wimlib-imagex dir does.
func captured(t *testing.T, root string, c *Config) (list []string) {
	err := filepath.Walk(root, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		switch {
		case rel == ".":
			list = append(list, "/")
		case !c.Excluded(rel):
			list = append(list, "/"+rel)
		case info.IsDir():
			return filepath.SkipDir
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(list)
	return list
}

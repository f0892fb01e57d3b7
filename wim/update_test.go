package wim

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"husk/internal/reftool"
	"husk/winfile"
)

func names(t *winfile.Tree) []string {
	var list []string
	for path := range t.All() {
		list = append(list, path)
	}
	slices.Sort(list)
	return list
}

// TestUpdateAsWimlib makes the same changes with husk and with wimlib, and compares the names.
func TestUpdateAsWimlib(t *testing.T) {
	files := map[string][]byte{"a/b/c.txt": []byte("c"), "a/b/d.txt": []byte("d"), "a/e": []byte("e"), "f": []byte("f"), "g/h": []byte("h"), "empty/x": []byte("x")}
	added := map[string][]byte{"b/c.txt": []byte("new c"), "b/n.txt": []byte("n"), "top": []byte("top")}
	folder := writeFolder(t, added)
	for _, script := range []string{
		"delete f\nrename a/e moved",
		"delete --recursive a\n",
		"delete a",
		"delete nowhere",
		"delete --force nowhere\nrename g/h f",
		"rename a/b g/b\nrename '/g/b/c.txt' \"a/with space.txt\"",
		"rename a a/b/below",
		"rename a f",
		"rename f a",
		"rename a empty",
		"delete empty/x\nrename a empty",
		"rename f F",
		"add FOLDER a",
		"add FOLDER new/deep/place",
		"add FOLDER /",
		"add FOLDER f",
		"add FOLDER/top f",
		"add --no-replace FOLDER/top f",
		"add FOLDER/top a",
		"add FOLDER/top f/below",
		"# nothing\n\n  delete \"f\"",
	} {
		t.Run(strings.ReplaceAll(script, "\n", ";"), func(t *testing.T) {
			name := save(t, write(t, WriterOptions{}, files))
			cmdFile := filepath.Join(t.TempDir(), "commands")
			if err := os.WriteFile(cmdFile, []byte(strings.ReplaceAll(script, "FOLDER", folder)), 0o644); err != nil {
				t.Fatal(err)
			}
			tree := mustTree(t, openTest(t, name).Images()[0])
			err := runCommands(t, tree, script, added)
			out, theirErr := reftool.Try(t, "sh", "-c", `wimlib-imagex update "$1" 1 <"$2"`, "sh", name, cmdFile)
			if (err == nil) != (theirErr == nil) {
				t.Fatalf("we: %v; wimlib: %v %s", err, theirErr, out)
			}
			if err != nil {
				return
			}
			theirs := mustTree(t, openTest(t, name).Images()[0])
			if d := cmp.Diff(names(theirs), names(tree)); d != "" {
				t.Errorf("wimlib's names and ours differ: %s", d)
			}
			for path, e := range theirs.All() {
				if ours := tree.Lookup(path); ours != nil && ours.Info.Size() != e.Info.Size() {
					t.Errorf("%s: %d bytes, want %d", path, ours.Info.Size(), e.Info.Size())
				}
			}
		})
	}
}

// runCommands runs a script on a tree. FOLDER stands for the files added.
func runCommands(t *testing.T, tree *winfile.Tree, script string, added map[string][]byte) error {
	t.Helper()
	list, err := ParseUpdate(script)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range list {
		switch c.Op {
		case "add":
			src, _ := treeOf(added)
			e := src.Lookup(strings.TrimPrefix(strings.TrimPrefix(c.Source, "FOLDER"), "/"))
			err = AddTree(tree, c.Path, e, !c.Has("no-replace"))
		case "delete":
			err = DeletePath(tree, c.Path, c.Has("recursive"), c.Has("force"))
		case "rename":
			err = RenamePath(tree, c.Path, c.To)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func TestParseUpdate(t *testing.T) {
	list, err := ParseUpdate("add --unix-data --no-acls 'C:\\My Dir' \"/in side\"\r\ndelete --force x\nrename a 'it is'\n")
	want := []UpdateCommand{
		{Op: "add", Source: `C:\My Dir`, Path: "/in side", Options: []string{"unix-data", "no-acls"}},
		{Op: "delete", Path: "x", Options: []string{"force"}},
		{Op: "rename", Path: "a", To: "it is"},
	}
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, list); d != "" {
		t.Error(d)
	}
	for _, bad := range []string{"remove x", "delete", "delete a b", "add x", "rename 'a b", "rename --force a b", "delete --no-acls x"} {
		if list, err := ParseUpdate(bad); err == nil {
			t.Errorf("%q gives %+v", bad, list)
		}
	}
}

func TestUpdateErrors(t *testing.T) {
	tree, _ := treeOf(map[string][]byte{"a/b": []byte("b")})
	for _, err := range []error{
		DeletePath(tree, "x", false, false), RenamePath(tree, "x", "y"), RenamePath(tree, "a/b", "no/such"),
	} {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v, want %v", err, fs.ErrNotExist)
		}
	}
	file := tree.Lookup("a/b")
	for _, err := range []error{
		RenamePath(tree, "/", "y"), RenamePath(tree, "a", "/"), RenamePath(tree, "a", "a/c"), RenamePath(tree, "a/b", ".."),
		AddTree(tree, "/", file, true), AddTree(tree, "../x", file, true), AddTree(tree, "a/../x", file, true), AddTree(tree, "a/b/c", file, true),
	} {
		if err == nil {
			t.Error("it was done")
		}
	}
}

// TestReuse takes contents over without reading them, where nothing speaks against it.
func TestReuse(t *testing.T) {
	old := write(t, WriterOptions{}, sampleFiles())
	files := maps.Clone(sampleFiles())
	files["one"] = []byte("longer")
	tree, source := treeOf(files)
	tree.Lookup("dir/same-1").Info.Written++
	tree.Lookup("dir/same-2").Info.Accessed--
	template := mustTree(t, old.reader(t).Images()[0])
	n := Reuse(tree, template)
	if want := len(files) - 4; n != want { // and the empty one, which has no content
		t.Errorf("%d files taken over, want %d", n, want)
	}
	appendTo(t, old, WriterOptions{}, func(w *Writer) error { return w.AddImage(t.Context(), tree, ImageInfo{Name: "next"}) })
	if n := source.opens.Load(); n != 3 {
		t.Errorf("%d files read, want 3", n)
	}
	checkFiles(t, old.reader(t).Images()[1], files)
	verifyClean(t, old.reader(t))
}

package ntfs

import (
	"os"
	"strings"
	"testing"

	"husk/winfile"
)

func TestHibernated(t *testing.T) {
	for _, tt := range []struct {
		name, file, content string
		want                bool
	}{
		{"no file", "other", "hibr", false},
		{"hibernated", "hiberfil.sys", "hibr" + strings.Repeat("\x00", 9000), true},
		{"other case, resident", "HiberFil.sys", "HIBR", true},
		{"being read", "hiberfil.sys", "RSTR and more", true},
		{"read", "hiberfil.sys", "wake", true},
		{"wiped", "hiberfil.sys", strings.Repeat("\x00", 70000), false},
		{"something else", "hiberfil.sys", "hib", false},
		{"empty", "hiberfil.sys", "", false},
	} {
		tree := sampleTree(0)
		tree.Root.Children = append(tree.Root.Children, &winfile.Entry{Name: tt.file, Info: &winfile.Info{Links: 1, Data: winfile.NewBlob([]byte(tt.content))}})
		v := openBytes(t, builtVolume(t, tree, nil))
		if got, err := v.Hibernated(); got != tt.want || err != nil {
			t.Errorf("%s: %t, %v", tt.name, got, err)
		}
	}
	tree := sampleTree(0)
	tree.Root.Children = append(tree.Root.Children, &winfile.Entry{Name: "hiberfil.sys", Info: &winfile.Info{Links: 1, Data: winfile.NewBlob(make([]byte, 9000))}})
	e := newEditor(t, builtVolume(t, tree, nil))
	e.attr(e.find("hiberfil.sys"), typeData, 0, func(a attribute) { a[0xd] = 0x40 })
	if _, err := openBytes(t, e.b).Hibernated(); err == nil || !strings.Contains(err.Error(), "hiberfil.sys") {
		t.Errorf("encrypted: %v", err)
	}
}

// builtVolume is the image of a volume with a tree.
func builtVolume(t testing.TB, tree *winfile.Tree, o *BuildOptions) []byte {
	t.Helper()
	name, _ := buildImage(t, tree, o)
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

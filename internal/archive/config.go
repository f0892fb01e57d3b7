package archive

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"husk/capconf"
	"husk/internal/source"
	"husk/internal/ui"
	"husk/winfile"
)

// configuration finds what to leave out before the source is opened: the user's file, or for a folder its own file or the
// built-in list. text is the user's file, nil if there is none. For other sources without a user's file conf is nil: their own
// file is only known once they are open.
func configuration(src string, o *Options) (conf *capconf.Config, text []byte, err error) {
	if o.Config != "" {
		return source.ReadConfig(o.Config, o.UI.Warn)
	}
	if st, err := os.Stat(src); err != nil || !st.IsDir() {
		return nil, nil, nil
	}
	if own := findFold(src, iniPath); own != "" && o.Wimboot {
		conf, _, err := source.ReadConfig(own, o.UI.Warn)
		return conf, nil, err
	}
	return capconf.Default(), nil, nil
}

// configurationOf finds the same in a source's tree.
func configurationOf(t *winfile.Tree, o *Options) (*capconf.Config, error) {
	e := t.Lookup(iniPath)
	if e == nil || e.Info.Data == nil || !o.Wimboot {
		return capconf.Default(), nil
	}
	b, err := e.Info.Data.ReadAll(source.MaxConfig)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", iniPath, err)
	}
	return source.ParseConfig(iniPath, b, o.UI.Warn)
}

// findFold finds a slash path below a folder, ignoring case as Windows does; "" if there is none.
func findFold(dir, path string) string {
	for part := range strings.SplitSeq(path, "/") {
		names, err := os.ReadDir(dir)
		if err != nil {
			return ""
		}
		found := ""
		for _, n := range names {
			if winfile.EqualFold(n.Name(), part) {
				found = n.Name()
				break
			}
		}
		if found == "" {
			return ""
		}
		dir = filepath.Join(dir, found)
	}
	return dir
}

// putConfiguration makes text the image's own configuration, so that whoever applies the image uses the same lists.
func putConfiguration(t *winfile.Tree, text []byte) {
	if e := t.Lookup(iniPath); e != nil && !e.Info.IsDir() {
		e.Info.Data = winfile.NewBlob(text)
		return
	}
	dir := t.Lookup("Windows/System32")
	if dir == nil || !dir.Info.IsDir() {
		return // not a Windows tree: there is no place to look for it either
	}
	now := winfile.FiletimeOf(time.Now())
	dir.Children = append(dir.Children, &winfile.Entry{Name: "WimBootCompress.ini", Info: &winfile.Info{
		Attributes: winfile.AttrArchive, Created: now, Written: now, Accessed: now, Changed: now, Links: 1,
		Security: dir.Info.Security, Data: winfile.NewBlob(text),
	}})
}

// Exclusions returns what a capture of src would leave out, for comparing src with what was made of it. t is the tree made of
// it, where the image's own configuration is looked for if src is not a folder.
func Exclusions(src string, t *winfile.Tree, config string, u *ui.UI) (func(path string, isDir bool) bool, error) {
	o := &Options{Config: config, Wimboot: true, UI: u}
	conf, _, err := configuration(src, o)
	if err == nil && conf == nil {
		conf, err = configurationOf(t, o)
	}
	if err != nil {
		return nil, err
	}
	return func(path string, _ bool) bool { return conf.Excluded(path) }, nil
}

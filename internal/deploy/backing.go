package deploy

import (
	"fmt"
	"path/filepath"
	"strings"

	"husk/capconf"
	"husk/internal/bootset"
	"husk/internal/source"
	"husk/internal/ui"
	"husk/internal/winsys"
	"husk/wim"
	"husk/winfile"
	"husk/wof"
)

// backing gives the resources of one WIM to wof.
type backing struct {
	wim      *wim.Reader
	table    winfile.SHA1
	id       uint64
	unusable bool // Windows cannot back files by it
}

// NewBacking gives the resources of the WIM with a data source id.
func NewBacking(r *wim.Reader, id uint64) wof.Source {
	return backing{wim: r, table: r.BlobTableSHA1(), id: id}
}

func (b backing) Lookup(h winfile.SHA1) (wof.Resource, bool) {
	i, ok := b.wim.Lookup(h)
	return wof.Resource{
		DataSourceID: b.id, BlobTable: b.table, Offset: i.Offset, StoredSize: i.StoredSize, Size: i.Size, Compressed: i.Compressed,
		Solid: i.Solid, Unusable: b.unusable,
	}, ok
}

// backings gives the resources of several WIMs: those of the first that has a content.
type backings []backing

func (l backings) Lookup(h winfile.SHA1) (wof.Resource, bool) {
	for _, b := range l {
		if res, ok := b.Lookup(h); ok {
			return res, true
		}
	}
	return wof.Resource{}, false
}

// layersOf lists the WIMs that have contents of the source's files. Each gets an entry in the overlay, its location beside that of the
// source's own WIM as the files lie now.
func layersOf(s *source.Source, at wof.Location, overlay *wof.Overlay, u *ui.UI) (backings, error) {
	layers := s.Layers
	if len(layers) == 0 {
		layers = []source.Layer{{Path: s.Path, WIM: s.WIM}}
	}
	used := usedLayers(s.Tree, layers)
	var list backings
	for i, l := range layers {
		if !used[i] {
			continue
		}
		unusable := CheckFormat(l.WIM, l.Path)
		if unusable != nil && len(layers) == 1 {
			return nil, unusable
		}
		if unusable != nil {
			u.Warn("%s", unusable.Error())
			list = append(list, backing{wim: l.WIM, unusable: true})
			continue
		}
		place, err := Beside(at, s.Path, l.Path)
		if err != nil {
			return nil, err
		}
		index := uint32(1) // of an image that is not this one, it says nothing
		if l.WIM == s.WIM {
			index = uint32(s.Image.Index)
		}
		id, err := overlay.Add(wof.WIMOther, index, l.WIM.GUID(), place)
		if err != nil {
			return nil, err
		}
		list = append(list, backing{wim: l.WIM, table: l.WIM.BlobTableSHA1(), id: id})
	}
	return list, nil
}

// usedLayers tells which layers are the first that has some content of the tree. The first counts if none is.
func usedLayers(t *winfile.Tree, layers []source.Layer) []bool {
	used := make([]bool, len(layers))
	for _, e := range t.All() {
		if e.Info.Data == nil {
			continue
		}
		for i, l := range layers {
			if _, ok := l.WIM.Lookup(e.Info.Data.SHA1); ok {
				used[i] = true
				break
			}
		}
	}
	for _, u := range used {
		if u {
			return used
		}
	}
	used[0] = true
	return used
}

// Beside is the location of a file that lies to another, whose location is known, as path to own.
func Beside(at wof.Location, own, path string) (wof.Location, error) {
	if own == path {
		return at, nil
	}
	rel, err := filepath.Rel(filepath.Dir(own), path)
	if err != nil || !filepath.IsLocal(rel) {
		return at, fmt.Errorf("%s does not lie beside %s or below it, so that its place at boot is not known", path, own)
	}
	at.Path = at.Path[:strings.LastIndexByte(at.Path, '\\')+1] + strings.ReplaceAll(filepath.ToSlash(rel), "/", `\`)
	return at, nil
}

// CheckFormat refuses WIMs that Windows cannot back files by.
func CheckFormat(r *wim.Reader, path string) error {
	_, parts := r.Part()
	f := wof.WIMFormat{ChunkSize: uint32(r.ChunkSize()), Version: r.Version(), Parts: parts}
	switch r.Codec() {
	case wim.XPRESS:
		f.Codec = wof.CodecXPRESS
	case wim.LZX:
		f.Codec = wof.CodecLZX
	case wim.LZMS:
		f.Codec = wof.CodecLZMS
	}
	if err := wof.CheckWIM(f); err != nil {
		return ui.Hint(fmt.Errorf("%s: %w", path, err), "capture it again: husk capture %s:1 new.wim --wimboot", path)
	}
	return nil
}

// rulesFor makes the rules from the user's configuration, or else from the image's.
func rulesFor(s *source.Source, wb *Wimboot, u *ui.UI) (*wof.Rules, error) {
	conf, err := ReadConfig(wb.Config, u)
	if err != nil {
		return nil, err
	}
	o := &wof.RuleOptions{BIOS: !wb.UEFI, Config: conf, Build: buildOf(s)}
	const firstPointers = 9600 // Windows 8.1: its loader reads them under UEFI
	if conf == nil && (o.BIOS || o.Build < firstPointers) {
		o.Early = Early(s.Tree, u)
	}
	rules, err := wof.NewRules(s.Tree, o)
	if err != nil {
		return nil, ui.Hint(err, "give a configuration with --config=FILE")
	}
	warnOf(rules, u)
	return rules, nil
}

// ReadConfig reads the user's configuration, if any.
func ReadConfig(path string, u *ui.UI) (*capconf.Config, error) {
	if path == "" {
		return nil, nil
	}
	conf, _, err := source.ReadConfig(path, u.Warn)
	return conf, err
}

// Early are the files of the system in a tree that are read before its driver for pointers and compact files runs, as its registry and its
// drivers tell: no list of names knows those of every maker. What cannot be read is a warning.
func Early(t *winfile.Tree, u *ui.UI) []string {
	set, err := bootset.Find(t)
	if err != nil {
		u.Warn("not all that the system reads at start could be found: %v", err)
	}
	return set.Paths()
}

// buildOf is the Windows build of the image, from its WIM or else from its registry; 0 if neither tells.
func buildOf(s *source.Source) int {
	if s.Image != nil {
		if w := s.Image.Info().Windows; w != nil && w.Build > 0 {
			return w.Build
		}
	}
	if facts, _ := winsys.Read(s.Tree); facts != nil { // what it could not read it does not tell
		return facts.Build
	}
	return 0
}

func warnOf(rules *wof.Rules, u *ui.UI) {
	for _, w := range rules.Warnings {
		u.Warn("WimBootCompress.ini: %s", w)
	}
}

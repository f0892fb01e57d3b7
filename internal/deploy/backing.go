package deploy

import (
	"fmt"

	"husk/capconf"
	"husk/internal/source"
	"husk/internal/ui"
	"husk/wim"
	"husk/winfile"
	"husk/wof"
)

// backing gives the resources of one WIM to wof.
type backing struct {
	wim   *wim.Reader
	table winfile.SHA1
	id    uint64
}

// NewBacking gives the resources of the WIM with a data source id.
func NewBacking(r *wim.Reader, id uint64) wof.Source { return backing{r, r.BlobTableSHA1(), id} }

func (b backing) Lookup(h winfile.SHA1) (wof.Resource, bool) {
	i, ok := b.wim.Lookup(h)
	return wof.Resource{
		DataSourceID: b.id, BlobTable: b.table, Offset: i.Offset, StoredSize: i.StoredSize, Size: i.Size, Compressed: i.Compressed,
		Solid: i.Solid,
	}, ok
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
	rules, err := wof.NewRules(s.Tree, &wof.RuleOptions{BIOS: !wb.UEFI, Config: conf, Build: buildOf(s)})
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

// buildOf is the Windows build of the image, 0 if it is not known.
func buildOf(s *source.Source) int {
	if s.Image != nil {
		if w := s.Image.Info().Windows; w != nil {
			return w.Build
		}
	}
	return 0
}

func warnOf(rules *wof.Rules, u *ui.UI) {
	for _, w := range rules.Warnings {
		u.Warn("WimBootCompress.ini: %s", w)
	}
}

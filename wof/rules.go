package wof

import (
	"fmt"

	"husk/capconf"
	"husk/winfile"
)

// ConfigPath is where an image has its own configuration.
const ConfigPath = `\Windows\System32\WimBootCompress.ini`

// RuleOptions say which lists of names keep files plain. The zero value takes the image's own configuration, or BootList if it
// has none.
type RuleOptions struct {
	Config  *capconf.Config // taken alone, in place of the image's and of BootList: the user's word; may be nil
	Build   int             // Windows build of the image, 0 if not known; below 9600 its loader needs BootList too
	BIOS    bool            // a BIOS boot manager shall start it, which reads no pointers: BootList too
	Early   []string        // slash paths of what this system reads before pointers work; taken where BootList is
	MaxSize int64           // of a pointer file, in bytes; 0 means MaxBacked, which is also the most
}

const firstPointerBuild = 9600 // Windows 8.1

// ListSource tells where the names of files that stay plain come from.
type ListSource uint8

const (
	BuiltInList ListSource = iota // BootList: the image has no configuration
	ImageList                     // the image's WimBootCompress.ini
	GivenList                     // RuleOptions.Config
)

// Rules decide which files of an image become pointer files.
type Rules struct {
	List     ListSource
	BootList bool              // the built-in list is part of them
	Warnings []capconf.Warning // about the image's configuration

	patterns []capconf.Pattern
	reasons  []Reason // of each pattern
	matcher  *capconf.Matcher
	early    map[*winfile.Info]struct{}
	maxSize  int64
}

// NewRules makes the rules for an image; opts may be nil. A configuration in the image that cannot be read is an error: to go on
// without it, give one.
func NewRules(tree *winfile.Tree, opts *RuleOptions) (*Rules, error) {
	if opts == nil {
		opts = new(RuleOptions)
	}
	r := &Rules{maxSize: opts.MaxSize}
	config, err := r.lists(tree, opts.Config)
	if err != nil {
		return nil, err
	}
	r.BootList = r.List == BuiltInList || r.List == ImageList && (opts.BIOS || opts.Build > 0 && opts.Build < firstPointerBuild)
	r.add(SystemHive, capconf.MustPatterns(`\Windows\System32\config\SYSTEM*`)) // is changed after the files are in place
	if r.BootList {
		r.early = infos(tree, opts.Early)
	}
	r.finish(config)
	return r, nil
}

// infos are the files at paths of a tree, by whatever name they are judged.
func infos(tree *winfile.Tree, paths []string) map[*winfile.Info]struct{} {
	set := make(map[*winfile.Info]struct{}, len(paths))
	for _, p := range paths {
		if e := tree.Lookup(p); e != nil {
			set[e.Info] = struct{}{}
		}
	}
	return set
}

// lists finds the configuration: the given one, or the image's; nil if there is none.
func (r *Rules) lists(tree *winfile.Tree, given *capconf.Config) (config *capconf.Config, err error) {
	if r.maxSize <= 0 || r.maxSize > MaxBacked {
		r.maxSize = MaxBacked
	}
	r.add(VolumeInfo, capconf.MustPatterns(`\`+volumeInfo))
	if given != nil {
		r.List = GivenList
		return given, nil
	}
	if config, r.Warnings, err = imageConfig(tree); config != nil {
		r.List = ImageList
	}
	return config, err
}

// finish adds the lists of names.
func (r *Rules) finish(config *capconf.Config) {
	if config != nil {
		r.add(Prepopulate, config.Prepopulate)
	}
	if r.BootList {
		r.add(BootFile, BootList())
	}
	r.matcher = capconf.NewMatcher(r.patterns)
}

func (r *Rules) add(reason Reason, patterns []capconf.Pattern) {
	for _, p := range patterns {
		r.patterns = append(r.patterns, p)
		r.reasons = append(r.reasons, reason)
	}
}

// imageConfig reads the image's own configuration. It returns nil if there is none.
func imageConfig(tree *winfile.Tree) (*capconf.Config, []capconf.Warning, error) {
	e := tree.Lookup(ConfigPath)
	if e == nil {
		return nil, nil, nil
	}
	fail := func(err error) error { return fmt.Errorf("wof: %s of the image: %w", ConfigPath, err) }
	if r := intrinsic(e.Info); r == Directory || r == ReparsePoint || r == Encrypted {
		return nil, nil, fail(fmt.Errorf("not an ordinary file: %v", r))
	}
	b, err := e.Info.Data.ReadAll(capconf.MaxSize)
	if err != nil {
		return nil, nil, fail(err)
	}
	config, warnings, err := capconf.Parse(b)
	if err != nil {
		return nil, nil, fail(err)
	}
	return config, warnings, nil
}

// intrinsic judges what the file is, whatever its name and content.
func intrinsic(i *winfile.Info) Reason {
	switch {
	case i.Attributes&winfile.AttrReparse != 0 || i.Reparse != nil:
		return ReparsePoint
	case i.Attributes&winfile.AttrDirectory != 0:
		return Directory
	case i.Attributes&winfile.AttrEncrypted != 0:
		return Encrypted
	case i.Data == nil:
		return Empty
	case i.Attributes&winfile.AttrSparse != 0:
		// Every pointer file has the attribute, so that read back it says nothing of the original.
		return Sparse
	}
	return Backed
}

// byName judges one of a file's names.
func (r *Rules) byName(path string, info *winfile.Info) (Reason, capconf.Pattern) {
	if i := r.matcher.Match(path); i >= 0 {
		return r.reasons[i], r.patterns[i]
	}
	if _, ok := r.early[info]; ok && r.BootList {
		return Early, capconf.Pattern{}
	}
	return Backed, capconf.Pattern{}
}

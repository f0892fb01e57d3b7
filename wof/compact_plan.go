package wof

import (
	"husk/capconf"
	"husk/winfile"
)

// CompactOptions say which files of an image become compact files. The zero value is for an image that BIOS does not start and whose
// Windows is not known.
type CompactOptions struct {
	Algorithm Algorithm
	Config    *capconf.Config // taken in place of the image's and of BootList: the user's word; may be nil
	Build     int             // Windows build of the image, 0 if not known
	BIOS      bool            // a BIOS boot manager shall start it, which reads no compact files: BootList stays plain
	Early     []string        // slash paths of what this system reads before Windows' own driver runs: treated as BootList is
	MaxSize   int64           // of a compact file, in bytes; 0 means MaxBacked, which is also the most
}

// Builds of Windows 10 that tell what its loader reads. Source: wimlib 1.14.5, and for XPRESS16K, which the boot manager does not read, the
// tests with Microsoft's own.
const (
	firstCompactBuild = 10240 // XPRESS4K
	anyCompactBuild   = 18362 // LZX and XPRESS8K too
)

// CompactRules decide which files of an image become compact files.
type CompactRules struct {
	Rules
	algorithm Algorithm
	boot      Algorithm // of what loaders read
	loader    *capconf.Matcher
}

// rewritten are files that Windows writes to in place. As it expands a compact file at the first write, these would only cost time; loaders
// read and write some of them by themselves.
func rewritten() []capconf.Pattern {
	return capconf.MustPatterns(`
		\pagefile.sys
		\swapfile.sys
		\hiberfil.sys
		\Boot\BCD*
		\EFI\Microsoft\Boot\BCD*
		\Windows\bootstat.dat
		\Windows\System32\config\*
		NTUSER.DAT*
		UsrClass.dat*
	`)
}

// NewCompactRules makes the rules for an image; opts may be nil. A configuration in the image that cannot be read is an error: to go on
// without it, give one.
func NewCompactRules(tree *winfile.Tree, opts *CompactOptions) (*CompactRules, error) {
	if opts == nil {
		opts = new(CompactOptions)
	}
	r := &CompactRules{Rules: Rules{maxSize: opts.MaxSize}, algorithm: opts.Algorithm}
	config, err := r.lists(tree, opts.Config)
	if err != nil {
		return nil, err
	}
	switch {
	case r.List != GivenList && (opts.BIOS || opts.Build < firstCompactBuild):
		r.BootList = true
	case opts.Build < anyCompactBuild:
		r.boot = XPRESS4K
	case opts.Algorithm == XPRESS16K:
		r.boot = XPRESS8K
	default:
		r.boot = opts.Algorithm
	}
	r.add(Rewritten, rewritten())
	r.finish(config)
	if r.List != GivenList {
		r.early = infos(tree, opts.Early)
	}
	if !r.BootList && r.boot != r.algorithm {
		r.loader = capconf.NewMatcher(BootList())
	}
	return r, nil
}

// CompactPlan is what becomes of each file of a tree.
type CompactPlan struct {
	Plain []PlainFile // in the order of the tree; directories are only counted

	rules  *CompactRules
	totals [reasonCount]Total
	plain  map[*winfile.Info]struct{}
	loader map[*winfile.Info]struct{} // compact files in the form for loaders
}

// Decide judges every file of a tree by all of its names. Whether a file would take less room is not known yet, see [CompactPlan.Settle].
func (r *CompactRules) Decide(tree *winfile.Tree) *CompactPlan {
	p := &CompactPlan{rules: r, plain: make(map[*winfile.Info]struct{}), loader: make(map[*winfile.Info]struct{})}
	backed := make(map[*winfile.Info]struct{}) // so far, of files with several names
	for path, e := range tree.All() {
		i := e.Info
		if _, ok := p.plain[i]; ok {
			continue
		}
		reason, pattern := r.judge(path, i)
		if reason == Backed && r.forLoader(path, i) {
			p.loader[i] = struct{}{}
		}
		if _, again := backed[i]; again {
			if reason == Backed {
				continue
			}
			p.count(Backed, i, -1)
		}
		p.count(reason, i, 1)
		switch reason {
		case Directory:
		case Backed:
			if i.Links > 1 {
				backed[i] = struct{}{}
			}
		default:
			p.keep(path, i, reason, pattern)
		}
	}
	return p
}

// forLoader reports whether a file is to be in the form that loaders read.
func (r *CompactRules) forLoader(path string, i *winfile.Info) bool {
	if r.loader == nil {
		return false
	}
	_, early := r.early[i]
	return early || r.loader.Match(path) >= 0
}

// judge gives the verdict for one name of a file.
func (r *CompactRules) judge(path string, i *winfile.Info) (Reason, capconf.Pattern) {
	if reason := intrinsic(i); reason != Backed {
		return reason, capconf.Pattern{}
	}
	for k := range i.Streams {
		if winfile.EqualFold(i.Streams[k].Name, CompactStream) {
			return StreamTaken, capconf.Pattern{}
		}
	}
	if reason, pattern := r.byName(path, i); reason != Backed {
		return reason, pattern
	}
	if i.Data.Size > r.maxSize {
		return TooLarge, capconf.Pattern{}
	}
	return Backed, capconf.Pattern{}
}

func (p *CompactPlan) keep(path string, i *winfile.Info, reason Reason, pattern capconf.Pattern) {
	p.plain[i] = struct{}{}
	p.Plain = append(p.Plain, PlainFile{path, i, reason, pattern})
}

func (p *CompactPlan) count(r Reason, i *winfile.Info, sign int) {
	p.totals[r].Files += sign
	p.totals[r].Bytes += int64(sign) * i.Size()
}

// Settle asks about each file that is to be a compact file, once, whether it becomes small enough. Those that do not stay plain. It is to
// be given the tree that the plan was made for.
func (p *CompactPlan) Settle(tree *winfile.Tree, gains func(*winfile.Info, Algorithm) bool) {
	kept := make(map[*winfile.Info]struct{}) // of files with several names
	for path, e := range tree.All() {
		i := e.Info
		a, ok := p.Algorithm(i)
		if !ok {
			continue
		}
		if _, again := kept[i]; again {
			continue
		}
		if gains(i, a) {
			if i.Links > 1 {
				kept[i] = struct{}{}
			}
			continue
		}
		p.count(Backed, i, -1)
		p.count(NoGain, i, 1)
		p.keep(path, i, NoGain, capconf.Pattern{})
	}
}

// Total returns how many files have a reason.
func (p *CompactPlan) Total(r Reason) Total {
	if r >= reasonCount {
		return Total{}
	}
	return p.totals[r]
}

// Algorithm tells how a file of the tree is to be compressed, if it is to be a compact file. It is safe for concurrent use.
func (p *CompactPlan) Algorithm(i *winfile.Info) (Algorithm, bool) {
	if intrinsic(i) != Backed {
		return 0, false
	}
	if _, ok := p.plain[i]; ok {
		return 0, false
	}
	if _, ok := p.loader[i]; ok {
		return p.rules.boot, true
	}
	return p.rules.algorithm, true
}

// PlainFiles returns Plain.
func (p *CompactPlan) PlainFiles() []PlainFile { return p.Plain }

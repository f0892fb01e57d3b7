package wof

import (
	"fmt"

	"husk/capconf"
	"husk/winfile"
)

// PlainFile is a file that does not become a pointer file.
type PlainFile struct {
	Path    string          // of its names, the one that decided; else the first
	Info    *winfile.Info   // one PlainFile per info, whatever its number of names
	Reason  Reason          // never Backed or Directory
	Pattern capconf.Pattern // that Path matches, where a list is the reason
}

// Total counts files, hard links once, and the bytes of their unnamed data.
type Total struct {
	Files int
	Bytes int64
}

// Plan is what becomes of each file of a tree.
type Plan struct {
	Plain []PlainFile // in the order of the tree; directories are only counted

	totals [reasonCount]Total
	plain  map[*winfile.Info]struct{}
	source Source
}

// Total returns how many files have a reason.
func (p *Plan) Total(r Reason) Total {
	if r >= reasonCount {
		return Total{}
	}
	return p.totals[r]
}

// Decide judges every file of a tree by all of its names. It returns an error if the WIM contradicts the tree.
//
// A file that the source has as sparse stays plain: pointer files all have that attribute, so it would be lost. Named streams and
// hard links are no obstacle.
func (r *Rules) Decide(tree *winfile.Tree, source Source) (*Plan, error) {
	p := &Plan{plain: make(map[*winfile.Info]struct{}), source: source}
	backed := make(map[*winfile.Info]struct{}) // so far, of files with several names
	for path, e := range tree.All() {
		i := e.Info
		if _, ok := p.plain[i]; ok {
			continue
		}
		reason, pattern, err := r.judge(path, i, source)
		if err != nil {
			return nil, err
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
			p.plain[i] = struct{}{}
			p.Plain = append(p.Plain, PlainFile{path, i, reason, pattern})
		}
	}
	return p, nil
}

// judge gives the verdict for one name of a file.
func (r *Rules) judge(path string, i *winfile.Info, source Source) (Reason, capconf.Pattern, error) {
	if reason := intrinsic(i); reason != Backed {
		return reason, capconf.Pattern{}, nil
	}
	if reason, pattern := r.byName(path, i); reason != Backed {
		return reason, pattern, nil
	}
	reason := Backed
	if i.Data.Size > r.maxSize {
		reason = TooLarge
	} else if res, ok := source.Lookup(i.Data.SHA1); !ok || i.Data.SHA1 == (winfile.SHA1{}) {
		reason = NotInWIM
	} else if err := res.check(i.Data); err != nil {
		return 0, capconf.Pattern{}, fmt.Errorf("wof: %s: %w", path, err)
	} else {
		reason = res.verdict()
	}
	return reason, capconf.Pattern{}, nil
}

// check compares a resource with the blob that it was found for.
func (r *Resource) check(b *winfile.Blob) error {
	switch {
	case r.Size != b.Size:
		return fmt.Errorf("content %v has %d bytes, and %d in the WIM", b.SHA1, b.Size, r.Size)
	case r.Offset < 0 || r.StoredSize <= 0:
		return fmt.Errorf("content %v has %d bytes at offset %d of the WIM", b.SHA1, r.StoredSize, r.Offset)
	}
	return nil
}

func (p *Plan) count(r Reason, i *winfile.Info, sign int) {
	p.totals[r].Files += sign
	p.totals[r].Bytes += int64(sign) * i.Size()
}

// Pointer returns the pointer of a file of the tree, or nil if the file is not to be a pointer file.
func (p *Plan) Pointer(i *winfile.Info) *Pointer {
	if intrinsic(i) != Backed {
		return nil
	}
	if _, ok := p.plain[i]; ok {
		return nil
	}
	res, ok := p.source.Lookup(i.Data.SHA1)
	if !ok {
		return nil
	}
	return res.pointer(i.Data.SHA1)
}

// Backing returns the reparse buffer of a file of the tree, or nil if the file is not to be a pointer file. It makes the buffer
// anew each time, and is safe for concurrent use.
func (p *Plan) Backing(i *winfile.Info) []byte {
	if ptr := p.Pointer(i); ptr != nil {
		return ptr.Marshal()
	}
	return nil
}

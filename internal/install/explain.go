package install

import (
	"errors"

	"husk/internal/bootset"
	"husk/internal/deploy"
	"husk/internal/ramdisk"
	"husk/winfile"
	"husk/wof"
)

// Plan is what becomes of the files of a system that are not all plain.
type Plan struct {
	Counts []PlanCount `json:"counts"`
	Plain  []PlainFile `json:"plain,omitempty"` // with Options.Explain

	bytes int64 // of plain files
}

// PlanCount tells how many files have one fate.
type PlanCount struct {
	Reason wof.Reason `json:"reason"`
	Files  int        `json:"files"`
	Bytes  int64      `json:"bytes"`
}

// PlainFile is a file that stays plain.
type PlainFile struct {
	Path    string      `json:"path"`
	Reason  wof.Reason  `json:"reason"`
	Pattern string      `json:"pattern,omitempty"` // of the list that names it
	Why     bootset.Why `json:"why,omitempty"`     // of what is read early
	By      string      `json:"by,omitempty"`      // the driver, the importing file or the registry value that names it
	Bytes   int64       `json:"bytes"`
}

// newPlan describes a plan; nil for none.
func newPlan(t *winfile.Tree, p deploy.Plan, explain bool) (*Plan, error) {
	if p == nil {
		return nil, nil
	}
	r := &Plan{}
	for _, reason := range wof.Reasons() {
		if n := p.Total(reason); n.Files > 0 && reason != wof.Directory {
			r.Counts = append(r.Counts, PlanCount{reason, n.Files, n.Bytes})
			if reason != wof.Backed {
				r.bytes += n.Bytes
			}
		}
	}
	if !explain {
		return r, nil
	}
	why := make(map[string]bootset.File)
	set, err := bootset.Find(t)
	if set == nil {
		return nil, errors.Join(errors.New("what is read early is not known"), err)
	}
	for _, f := range set.Files { // what could not be read was a warning before
		why[f.Path] = f
	}
	for _, f := range p.PlainFiles() {
		early := why[f.Path]
		r.Plain = append(r.Plain, PlainFile{f.Path, f.Reason, f.Pattern.String(), early.Why, early.By, f.Info.Size()})
	}
	return r, nil
}

// estimate is about the size of a disk with the plain files and room to write.
func (p *Plan) estimate(free int64) int64 {
	if free == 0 {
		free = ramdisk.DefaultFree
	}
	var plain int64
	if p != nil {
		plain = p.bytes
	}
	return (plain+plain/16+free)/mib*mib + 16*mib
}

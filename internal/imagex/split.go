package imagex

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"

	"husk/internal/atomicfile"
	"husk/wim"
)

// runSplit is split.
func runSplit(k *call) error {
	name, first := k.args[0], k.args[1]
	mebibytes, err := strconv.ParseFloat(k.args[2], 64)
	if err != nil || !(mebibytes > 0) || mebibytes > math.MaxInt64>>21 {
		return badArgument("Invalid part size %q: want a number of mebibytes", k.args[2])
	}
	r, err := k.openOne(name)
	if err != nil {
		return err
	}
	if _, parts := r.Part(); parts > 1 {
		return fail(codeSplit, "%q is a part of a split WIM already", name)
	}
	parts, err := wim.PlanSplit(r, int64(mebibytes*(1<<20)))
	if err != nil {
		return coded(err, codeParam)
	}
	var total int64
	for _, b := range r.Blobs() {
		total += b.Size
	}
	var open *atomicfile.File
	defer func() {
		if open != nil {
			open.Abort()
		}
	}()
	bar := newProgress(k.out, "Splitting WIM", total)
	err = wim.Split(k.ctx, r, parts, func(part int) (wim.WriteTarget, error) {
		if sameFile(wim.PartName(first, part), name) {
			return nil, fail(codeParam, "%q would be replaced by a part of itself", name)
		}
		f, err := atomicfile.Create(wim.PartName(first, part), true)
		open = f
		return f, err
	}, func(int) error {
		err := open.Commit()
		open = nil
		return err
	}, &wim.SplitOptions{Integrity: k.has("check") || k.has("include-integrity"), Progress: bar.to})
	bar.finish(err == nil)
	if err != nil {
		return coded(err, codeWrite)
	}
	k.say("Finished splitting %q\n", name)
	return nil
}

// runJoin is join.
func runJoin(k *call) (err error) {
	target, names := k.args[0], k.args[1:]
	for _, n := range names {
		if sameFile(n, target) {
			return fail(codeParam, "%q is a part and cannot be what they are joined to", target)
		}
		if k.has("check") {
			if _, err := k.openOne(n); err != nil {
				return err
			}
		}
	}
	r, err := wim.OpenSet(names...)
	if err != nil {
		var format *wim.FormatError
		if errors.As(err, &format) {
			return coded(err, codeOpen)
		}
		if i := slices.IndexFunc(names, isMissing); i >= 0 {
			return fail(codeOpen, "Can't open %q read-only: %w", names[i], err)
		}
		return fail(codeSplitSet, "%w", err)
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	f, err := atomicfile.Create(target, true)
	if err != nil {
		return coded(err, codeOpen)
	}
	defer f.Abort()
	k.using(r.Codec(), 0)
	o := k.integrity(&wim.WriterOptions{})
	var total int64
	for _, one := range append([]*wim.Reader{r}, r.References()...) {
		for _, b := range one.Blobs() {
			total += b.Size
		}
	}
	k.progressOf(o, "Archiving file data", total)
	_, err = wim.Rebuild(k.ctx, f, r, o)
	k.ended(o, err == nil)
	if err != nil {
		return coded(fmt.Errorf("%s: %w", target, err), codeWrite)
	}
	return coded(f.Commit(), codeWrite)
}

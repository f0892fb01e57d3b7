package imagex

import (
	"errors"

	"husk/wim"
)

// runVerify is verify.
func runVerify(k *call) error {
	name := k.args[0]
	r, err := k.open(name)
	if err != nil {
		return err
	}
	if !k.has("nocheck") {
		if !r.HasIntegrity() {
			k.warn("%q does not contain integrity information.  Skipping integrity check.", name)
		} else if err := r.VerifyIntegrity(k.ctx); err != nil {
			return fail(codeIntegrity, "%s: %w", name, err)
		}
	}
	for _, i := range r.Images() {
		k.say("Verifying metadata for image %d of %d\n", i.Index, len(r.Images()))
	}
	files := append([]*wim.Reader{r}, r.References()...)
	for _, one := range files {
		var total int64
		for _, b := range one.Blobs() {
			total += b.Size
		}
		p := newProgress(k.out, "Verifying file data", total)
		res, err := one.Verify(k.ctx, &wim.VerifyOptions{Progress: func(done, _ int64) { p.to(done) }})
		if err != nil {
			p.finish(false)
			return err
		}
		p.finish(len(res.Problems) == 0)
		if err := problemOf(res.Problems, one == r || len(files) == 1); err != nil {
			return err
		}
	}
	k.say("\n%q was successfully verified.\n", name)
	return nil
}

// problemOf chooses the code for what is wrong. Of a WIM that is only referred to, images whose data is elsewhere do not count.
func problemOf(list []error, own bool) error {
	var counted []error
	for _, p := range list {
		if own || !errors.Is(p, wim.ErrMissing) {
			counted = append(counted, p)
		}
	}
	if len(counted) == 0 {
		return nil
	}
	return coded(errors.Join(counted...), codeDecompress)
}

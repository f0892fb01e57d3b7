package wim

import (
	"context"
	"errors"
	"runtime"
)

// VerifyIntegrity compares the file with its integrity table alone, as [Reader.Verify] does. It returns nil if there is none.
func (r *Reader) VerifyIntegrity(ctx context.Context) error {
	v := &verifier{r: r, opts: VerifyOptions{Workers: runtime.GOMAXPROCS(0)}, res: &VerifyResult{}}
	if err := v.integrity(ctx); err != nil {
		return err
	}
	return errors.Join(v.res.Problems...)
}

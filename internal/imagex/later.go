package imagex

import "husk/wim"

// setSolid sets what --solid and its like ask for.
func setSolid(_ *wim.WriterOptions, f *writing) error {
	if !f.solid {
		return nil
	}
	return fail(codeUnsupported, "solid WIMs are read, and not written yet")
}

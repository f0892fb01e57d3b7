package imagex

import (
	"husk/wim"
	"husk/winfile"
)

// setSolid sets what --solid and its like ask for.
func setSolid(o *wim.WriterOptions, f *writing) error {
	if !f.solid {
		return nil
	}
	return fail(codeUnsupported, "solid WIMs are read, and not written yet")
}

func (k *call) setPipable(*wim.WriterOptions) error {
	return fail(codeUnsupported, "pipable WIMs are not written yet")
}

func (k *call) capturePipable(t *winfile.Tree, info wim.ImageInfo, o *wim.WriterOptions, target string) error {
	return k.setPipable(o)
}

func (k *call) exportPipable(src *wim.Reader, list []*wim.Image, f *writing, to string, threads int) error {
	return k.setPipable(nil)
}

// fromPipe reads a pipable WIM from the standard input.
func (k *call) fromPipe() (*wim.Reader, error) {
	return nil, fail(codeUnsupported, "pipable WIMs are not read from pipes yet")
}

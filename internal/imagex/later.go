package imagex

import "husk/wim"

// setSolid sets what --solid and its like ask for.
func setSolid(o *wim.WriterOptions, f *writing) error {
	if !f.solid {
		return nil
	}
	o.Solid, o.SolidCodec, o.SolidChunkSize, o.SolidLevel, o.SolidUnsorted = true, f.solidCodec, f.solidChunk, levelOf(f.solidLevel), f.unsorted
	codec := f.solidCodec
	if codec == wim.Auto {
		codec = wim.LZMS
	}
	return checkChunk(codec, f.solidChunk)
}

package lzx

import "husk/compress/internal/lzhuff"

// matchEntry is the least entry of a match in the main code: slot+1<<16 | H+2<<8. A literal is b<<8.
const matchEntry = 1 << 16

// mainEntries by symbol, without lengths.
var mainEntries = func() (main [maxMainSymbols]uint32) {
	for sym := range main {
		main[sym] = lzhuff.PlainEntries[sym]
		if sym >= firstMatch {
			slot, header := (sym-firstMatch)/slotSymbols, (sym-firstMatch)%slotSymbols
			main[sym] = uint32(slot+1)<<16 | uint32(header+minMatch)<<8
		}
	}
	return main
}()

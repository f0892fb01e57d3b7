package lzx

import "testing"

// TestFinders compares what finders that may look at everything find with a search of the whole chunk: the nearest match
// of each length from 4.
func TestFinders(t *testing.T) {
	size := 1500
	if underRace {
		size = 300
	}
	for name, f := range map[string]finder{
		"tree16": newTreeFinder[uint16](minWindow), "tree32": newTreeFinder[uint32](minWindow),
		"chain": newChainFinder(minWindow),
	} {
		for sample, data := range samples(t) {
			t.Run(name+"/"+sample, func(t *testing.T) {
				buf := make([]byte, 1+size+padding)
				copy(buf[1:1+size], data)
				end := 1 + size
				m := matches{make([]item, 100*size+maxWindow), make([]uint32, size+1)}
				f.reset()
				f.find(&m, buf, 1, end, end, minWindow-3, 1<<20, maxMatch)
				skipTo := 0
				for p := 1; p < end-noMatchTail; p++ {
					if p < skipTo {
						continue
					}
					best := 3
					limit := min(maxMatch, end-p)
					found := m.at(p - 1)
					for len(found) > 0 && found[0].length() <= best {
						found = found[1:]
					}
					for q := p - 1; q > 0 && best < limit; q-- {
						if n := matchLength(buf, q, p, limit); n > best {
							best = n
							if len(found) == 0 || found[0] != match(uint32(p-q+repeatOffset), n) {
								t.Fatalf("position %d: %d bytes at offset %d are not found: %v", p, n, p-q, found)
							}
							found = found[1:]
						}
					}
					if len(found) > 0 {
						t.Fatalf("position %d: %v found in excess", p, found)
					}
					if best == maxMatch {
						skipTo = p + best
					}
				}
			})
		}
	}
}

package lzms

import "math/bits"

const (
	padding   = 64  // bytes after the chunk that may be compared, in vain
	batchSize = 512 // positions that are looked up at once
	sparse    = 4   // every so many positions are entered where no matches are looked for

	minHashBits = 10
)

// A rung finds the latest place whose first bytes, so many, are those at a position. It can miss it when another place with the same
// hash came later. Positions are 1-based so that 0 can mean none.
type rung struct {
	length int      // bytes
	head   []uint32 // by hash: the latest position
	shift  uint     // of the hash; small chunks use a part of head
}

func newRung(length, hashBits int) rung {
	return rung{length: length, head: make([]uint32, 1<<hashBits)}
}

// clearHeads forgets what the part of head has that a chunk of 1<<log bytes at most uses, and returns how many bits its hashes have.
func clearHeads(head []uint32, log int) uint {
	n := max(min(bits.Len(uint(len(head)))-1, log), minHashBits)
	clear(head[:1<<n])
	return uint(n)
}

const (
	hashFactor  = 0x9e3779b97f4a7c15
	hashFactor2 = 0xc2b2ae3d27d4eb4f
)

// find sets the column of candidates, which has columns of them, for the positions from to to-1, and enters these. What it loads does
// not depend on what it found before, so that the processor waits for many loads at a time.
func (r *rung) find(buf []byte, from, to int, hashes, candidates []uint32, columns int) {
	hashes = hashes[:to-from]
	r.hash(buf, from, 1, hashes)
	head, at, p := r.head, 0, uint32(from)
	for _, h := range hashes {
		candidates[at] = head[h]
		head[h] = p
		at += columns
		p++
	}
}

// enter enters every step-th position.
func (r *rung) enter(buf []byte, from, to, step int, hashes []uint32) {
	hashes = hashes[:(to-from+step-1)/step]
	r.hash(buf, from, step, hashes)
	p := uint32(from)
	for _, h := range hashes {
		r.head[h] = p
		p += uint32(step)
	}
}

// hash sets the hashes of every step-th position.
func (r *rung) hash(buf []byte, p, step int, hashes []uint32) {
	shift := r.shift & 63
	if r.length <= 8 {
		skip := uint(64-8*r.length) & 63
		for i := range hashes {
			hashes[i] = uint32(le.Uint64(buf[p:]) << skip * hashFactor >> shift)
			p += step
		}
		return
	}
	tail := r.length - 8
	for i := range hashes {
		h := le.Uint64(buf[p:])*hashFactor ^ le.Uint64(buf[p+tail:])*hashFactor2
		for k := 8; k < tail; k += 8 {
			h = (h ^ h>>32 ^ le.Uint64(buf[p+k:])) * hashFactor
		}
		hashes[i] = uint32((h ^ h>>29) * hashFactor >> shift)
		p += step
	}
}

// A found is a match that may be taken. Those of one position have ascending lengths.
type found struct{ length, offset uint32 }

// A foundDelta is a delta match that may be taken.
type foundDelta struct {
	length uint32
	pair   uint32 // power<<deltaRawBits | raw
}

// A finder finds earlier occurrences of the bytes at a position by a ladder of rungs: the latest that has two bytes in common, three,
// and so on up. It is nearly what a search tree finds, with a few tables instead of two words for each byte of the chunk, and less
// waiting for memory.
type finder struct {
	rungs  []rung
	deltas []deltaRung
	nice   int // a match this long is taken without a look inside it
	skipTo int // positions before are inside such a match

	hashes     []uint32 // of the positions of the batch, for one rung
	candidates []uint32 // a row for each position of the batch, rungs first

	// What was found for the positions of the batch, those of one up to where the next one's start:
	matches    []found
	first      []uint32
	deltaFound []foundDelta
	firstDelta []uint32
}

func newFinder(chunk int, e *effort) *finder {
	f := &finder{nice: e.nice}
	log := bits.Len(uint(max(chunk, 2) - 1))
	for _, r := range e.rungs {
		f.rungs = append(f.rungs, newRung(r.length, max(min(r.hashBits, log), minHashBits)))
	}
	for power := range e.deltaPowers {
		f.deltas = append(f.deltas, newDeltaRung(power, max(min(deltaHashBits, log), minHashBits)))
	}
	f.hashes = make([]uint32, batchSize)
	f.candidates = make([]uint32, batchSize*(len(f.rungs)+len(f.deltas)))
	f.matches = make([]found, batchSize*len(f.rungs))
	f.first = make([]uint32, batchSize+1)
	f.deltaFound = make([]foundDelta, batchSize*len(f.deltas))
	f.firstDelta = make([]uint32, batchSize+1)
	return f
}

// reset forgets the last chunk, for one of size bytes.
func (f *finder) reset(size int) {
	log := bits.Len(uint(size - 1))
	for i := range f.rungs {
		f.rungs[i].shift = 64 - clearHeads(f.rungs[i].head, log)
	}
	for i := range f.deltas {
		f.deltas[i].shift = 32 - clearHeads(f.deltas[i].head, log)
	}
	f.skipTo = 0
}

// find looks up the positions from to to-1, at most batchSize, in buf, whose data end at end and are followed by padding.
func (f *finder) find(buf []byte, from, to, end int) {
	columns := len(f.rungs) + len(f.deltas)
	start := from // of what is not inside a long match
	if f.skipTo > from {
		start = min(f.skipTo, to)
		for i := range f.rungs {
			f.rungs[i].enter(buf, from, start, sparse, f.hashes)
		}
		clear(f.first[:start-from])
		clear(f.firstDelta[:start-from])
	}
	for i := range f.rungs {
		f.rungs[i].find(buf, start, to, f.hashes, f.candidates[i:], columns)
	}
	for i := range f.deltas {
		f.deltas[i].find(buf, start, to, f.candidates[len(f.rungs)+i:], columns)
	}
	n, nd := 0, 0
	for p := start; p < to; p++ {
		f.first[p-from], f.firstDelta[p-from] = uint32(n), uint32(nd)
		if p < f.skipTo {
			continue
		}
		row := f.candidates[(p-start)*columns:][:columns]
		best := 1
		before := uint32(0)
		limit := end - p
		for _, c := range row[:len(f.rungs)] {
			if c == 0 || c == before {
				continue
			}
			before = c
			if best < limit && best >= 4 && le.Uint32(buf[int(c)+best-3:]) != le.Uint32(buf[p+best-3:]) {
				continue
			}
			length := matchLength(buf, int(c), p, limit)
			if length <= best {
				continue
			}
			best = length
			f.matches[n] = found{uint32(length), uint32(p) - c}
			n++
			if length >= f.nice {
				f.skipTo = p + length
				break
			}
		}
		if best >= f.nice {
			continue
		}
		for i, c := range row[len(f.rungs):] {
			if c == 0 {
				continue
			}
			if length := f.deltas[i].length(buf, int(c), p, limit); length >= minDelta && length > best {
				f.deltaFound[nd] = foundDelta{uint32(length), uint32(i)<<deltaRawBits | (uint32(p)-c)>>i}
				nd++
				best = length
				if length >= f.nice {
					f.skipTo = p + length
					break
				}
			}
		}
	}
	f.first[to-from], f.firstDelta[to-from] = uint32(n), uint32(nd)
}

// matchLength returns how many bytes at a and at b > a, at most limit, are equal.
func matchLength(buf []byte, a, b, limit int) int {
	n := 0
	for n < limit {
		if diff := le.Uint64(buf[a+n:]) ^ le.Uint64(buf[b+n:]); diff != 0 {
			return min(n+bits.TrailingZeros64(diff)>>3, limit)
		}
		n += 8
	}
	return limit
}

const (
	deltaHashBits = 17
	deltaHashed   = 4 // differences that are hashed
	minDelta      = 5 // bytes
)

// A deltaRung finds the latest place whose first differences to the bytes 1<<power before are those at a position, and whose distance
// is a multiple of 1<<power.
type deltaRung struct {
	power int
	head  []uint32
	shift uint
}

func newDeltaRung(power, hashBits int) deltaRung {
	return deltaRung{power: power, head: make([]uint32, 1<<hashBits)}
}

// find is like rung.find.
func (r *deltaRung) find(buf []byte, from, to int, candidates []uint32, columns int) {
	head, shift, span, at := r.head, r.shift&31, 1<<r.power, 0
	for p := from; p < to; p++ {
		c := uint32(0)
		if p > span {
			d := uint32(differences(uint64(le.Uint32(buf[p:])), uint64(le.Uint32(buf[p-span:]))))
			h := (d*0x9e3779b1 ^ uint32(p&(span-1))*0x85ebca6b) * 0xc2b2ae35 >> shift
			c = head[h]
			head[h] = uint32(p)
			if d == 0 || (uint32(p)-c)&uint32(span-1) != 0 || (uint32(p)-c)>>r.power > maxDeltaRaw {
				c = 0 // equal bytes are for LZ matches
			}
		}
		candidates[at] = c
		at += columns
	}
}

// length returns how many bytes the delta match at p of those at c has, at most limit.
func (r *deltaRung) length(buf []byte, c, p, limit int) int {
	return deltaLength(buf, c, p, 1<<r.power, limit)
}

func deltaLength(buf []byte, c, p, span, limit int) int {
	n := 0
	for n < limit {
		a := differences(le.Uint64(buf[p+n:]), le.Uint64(buf[p+n-span:]))
		b := differences(le.Uint64(buf[c+n:]), le.Uint64(buf[c+n-span:]))
		if a != b {
			return min(n+bits.TrailingZeros64(a^b)>>3, limit)
		}
		n += 8
	}
	return limit
}

// differences subtracts each byte of b from that of a.
func differences(a, b uint64) uint64 {
	const top = 0x8080808080808080
	return (a | top - b&^top) ^ (a^^b)&top
}

package lzms

// An item is a literal or a match.
type item struct {
	source source
	length uint32
}

// A source is what an item copies: a kind in the upper bits, and by kind
//
//	literal      the byte
//	lzSource     the offset
//	deltaSource  power<<deltaRawBits | raw offset
//	repeated     which of the latest LZ sources, or deltaRepeat and which of the latest delta sources
type source uint32

const (
	literal source = iota << 30
	lzExplicit
	deltaExplicit
	repeated

	kindMask    source = 3 << 30
	deltaRepeat source = 4

	// The format has 30 bits. Deltas so far away have no use.
	deltaRawBits = 27
	maxDeltaRaw  = 1<<deltaRawBits - 1
)

func (s source) kind() source  { return s & kindMask }
func (s source) value() uint32 { return uint32(s &^ kindMask) }

// after tells what the item before was.
const (
	afterOther = iota
	afterLZ
	afterDelta
)

// A state is what an item's meaning and cost depend on, beside the codes.
type state struct {
	lz                 [queueSlots]uint32 // latest offsets
	delta              [queueSlots]uint32 // latest pairs: power<<deltaRawBits | raw
	main, match        uint8              // latest outcomes of the decisions
	lzKind, deltaKind  uint8
	lzRepeat, deltaRep [repeatSlots - 1]uint8
	after              uint8
}

var startState = func() state {
	s := state{}
	for i := range s.lz {
		s.lz[i], s.delta[i] = uint32(i+1), uint32(i+1)
	}
	return s
}()

// repeatOutcomes notes the decisions that name one of the latest sources.
func repeatOutcomes(s *[repeatSlots - 1]uint8, k uint32) {
	switch k {
	case 0:
		s[0] = s[0] << 1 % repeatContexts
	case 1:
		s[0] = (s[0]<<1 | 1) % repeatContexts
		s[1] = s[1] << 1 % repeatContexts
	default:
		s[0] = (s[0]<<1 | 1) % repeatContexts
		s[1] = (s[1]<<1 | 1) % repeatContexts
	}
}

func (s *state) takeLiteral() {
	s.main = s.main << 1 % mainContexts
	s.after = afterOther
}

// take makes s the state after an item.
func (s *state) take(src source) {
	kind := src.kind()
	if kind == literal {
		s.takeLiteral()
		return
	}
	s.main = (s.main<<1 | 1) % mainContexts
	switch {
	case kind == lzExplicit:
		s.match = s.match << 1 % matchContexts
		s.lzKind = s.lzKind << 1 % lzContexts
		s.lz = [queueSlots]uint32{src.value(), s.lz[0], s.lz[1], s.lz[2]}
		s.after = afterLZ
	case kind == deltaExplicit:
		s.match = (s.match<<1 | 1) % matchContexts
		s.deltaKind = s.deltaKind << 1 % deltaContexts
		s.delta = [queueSlots]uint32{src.value(), s.delta[0], s.delta[1], s.delta[2]}
		s.after = afterDelta
	case src.value() < uint32(deltaRepeat):
		k := src.value()
		s.match = s.match << 1 % matchContexts
		s.lzKind = (s.lzKind<<1 | 1) % lzContexts
		repeatOutcomes(&s.lzRepeat, k)
		if s.after == afterLZ {
			k++
		}
		toFront(&s.lz, k)
		s.after = afterLZ
	default:
		k := src.value() - uint32(deltaRepeat)
		s.match = (s.match<<1 | 1) % matchContexts
		s.deltaKind = (s.deltaKind<<1 | 1) % deltaContexts
		repeatOutcomes(&s.deltaRep, k)
		if s.after == afterDelta {
			k++
		}
		toFront(&s.delta, k)
		s.after = afterDelta
	}
}

func toFront(q *[queueSlots]uint32, k uint32) {
	used := q[k%queueSlots]
	for i := k % queueSlots; i > 0; i-- {
		q[i] = q[i-1]
	}
	q[0] = used
}

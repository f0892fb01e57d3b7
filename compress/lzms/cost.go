package lzms

import "math"

// A cost is in 1/costBit bits.
type cost = uint32

const costBit = 64

// bitCosts are the costs of the outcomes 0 and 1 of a decision, by how many of its latest 64 were 0.
var bitCosts = func() (costs [65][2]cost) {
	for z := range costs {
		p := probability{zeros: uint32(z)}
		zero := float64(p.of()) / 64
		costs[z] = [2]cost{cost(math.Round(-math.Log2(zero) * costBit)), cost(math.Round(-math.Log2(1-zero) * costBit))}
	}
	return costs
}()

// costs are what items cost at a place of the chunk. They follow the codes.
type costs struct {
	main     [mainContexts][2]cost
	match    [matchContexts][2]cost
	lz       [lzContexts][2]cost
	lzRepeat [repeatSlots - 1][repeatContexts][2]cost
	delta    [deltaContexts][2]cost
	deltaRep [repeatSlots - 1][repeatContexts][2]cost
	literal  [literalCount]cost
	offset   [maxSlots]cost // with extra bits
	deltaOff [maxSlots]cost
	lengths  [lengthSlots]cost // with extra bits
	length   [shortLengths]cost
	power    [deltaPowers]cost
	upToDate bool // no code was built since the costs of symbols were set
}

func weighBits(costs [][2]cost, p []probability) {
	for i := range p {
		costs[i] = bitCosts[p[i].zeros]
	}
}

func weighSymbols(costs []cost, c *adaptiveCode, slots []slot) {
	for i, l := range c.length {
		costs[i] = cost(l) * costBit
		if slots != nil {
			costs[i] += cost(slots[i].extra) * costBit
		}
	}
}

// weigh sets the costs to those under the models.
func (k *costs) weigh(m *models) {
	weighBits(k.main[:], m.main[:])
	weighBits(k.match[:], m.match[:])
	weighBits(k.lz[:], m.lz[:])
	weighBits(k.delta[:], m.delta[:])
	for i := range k.lzRepeat {
		weighBits(k.lzRepeat[i][:], m.lzRep[i][:])
		weighBits(k.deltaRep[i][:], m.deltaRe[i][:])
	}
	if k.upToDate {
		return
	}
	k.upToDate = true
	weighSymbols(k.literal[:], &m.literal, nil)
	weighSymbols(k.offset[:], &m.offset, offsetSlots)
	weighSymbols(k.deltaOff[:], &m.deltaOffset, offsetSlots)
	weighSymbols(k.lengths[:], &m.length, matchLengthSlots)
	weighSymbols(k.power[:], &m.power, nil)
	for i := 1; i < len(k.length); i++ {
		k.length[i] = k.lengths[lengthSlot[i]]
	}
}

func (k *costs) lengthOf(n int) cost {
	if n < shortLengths {
		return k.length[n]
	}
	return k.lengths[lengthSlotOf(uint32(n))]
}

// repeat is the cost of naming one of the latest sources.
func repeatCost(costs *[repeatSlots - 1][repeatContexts][2]cost, s *[repeatSlots - 1]uint8, k int) cost {
	switch k {
	case 0:
		return costs[0][s[0]%repeatContexts][0]
	case 1:
		return costs[0][s[0]%repeatContexts][1] + costs[1][s[1]%repeatContexts][0]
	}
	return costs[0][s[0]%repeatContexts][1] + costs[1][s[1]%repeatContexts][1]
}

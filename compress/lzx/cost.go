package lzx

import "math/bits"

// A cost is in 1/costBit bits.
type cost = uint32

const (
	costBit   = 64
	logTable  = 512 // log2 of larger numbers is that of their leading bits
	smallBits = 9
)

// logs is log2 of 1 to logTable-1, in costs, worked out without floating point so that it is the same everywhere.
var logs = func() (logs [logTable]cost) {
	for i := 1; i < logTable; i++ {
		log := bits.Len(uint(i)) - 1
		mantissa := uint64(i) << (31 - log) // in [1, 2), scaled by 1<<31
		sum := uint32(log)
		for range 7 { // one bit more than needed
			mantissa = mantissa * mantissa >> 31
			sum <<= 1
			if mantissa >= 1<<32 {
				mantissa >>= 1
				sum++
			}
		}
		logs[i] = (sum + 1) / 2
	}
	return logs
}()

// log2 returns the logarithm of n > 0.
func log2(n uint32) cost {
	if n < logTable {
		return logs[n]
	}
	shift := bits.Len32(n) - smallBits
	return logs[n>>shift] + cost(shift)*costBit
}

// entropy returns the least cost of symbols that occur so often, and how many of them do.
func entropy(counts []uint32) (total cost, used int) {
	n, sum := uint32(0), uint32(0)
	for _, count := range counts {
		if count != 0 {
			used++
			n += count
			sum += count * log2(count)
		}
	}
	if n == 0 {
		return 0, 0
	}
	return n*log2(n) - sum, used
}

// weigh sets costs to those of the codewords for symbols that occur so often.
func weigh(costs []cost, counts []uint32, longest cost) {
	n := uint32(0)
	for _, count := range counts {
		n += count
	}
	log := log2(max(n, 1))
	for sym, count := range counts {
		c := log + costBit // if it does not occur
		if count != 0 {
			c = log - log2(count)
		}
		costs[sym] = min(max(c, costBit/2), longest*costBit)
	}
}

//go:build race

package lzms

// underRace tells that the race detector, which slows these codecs down by ten and finds nothing to do as they start no
// goroutines, is watching: the samples then are smaller.
const underRace = true

//go:build race

package lzx

// underRace tells that the race detector, which slows these codecs down by 20 and finds nothing to do as they start no
// goroutines, is watching: the tests then take one of many like cases.
const underRace = true

//go:build !race

package lzx

const underRace = false

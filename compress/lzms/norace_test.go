//go:build !race

package lzms

const underRace = false

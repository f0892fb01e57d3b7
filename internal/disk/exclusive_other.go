//go:build !linux

package disk

const exclusive = 0

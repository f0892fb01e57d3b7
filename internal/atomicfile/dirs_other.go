//go:build !windows

package atomicfile

const cannotSyncDirs = false

//go:build !linux && !windows

package install

// ntfsHost tells about a file, if it is on an NTFS volume.
func ntfsHost(string) (hostFacts, bool) { return hostFacts{}, false }

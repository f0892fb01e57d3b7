//go:build !linux

package deploy

func mountedAt(string) (mounted, error) { return mounted{}, errNotMounted }

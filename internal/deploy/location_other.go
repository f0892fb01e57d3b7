//go:build !linux

package deploy

import "errors"

func mountedAt(string) (mounted, error) {
	return mounted{}, errors.New("this system does not tell which disk a file lies on")
}

//go:build !linux

package install

import (
	"errors"
	"os"
)

const exclusive = 0

func sectorOf(*os.File) int { return sector512 }

func forget(*os.File) error { return errors.ErrUnsupported }

func rereadTable(*os.File) error { return errors.ErrUnsupported }

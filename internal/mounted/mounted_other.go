//go:build !linux

package mounted

import (
	"errors"
	"fmt"
)

// At finds the partition that a file lies on, and its path on that partition.
func At(string) (Place, error) {
	return Place{}, errors.New("this system does not tell which disk a file lies on")
}

// Users tells what of this system uses a block device or one of its partitions.
func Users(string) ([]string, error) {
	return nil, errors.New("this system does not tell whether a disk is in use")
}

// Loops names the loop devices that have a file as their disk. Only Linux has them.
func Loops(string) ([]string, error) { return nil, nil }

// Look tells what a block device is.
func Look(device string) (Device, error) {
	return Device{}, fmt.Errorf("%s: this system does not tell what disks are", device)
}

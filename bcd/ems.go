package bcd

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
)

// Elements of Emergency Management Services: the boot manager and the kernel put what they show on a serial port, too.
const (
	BootEMSElement ElementID = 0x16000020 // of a boot application: use it
	EMSPortElement ElementID = 0x15000022 // 1 is COM1
	EMSBaudElement ElementID = 0x15000023
	EMSElement     ElementID = 0x260000b0 // of a loader: the kernel uses it
)

// EMSBauds are the rates that the boot manager takes.
var EMSBauds = []uint64{9600, 19200, 38400, 57600, 115200}

// SetEMS says in {emssettings} which serial port is used, and how fast, as bcdedit /emssettings does. Zero leaves that as it is.
func (s *Store) SetEMS(port, baud uint64) error {
	if baud != 0 && !slices.Contains(EMSBauds, baud) {
		return fmt.Errorf("bcd: EMS at %d baud, want one of %d", baud, EMSBauds)
	}
	o, err := s.emsSettings()
	if err == nil && port != 0 {
		err = o.SetInteger(EMSPortElement, port)
	}
	if err == nil && baud != 0 {
		err = o.SetInteger(EMSBaudElement, baud)
	}
	return err
}

// SetEMSByFirmware leaves the serial port to what the firmware says of it, as bcdedit /emssettings BIOS does.
func (s *Store) SetEMSByFirmware() error {
	o, err := s.emsSettings()
	for _, e := range []ElementID{EMSPortElement, EMSBaudElement} {
		if err == nil {
			if err = o.Remove(e); errors.Is(err, fs.ErrNotExist) {
				err = nil
			}
		}
	}
	return err
}

// emsSettings is the object that others inherit the settings from. It is made if need be.
func (s *Store) emsSettings() (*Object, error) {
	o, err := s.Object(EMSSettingsID)
	if errors.Is(err, fs.ErrNotExist) {
		return s.Create(EMSSettingsID, Settings)
	}
	return o, err
}

package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"husk/bcd"
	"husk/internal/ui"
)

// newBootSwitch is a command that turns a boolean element of an entry on or off.
func newBootSwitch(a *app, name, entry, short string, element bcd.ElementID) *cobra.Command {
	o := &regChange{}
	c := &cobra.Command{
		Use:     name + " STORE [ENTRY] on|off",
		Short:   short,
		Example: "  husk boot " + name + " Boot/BCD on\n  husk boot " + name + " Boot/BCD " + entry + " off",
		Args:    args(2, 3),
		RunE: func(c *cobra.Command, given []string) error {
			return a.changeStore(c, o, given, func(s *bcd.Store, rest []string) error {
				if len(rest) < 2 {
					rest = append([]string{entry}, rest...)
				}
				object, err := s.Find(rest[0])
				if err != nil {
					return err
				}
				if err := object.SetWords(element, rest[1]); err != nil {
					return ui.Usage(err)
				}
				return nil
			})
		},
	}
	o.flags(a, c)
	return c
}

func newBootEMSSettings(a *app) *cobra.Command {
	o := &regChange{}
	c := &cobra.Command{
		Use:   "emssettings STORE bios | [emsport:N] [emsbaudrate:N]",
		Short: a.ui.T("Choose the serial port for Emergency Management Services"),
		Example: `  husk boot emssettings Boot/BCD emsport:1 emsbaudrate:115200
  husk boot emssettings Boot/BCD bios`,
		Args: args(2, 3),
		RunE: func(c *cobra.Command, given []string) error {
			return a.changeStore(c, o, given, setEMS)
		},
	}
	o.flags(a, c)
	return c
}

func setEMS(s *bcd.Store, words []string) error {
	if len(words) == 1 && strings.EqualFold(words[0], "bios") {
		return s.SetEMSByFirmware()
	}
	var port, baud uint64
	for _, w := range words {
		name, number, _ := strings.Cut(w, ":")
		n, err := strconv.ParseUint(number, 10, 32)
		switch {
		case err != nil || n == 0:
			return ui.Usage(fmt.Errorf("%q, want bios, emsport:N or emsbaudrate:N", w))
		case strings.EqualFold(name, "emsport"):
			port = n
		case strings.EqualFold(name, "emsbaudrate"):
			baud = n
		default:
			return ui.Usage(fmt.Errorf("%q, want bios, emsport:N or emsbaudrate:N", w))
		}
	}
	if err := s.SetEMS(port, baud); err != nil {
		return ui.Usage(err)
	}
	return nil
}

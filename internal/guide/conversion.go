package guide

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"husk/internal/convert"
	"husk/internal/ui"
)

// none is what the user enters for nothing, where Enter takes a proposal.
const none = "-"

// Conversion asks what to convert and where to, with a proposal for each. What o has is not asked for.
func Conversion(u *ui.UI, d *convert.Detection, o *convert.Options) error {
	choices := convert.Propose(d)
	if len(choices) == 0 {
		return ui.Hint(errors.New("no Windows was found that could be converted"), "'husk detect' tells what is there; name one: husk convert SYSTEM")
	}
	k, err := chooseSystem(u, choices)
	if err != nil {
		return err
	}
	if o.System, err = u.Ask(k.Volume.Spec, "System to convert"); err != nil {
		return err
	}
	if o.Form == "" && o.Target == "" {
		o.Target, err = orNone(u, k.Target, "New disk (.vhd: pointers beside the WIM; .img, .vhdx: a disk that starts by itself; -: in place)")
		if err != nil {
			return err
		}
	}
	if o.Store == "" {
		proposal := k.Store
		if o.Target != "" {
			proposal = filepath.Dir(o.Target)
		}
		if o.Store, err = orNone(u, proposal, "Folder for the WIM (-: the volume of the system)"); err != nil {
			return err
		}
	}
	if o.Boot == "" && k.Boot != "" && strings.EqualFold(filepath.Ext(o.Target), ".vhd") {
		o.Boot, err = orNone(u, k.Boot, "Boot store that gets an entry (-: none)")
	}
	return err
}

func chooseSystem(u *ui.UI, choices []convert.Choice) (*convert.Choice, error) {
	if len(choices) == 1 {
		return &choices[0], nil
	}
	for i, k := range choices {
		u.Say("%d. %s, %s", i+1, k.Volume.System.Title, k.Volume.Spec)
	}
	line, err := u.Ask("1", "Which system is to be converted?")
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(line)
	if err != nil || n < 1 || n > len(choices) {
		return nil, ui.Usage(fmt.Errorf("%q, want a number from 1 to %d", line, len(choices)))
	}
	return &choices[n-1], nil
}

// orNone asks for something that may be left out.
func orNone(u *ui.UI, proposal, question string) (string, error) {
	if proposal == "" {
		proposal = none
	}
	s, err := u.Ask(proposal, question)
	if s == none {
		s = ""
	}
	return s, err
}

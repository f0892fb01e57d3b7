package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"husk/internal/registry"
	"husk/internal/ui"
	"husk/regf"
)

// newReg is the group of commands on registry hives.
func newReg(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "reg COMMAND HIVE …",
		Short: a.ui.T("Look into registry hives and change them, in files, volumes, disks and images"),
		Long: a.ui.T(`HIVE is a hive file, or two arguments: FILE[:IMAGE] or a folder, and a hive in it by name (SYSTEM, SOFTWARE, SAM, SECURITY,
DEFAULT, COMPONENTS, DRIVERS, BCD) or path. KEY is a path with backslashes below the root of the hive, or a full name such as
HKLM\SYSTEM\Setup; CurrentControlSet is the control set that Windows would use. A hive that was not closed cleanly is read with its
logs replayed. Changes are made whole or not at all.`),
		Example: `  husk reg ls x64/win7.vhd:1 SYSTEM 'CurrentControlSet\Services'
  husk reg get wimboot.wim:1 SOFTWARE 'Microsoft\Windows NT\CurrentVersion' ProductName
  husk reg set SYSTEM Setup CmdLine 'cmd.exe /c setup.cmd'
  husk reg export Boot/BCD > bcd.reg
  husk reg check Windows/System32/config/SOFTWARE`,
		Args: args(0, 0),
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newRegList(a), newRegGet(a), newRegSet(a), newRegDelete(a), newRegExport(a), newRegImport(a), newRegCheck(a))
	return c
}

// openHive opens the hive at the start of the arguments; least and most bound the number of those behind it.
func (a *app) openHive(c *cobra.Command, given []string, least, most int) (*registry.Hive, []string, error) {
	h, rest, err := registry.Open(c.Context(), given, a.ui.Warn)
	if err != nil {
		return nil, nil, err
	}
	if len(rest) < least || len(rest) > most {
		err := ui.Hint(ui.Usage(fmt.Errorf("%d arguments behind the hive, want: husk reg %s", len(rest), c.Use)), "see 'husk reg %s --help'", c.Name())
		return nil, nil, errors.Join(err, h.Close())
	}
	return h, rest, nil
}

// keyOf finds the key that an argument names; without one it is the root.
func keyOf(h *registry.Hive, rest []string) (*regf.Key, error) {
	path := ""
	if len(rest) > 0 {
		path = h.Path(rest[0])
	}
	k, err := h.Root().Lookup(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%s: no key %s", h.Name, path)
	}
	return k, inHive(h, err)
}

// inHive names the hive in an error of the format.
func inHive(h *registry.Hive, err error) error {
	var f *regf.FormatError
	if errors.As(err, &f) {
		return ui.Hint(fmt.Errorf("%s: %w", h.Name, err), "'husk reg check' tells all that is wrong with a hive")
	}
	return err
}

// regData is the data of a value on one line.
func regData(v regf.Value) string {
	switch v.Type {
	case regf.SZ, regf.ExpandSZ, regf.Link:
		s, _ := v.Text()
		return s
	case regf.MultiSZ:
		list, _ := v.Strings()
		return strings.Join(list, " | ")
	}
	if n, err := v.Uint(); err == nil {
		return fmt.Sprintf("%#x (%d)", n, n)
	}
	const most = 24
	if len(v.Data) > most {
		return fmt.Sprintf("% x … (%d)", v.Data[:most], len(v.Data))
	}
	return fmt.Sprintf("% x", v.Data)
}

type jsonValue struct {
	Key  string `json:"key"`
	Name string `json:"value"`
	Type string `json:"type"`
	Data any    `json:"data"` // text, list of texts, number, or bytes in hex
}

func valueJSON(key string, v regf.Value) jsonValue {
	j := jsonValue{Key: key, Name: v.Name, Type: v.Type.String()}
	if v.Type == regf.MultiSZ {
		j.Data, _ = v.Strings()
	} else if s, err := v.Text(); err == nil {
		j.Data = s
	} else if n, err := v.Uint(); err == nil {
		j.Data = n
	} else {
		j.Data = fmt.Sprintf("%x", v.Data)
	}
	return j
}

// shownName is a value name as listings have it.
func shownName(name string) string {
	if name == "" {
		return "@"
	}
	return printable(name)
}

// parseData makes data of what stands on the command line.
func parseData(t regf.Type, words []string) ([]byte, error) {
	if t == regf.MultiSZ {
		return regf.MultiSZData(words...), nil
	}
	if len(words) > 1 {
		return nil, ui.Usage(fmt.Errorf("%d pieces of data, want one; only REG_MULTI_SZ takes several", len(words)))
	}
	word := strings.Join(words, "")
	bits := map[regf.Type]int{regf.DWord: 32, regf.DWordBE: 32, regf.QWord: 64}[t]
	if bits == 0 {
		switch t {
		case regf.SZ, regf.ExpandSZ:
			return regf.SZData(word), nil
		case regf.Link:
			b := regf.SZData(word)
			return b[:len(b)-2], nil
		}
		return parseHex(word)
	}
	n, err := strconv.ParseUint(word, 0, bits)
	if err != nil {
		return nil, ui.Usage(fmt.Errorf("%q, want a number of %d bits, such as 10 or 0xa", word, bits))
	}
	var b []byte
	for i := range bits / 8 {
		b = append(b, byte(n>>(8*i)))
	}
	if t == regf.DWordBE {
		b[0], b[1], b[2], b[3] = b[3], b[2], b[1], b[0]
	}
	return b, nil
}

// parseHex reads bytes in hex, with or without commas or spaces between them.
func parseHex(word string) ([]byte, error) {
	digits := strings.NewReplacer(",", "", " ", "", "\\", "", "\n", "", "\r", "").Replace(word)
	b := make([]byte, len(digits)/2)
	for i := range b {
		n, err := strconv.ParseUint(digits[2*i:2*i+2], 16, 8)
		if err != nil {
			return nil, ui.Usage(fmt.Errorf("%q, want bytes in hex, such as 01,ff", word))
		}
		b[i] = byte(n)
	}
	if len(digits)%2 != 0 {
		return nil, ui.Usage(fmt.Errorf("%q, want two hex digits for each byte", word))
	}
	return b, nil
}

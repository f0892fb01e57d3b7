package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/text/encoding/htmlindex"

	"husk/internal/ondisk"
	"husk/internal/registry"
	"husk/internal/ui"
	"husk/regf"
)

// regChange are the flags of the commands that change a hive.
type regChange struct {
	dryRun bool
	output string
}

func (o *regChange) flags(a *app, c *cobra.Command) {
	c.Flags().BoolVar(&o.dryRun, "dry-run", false, a.ui.T("only tell what would be done"))
	c.Flags().StringVarP(&o.output, "output", "o", "", a.ui.T("write the changed hive to this `file` and leave HIVE as it is"))
}

// changeHive opens a hive, changes it, and puts it where it belongs.
func (a *app) changeHive(c *cobra.Command, o *regChange, given []string, least, most int, change func(h *registry.Hive, rest []string) error) error {
	h, rest, err := a.openHive(c, given, least, most)
	if err != nil {
		return err
	}
	defer h.Close()
	if o.output == "" {
		if err := h.CanSave(); err != nil {
			return err
		}
	}
	h.Touch()
	if err := change(h, rest); err != nil {
		return inHive(h, err)
	}
	switch {
	case o.dryRun:
		return nil
	case o.output != "":
		return refusedIf(inHive(h, h.SaveAs(o.output, a.ui.Yes)))
	}
	return inHive(h, h.Save())
}

func newRegSet(a *app) *cobra.Command {
	o := &regChange{}
	var kind, file string
	c := &cobra.Command{
		Use:   "set HIVE KEY [VALUE [DATA...]]",
		Short: a.ui.T("Set a value, and make its key if need be"),
		Long: a.ui.T(`Without VALUE only the key is made. DATA is text, a number (10, 0xa), bytes in hex (01,ff), or with REG_MULTI_SZ any number of
texts. The type is that of the value that is there, or else REG_SZ. A hive file is replaced as a whole; a hive on a disk or volume
is replaced in place.`),
		Example: `  husk reg set SYSTEM Setup CmdLine 'cmd.exe /c setup.cmd'
  husk reg set SYSTEM 'CurrentControlSet\Services\FsDepends\Parameters' VirtualDiskExpandOnMount 4 --type=REG_DWORD
  husk reg set x64/win7.vhd SOFTWARE 'Microsoft\Example' List a b c --type=REG_MULTI_SZ
  husk reg set NTUSER.DAT Environment`,
		Args: args(2, 1000),
		RunE: func(c *cobra.Command, given []string) error {
			return a.changeHive(c, o, given, 1, 1000, func(h *registry.Hive, rest []string) error {
				return a.setValue(h, rest, kind, file)
			})
		},
	}
	c.Flags().StringVar(&kind, "type", "", a.ui.T("`type` of the value: REG_SZ, REG_EXPAND_SZ, REG_MULTI_SZ, REG_DWORD, REG_QWORD, REG_BINARY, … or a number"))
	c.Flags().StringVar(&file, "data-file", "", a.ui.T("take the bytes of the data from this `file`"))
	o.flags(a, c)
	return c
}

func (a *app) setValue(h *registry.Hive, rest []string, kind, file string) error {
	path, err := h.Place(rest[0])
	if err != nil {
		return err
	}
	k, err := h.Root().Create(path)
	if err != nil || len(rest) == 1 {
		return err
	}
	name := rest[1]
	old, err := k.Value(name)
	had := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	t := regf.SZ
	if had {
		t = old.Type
	}
	if kind != "" {
		if t, err = regf.ParseType(kind); err != nil {
			return ui.Usage(fmt.Errorf("--type: %w", err))
		}
	}
	var data []byte
	if file != "" {
		if len(rest) > 2 {
			return ui.Usage(errors.New("both DATA and --data-file, want one of them"))
		}
		data, err = readFile(file, regf.MaxSize)
	} else {
		data, err = parseData(t, rest[2:])
	}
	if err != nil {
		return err
	}
	if err := k.Set(name, t, data); err != nil {
		return err
	}
	v := regf.Value{Name: name, Type: t, Data: data}
	if a.ui.JSON {
		a.ui.Line(valueJSON(k.Path(), v))
		return nil
	}
	if had {
		a.ui.Say("%s: %s was %s %s", k.Path(), shownName(name), old.Type, printable(regData(old)))
	}
	a.ui.Say("%s: %s is %s %s", k.Path(), shownName(name), t, printable(regData(v)))
	return nil
}

// readFile reads a file of at most limit bytes.
func readFile(name string, limit int64) (_ []byte, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	b, err := ondisk.ReadAt(f, 0, size, limit)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return b, nil
}

func newRegDelete(a *app) *cobra.Command {
	o := &regChange{}
	c := &cobra.Command{
		Use:   "delete HIVE KEY [VALUE]",
		Short: a.ui.T("Delete a value, or a key and all below it"),
		Long:  a.ui.T("A key that has keys below it is deleted only with --yes."),
		Example: `  husk reg delete SYSTEM MountedDevices '\DosDevices\C:'
  husk reg delete x64/win7.vhd SOFTWARE 'Microsoft\Example' --yes`,
		Args: args(2, 4),
		RunE: func(c *cobra.Command, given []string) error {
			return a.changeHive(c, o, given, 1, 2, func(h *registry.Hive, rest []string) error {
				k, err := keyOf(h, rest)
				if err != nil {
					return err
				}
				if len(rest) == 1 {
					return a.deleteKey(h, k, o.dryRun)
				}
				if err := k.DeleteValue(rest[1]); errors.Is(err, fs.ErrNotExist) {
					return fmt.Errorf("%s: key %s has no value %q", h.Name, k.Path(), rest[1])
				} else if err != nil {
					return err
				}
				a.ui.Event("deleted", map[string]any{"key": k.Path(), "value": rest[1]})
				a.ui.Say("%s: %s is deleted", k.Path(), shownName(rest[1]))
				return nil
			})
		},
	}
	o.flags(a, c)
	return c
}

func (a *app) deleteKey(h *registry.Hive, k *regf.Key, dryRun bool) error {
	if k.Parent() == nil {
		return fmt.Errorf("%s: the root key cannot be deleted", h.Name)
	}
	below := 0
	for _, err := range k.All() {
		if err != nil {
			return err
		}
		below++
	}
	if below--; below > 0 && !dryRun && !a.ui.Confirm("Delete %s and %d keys below it?", k.Path(), below) {
		err := fmt.Errorf("%w: %s has %d keys below it", errRefused, k.Path(), below)
		return ui.Hint(err, "delete them all with --yes")
	}
	path := k.Path()
	if err := k.Parent().Delete(k.Name()); err != nil {
		return err
	}
	a.ui.Event("deleted", map[string]any{"key": path, "below": below})
	a.ui.Say("%s is deleted, with %d keys below it", path, below)
	return nil
}

func newRegImport(a *app) *cobra.Command {
	o := &regChange{}
	var root, codePage string
	c := &cobra.Command{
		Use:   "import HIVE FILE.reg",
		Short: a.ui.T("Make the changes of a .reg file in a hive"),
		Long: a.ui.T(`Version 5.00 and REGEDIT4 are understood, with deletions. Every key must be below what the hive is called in a running system
(HKEY_LOCAL_MACHINE\SYSTEM), or below --root. If a line cannot be understood, its number is told and nothing is changed.`),
		Example: `  husk reg import SYSTEM drivers.reg
  husk reg import x64/win7.vhd SOFTWARE tweaks.reg --root='HKLM\OFFLINE' --dry-run
  husk reg import NTUSER.DAT old.reg --code-page=gbk`,
		Args: args(2, 3),
		RunE: func(c *cobra.Command, given []string) error {
			return a.changeHive(c, o, given, 1, 1, func(h *registry.Hive, rest []string) error {
				if root == "" {
					root = h.Prefix()
				}
				return a.importReg(h, rest[0], root, codePage)
			})
		},
	}
	c.Flags().StringVar(&root, "root", "", a.ui.T("full name of the `key` that the hive's root stands for"))
	c.Flags().StringVar(&codePage, "code-page", "", a.ui.T("code page `name` of a REGEDIT4 file, such as gbk or windows-1252 (default: UTF-8)"))
	o.flags(a, c)
	return c
}

// maxReg is how large a .reg file may be: as large as one of a whole hive.
const maxReg = 1 << 30

func (a *app) importReg(h *registry.Hive, file, root, codePage string) error {
	b, err := readFile(file, maxReg)
	if err != nil {
		return err
	}
	var ansi func([]byte) (string, error)
	if codePage != "" {
		e, err := htmlindex.Get(codePage)
		if err != nil {
			return ui.Usage(fmt.Errorf("--code-page=%s: %w", codePage, err))
		}
		ansi = func(b []byte) (string, error) {
			u, err := e.NewDecoder().Bytes(b)
			return string(u), err
		}
	}
	keys, err := regf.ParseReg(b, ansi)
	if errors.Is(err, regf.ErrCodePage) {
		return ui.Hint(fmt.Errorf("%s: %w", file, err), "name it: --code-page=gbk, --code-page=windows-1252")
	}
	var m regf.Merged
	if err == nil {
		m, err = regf.Merge(h.Root(), keys, func(path string) (string, error) { return h.Relative(path, root) })
	}
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	a.ui.Event("result", map[string]any{
		"keysMade": m.KeysMade, "keysDeleted": m.KeysDeleted, "valuesSet": m.ValuesSet, "valuesDeleted": m.ValuesDeleted,
	})
	a.ui.Say("%d keys made, %d deleted; %d values set, %d deleted", m.KeysMade, m.KeysDeleted, m.ValuesSet, m.ValuesDeleted)
	return nil
}

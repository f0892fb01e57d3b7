package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/spf13/cobra"

	"husk/internal/atomicfile"
	"husk/internal/registry"
	"husk/internal/ui"
	"husk/regf"
)

func newRegList(a *app) *cobra.Command {
	var recursive, long bool
	c := &cobra.Command{
		Use:   "ls HIVE [KEY]",
		Short: a.ui.T("List the keys and values of a key"),
		Example: `  husk reg ls SYSTEM Select
  husk reg ls x64/win7.vhd SOFTWARE 'Microsoft\Windows NT\CurrentVersion'
  husk reg ls -R --json Boot/BCD Objects`,
		Args: args(1, 3),
		RunE: func(c *cobra.Command, given []string) error {
			h, rest, err := a.openHive(c, given, 0, 1)
			if err != nil {
				return err
			}
			defer h.Close()
			k, err := keyOf(h, rest)
			if err != nil {
				return err
			}
			w := newBufferedOutput(a.ui.Raw())
			defer w.Flush()
			return inHive(h, a.listKey(w, k, "", recursive, long))
		},
	}
	c.Flags().BoolVarP(&recursive, "recursive", "R", false, a.ui.T("list everything below too"))
	c.Flags().BoolVarP(&long, "long", "l", false, a.ui.T("show when keys were written"))
	return c
}

// listKey prints what is in a key; prefix is its path from the one that is listed.
func (a *app) listKey(w io.Writer, k *regf.Key, prefix string, recursive, long bool) error {
	values, err := k.Values()
	if err != nil {
		return err
	}
	for _, v := range values {
		if a.ui.JSON {
			a.ui.Line(valueJSON(k.Path(), v))
		} else if _, err := fmt.Fprintf(w, "%s%s  %v  %s\n", printable(prefix), shownName(v.Name), v.Type, printable(regData(v))); err != nil {
			return err
		}
	}
	keys, err := k.Subkeys()
	if err != nil {
		return err
	}
	for _, s := range keys {
		name := prefix + s.Name() + `\`
		switch {
		case a.ui.JSON:
			a.ui.Line(map[string]any{"key": s.Path(), "written": s.Written.Time()})
		case long:
			_, err = fmt.Fprintf(w, "%s  %s\n", s.Written.Time().Format(time.DateTime), printable(name))
		default:
			_, err = fmt.Fprintln(w, printable(name))
		}
		if err == nil && recursive {
			err = a.listKey(w, s, name, recursive, long)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func newRegGet(a *app) *cobra.Command {
	var raw bool
	c := &cobra.Command{
		Use:   "get HIVE KEY VALUE",
		Short: a.ui.T("Print the data of a value"),
		Long: a.ui.T(`Text is printed as it is, a list one piece on each line, a number in decimal, everything else as bytes in hex. The default
value has the empty name ''.`),
		Example: `  husk reg get SYSTEM Select Current
  husk reg get x64/win7.vhd:1 SYSTEM Setup CmdLine
  husk reg get --raw SAM 'SAM\Domains\Account' V > v.bin`,
		Args: args(3, 4),
		RunE: func(c *cobra.Command, given []string) error {
			h, rest, err := a.openHive(c, given, 2, 2)
			if err != nil {
				return err
			}
			defer h.Close()
			k, err := keyOf(h, rest)
			if err != nil {
				return err
			}
			v, err := k.Value(rest[1])
			if errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("%s: key %s has no value %q", h.Name, k.Path(), rest[1])
			} else if err != nil {
				return inHive(h, err)
			}
			return a.printValue(k, v, raw)
		},
	}
	c.Flags().BoolVar(&raw, "raw", false, a.ui.T("write the bytes as they are"))
	return c
}

func (a *app) printValue(k *regf.Key, v regf.Value, raw bool) error {
	w := a.ui.Raw()
	if raw {
		_, err := w.Write(v.Data)
		return err
	}
	if a.ui.JSON {
		a.ui.Line(valueJSON(k.Path(), v))
		return nil
	}
	if list, err := v.Strings(); err == nil {
		for _, s := range list {
			if _, err := fmt.Fprintln(w, s); err != nil {
				return err
			}
		}
		return nil
	}
	if n, err := v.Uint(); err == nil {
		_, err := fmt.Fprintln(w, n)
		return err
	}
	_, err := fmt.Fprintln(w, hex.EncodeToString(v.Data))
	return err
}

func newRegExport(a *app) *cobra.Command {
	var output, root string
	c := &cobra.Command{
		Use:   "export HIVE [KEY]",
		Short: a.ui.T("Write a key and all below it as a .reg file"),
		Long: a.ui.T(`The file is what regedit writes: version 5.00 in UTF-16. It has no place for class names, security and times. The root of the
hive is called as in a running system (HKEY_LOCAL_MACHINE\SYSTEM), or as --root says.`),
		Example: `  husk reg export SYSTEM 'CurrentControlSet\Services\disk' --output=disk.reg
  husk reg export wimboot.wim:1 SOFTWARE --root='HKEY_LOCAL_MACHINE\OFFLINE' > software.reg`,
		Args: args(1, 3),
		RunE: func(c *cobra.Command, given []string) error {
			h, rest, err := a.openHive(c, given, 0, 1)
			if err != nil {
				return err
			}
			defer h.Close()
			k, err := keyOf(h, rest)
			if err != nil {
				return err
			}
			if root == "" {
				root = h.Prefix()
			}
			name := root
			if path := k.Path(); path != "" {
				name += `\` + path
			}
			if output == "" {
				return inHive(h, regf.Export(a.ui.Raw(), k, name))
			}
			f, err := atomicfile.Create(output, a.ui.Yes)
			if err != nil {
				return refusedIf(err)
			}
			defer f.Abort()
			if err := regf.Export(f, k, name); err != nil {
				return inHive(h, err)
			}
			return f.Commit()
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "", a.ui.T("write to this `file` instead of the standard output"))
	c.Flags().StringVar(&root, "root", "", a.ui.T("full name of the `key` that the hive's root stands for"))
	return c
}

func newRegCheck(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "check HIVE",
		Short: a.ui.T("Check the structure of a hive"),
		Long: a.ui.T(`Everything is checked that Windows relies on: bins and cells, keys, values, the order and hashes of subkeys, counts, security
with its reference counts. Damage ends with status 3; notes are of no consequence, such as space that nothing uses.`),
		Example: `  husk reg check Windows/System32/config/SYSTEM
  husk reg check x64/win7.vhd SOFTWARE`,
		Args: args(1, 2),
		RunE: func(c *cobra.Command, given []string) error {
			h, _, err := a.openHive(c, given, 0, 0)
			if err != nil {
				return err
			}
			defer h.Close()
			return a.checkHive(h)
		},
	}
	return c
}

func (a *app) checkHive(h *registry.Hive) error {
	t := a.ui.T
	damage, notes := 0, 0
	for _, p := range h.Check() {
		kind := "damage"
		if p.Note {
			kind, notes = "note", notes+1
		} else {
			damage++
		}
		if a.ui.JSON {
			a.ui.Event(kind, map[string]any{"offset": p.Off, "what": p.What, "text": p.Text})
		} else if _, err := fmt.Fprintf(a.ui.Raw(), "%s: %s\n", t(kind), printable(p.String())); err != nil {
			return err
		}
	}
	keys, values := 0, 0
	for k, err := range h.Root().All() {
		if err != nil {
			break // told above
		}
		keys++
		if list, err := k.Values(); err == nil {
			values += len(list)
		}
	}
	state := "clean"
	if h.Recovery.Dirty {
		state = "dirty"
		if h.Recovery.Complete {
			state = "replayed"
		}
	}
	if a.ui.JSON {
		a.ui.Event("result", map[string]any{
			"hive": h.Name, "version": fmt.Sprintf("1.%d", h.Minor), "written": h.Written.Time(), "sequence": h.Sequence, "bytes": h.Size(),
			"state": state, "reason": h.Recovery.Reason, "keys": keys, "values": values, "damage": damage, "notes": notes,
		})
	} else {
		a.fields([][2]string{
			{t("hive"), h.Name}, {t("version"), fmt.Sprintf("1.%d", h.Minor)}, {t("written"), h.Written.Time().Local().Format(time.DateTime)},
			{t("size"), ui.Size(h.Size())}, {t("state"), t(state)}, {t("keys"), fmt.Sprint(keys)}, {t("values"), fmt.Sprint(values)},
			{t("damage"), fmt.Sprint(damage)}, {t("notes"), fmt.Sprint(notes)},
		})
	}
	if damage > 0 {
		return fmt.Errorf("%s: %w", h.Name, errDiffers)
	}
	return nil
}

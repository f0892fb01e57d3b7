package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"husk/bcd"
	"husk/internal/atomicfile"
	"husk/internal/registry"
	"husk/internal/ui"
)

// newBoot is the group of commands on boot stores.
func newBoot(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "boot COMMAND STORE …",
		Short: a.ui.T("Look into boot stores (BCD) and change them"),
		Long: a.ui.T(`STORE is the file of a boot store, or FILE[:IMAGE], DISK[:PARTITION] or a folder that has one at \Boot\BCD or
\EFI\Microsoft\Boot\BCD; on a disk it is changed in place, on NTFS and FAT. ENTRY is an object by its name
({bootmgr}, {default}, …) or id, or an entry of the menu by its number or description. Elements and their values are called as bcdedit calls them; devices are boot, partition=mbr:SIGNATURE:OFFSET, partition=gpt:DISK:PARTITION, locate,
vhd=[WHERE]\path and ramdisk=[WHERE]\path,{options}, where WHERE is boot, locate or a partition. What husk does not know stays as it
is. Changes are made whole or not at all.`),
		Example: `  husk boot list /mnt/esp/EFI/Microsoft/Boot/BCD
  husk boot create Boot/BCD --locale=zh-CN --timeout=10
  husk boot add Boot/BCD 'Windows 7 x64' --device='vhd=[locate]\wimboot\x64\win7.vhd' --release=7
  husk boot default Boot/BCD 2
  husk boot set Boot/BCD {default} bootmenupolicy Legacy`,
		Args: args(0, 0),
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newBootList(a), newBootCreate(a), newBootAdd(a), newBootRemove(a), newBootSet(a), newBootDefault(a), newBootTimeout(a),
		newBootExport(a), newBootEMSSettings(a),
		newBootSwitch(a, "ems", "{default}", a.ui.T("Let the system of an entry use the serial port: Emergency Management Services"), bcd.EMSElement),
		newBootSwitch(a, "bootems", "{bootmgr}", a.ui.T("Let the boot manager use the serial port: Emergency Management Services"), bcd.BootEMSElement))
	return c
}

// storeArgs makes arguments for hives of those that begin with a store.
func storeArgs(given []string) []string {
	if registry.IsHive(given[0]) {
		return given
	}
	return append([]string{given[0], "BCD"}, given[1:]...)
}

// openStore opens the store at the start of the arguments.
func (a *app) openStore(c *cobra.Command, given []string) (*registry.Hive, *bcd.Store, []string, error) {
	h, rest, err := registry.Open(c.Context(), storeArgs(given), a.ui.Warn)
	if err != nil {
		return nil, nil, nil, err
	}
	s, err := bcd.Of(h.Hive)
	if err != nil {
		h.Close()
		return nil, nil, nil, ui.Hint(fmt.Errorf("%s: %w", h.Name, err), "'husk reg ls' shows what the hive has")
	}
	return h, s, rest, nil
}

// changeStore opens a store, changes it, and puts it where it belongs.
func (a *app) changeStore(c *cobra.Command, o *regChange, given []string, change func(s *bcd.Store, rest []string) error) error {
	return a.changeHive(c, o, storeArgs(given), 0, len(given), func(h *registry.Hive, rest []string) error {
		s, err := bcd.Of(h.Hive)
		if err != nil {
			return fmt.Errorf("%s: %w", h.Name, err)
		}
		return change(s, rest)
	})
}

func newBootList(a *app) *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use:   "list STORE [ENTRY]",
		Short: a.ui.T("Show the boot manager and the entries of its menu"),
		Example: `  husk boot list Boot/BCD
  husk boot list --all --json usb.vhd
  husk boot list Boot/BCD {default}`,
		Args: args(1, 2),
		RunE: func(c *cobra.Command, given []string) error {
			h, s, rest, err := a.openStore(c, given)
			if err != nil {
				return err
			}
			defer h.Close()
			objects, err := shownObjects(s, rest, all)
			if err != nil {
				return err
			}
			for i, o := range objects {
				if err := a.showObject(o, i > 0); err != nil {
					return err
				}
			}
			dangling, err := s.Dangling()
			for _, d := range dangling {
				a.ui.Warn("%s, which is not in the store", d)
			}
			return err
		},
	}
	c.Flags().BoolVarP(&all, "all", "a", false, a.ui.T("show every object: settings, tools and device options too"))
	return c
}

// shownObjects are the object that is asked for, all, or the boot manager and its menu.
func shownObjects(s *bcd.Store, rest []string, all bool) ([]*bcd.Object, error) {
	if len(rest) > 0 {
		o, err := s.Find(rest[0])
		return []*bcd.Object{o}, err
	}
	if all {
		return s.Objects()
	}
	entries, err := s.Entries()
	if err != nil {
		return nil, err
	}
	manager, err := s.Object(bcd.BootManagerID)
	if err != nil {
		return nil, err
	}
	return append([]*bcd.Object{manager}, entries...), nil
}

type jsonObject struct {
	ID       string              `json:"id"`
	Type     string              `json:"type"`
	Elements map[string][]string `json:"elements"`
}

// showObject prints an object as bcdedit does.
func (a *app) showObject(o *bcd.Object, more bool) error {
	elements, err := o.Elements()
	if err != nil {
		return err
	}
	if a.ui.JSON {
		j := jsonObject{"{" + o.ID.String() + "}", fmt.Sprintf("%08x", uint32(o.Type)), make(map[string][]string)}
		for _, e := range elements {
			j.Elements[bcd.ElementName(e.ID, o.Type)] = e.Show(o.Type)
		}
		a.ui.Line(j)
		return nil
	}
	w := newBufferedOutput(a.ui.Raw())
	defer w.Flush()
	if more {
		fmt.Fprintln(w)
	}
	title := o.Type.String()
	fmt.Fprintf(w, "%s\n%s\n", title, strings.Repeat("-", len(title)))
	const width = 24
	line := func(name, value string) { fmt.Fprintf(w, "%-*s%s\n", width, name, printable(value)) }
	line("identifier", bcd.Alias(o.ID))
	for _, e := range elements {
		name := bcd.ElementName(e.ID, o.Type)
		for _, v := range e.Show(o.Type) {
			line(name, v)
			name = ""
		}
	}
	return nil
}

// releases by the names that users give.
var releases = map[string]bcd.Release{"7": bcd.Windows7, "8": bcd.Windows8, "8.1": bcd.Windows8, "10": bcd.Windows10, "11": bcd.Windows10}

func releaseOf(s string) (bcd.Release, error) {
	r, ok := releases[s]
	if !ok {
		return 0, ui.Usage(fmt.Errorf("--release=%s, want 7, 8, 8.1, 10 or 11", s))
	}
	return r, nil
}

func newBootCreate(a *app) *cobra.Command {
	var release, locale string
	var efi bool
	var timeout uint64
	c := &cobra.Command{
		Use:   "create FILE",
		Short: a.ui.T("Make a new boot store with a boot manager and an empty menu"),
		Example: `  husk boot create Boot/BCD --locale=zh-CN --timeout=10
  husk boot create EFI/Microsoft/Boot/BCD --uefi --release=11`,
		Args: args(1, 1),
		RunE: func(c *cobra.Command, given []string) error {
			r, err := releaseOf(release)
			if err != nil {
				return err
			}
			s, err := bcd.NewMenu(bcd.Menu{Release: r, EFI: efi, Locale: locale, Timeout: timeout})
			if err != nil {
				return err
			}
			return a.writeStore(s, given[0])
		},
	}
	c.Flags().StringVar(&release, "release", "10", a.ui.T("`release` of Windows that the boot manager is from: 7, 8.1, 10 or 11"))
	c.Flags().StringVar(&locale, "locale", "en-US", a.ui.T("`language` of the boot manager, such as zh-CN"))
	c.Flags().BoolVar(&efi, "uefi", false, a.ui.T("for UEFI firmware"))
	c.Flags().Uint64Var(&timeout, "timeout", 10, a.ui.T("`seconds` that the menu waits"))
	return c
}

// writeStore writes a store to a new file; one that exists is replaced only with --yes.
func (a *app) writeStore(s *bcd.Store, name string) error {
	b, err := s.Bytes()
	if err != nil {
		return err
	}
	f, err := atomicfile.Create(name, a.ui.Yes)
	if err != nil {
		return refusedIf(err)
	}
	defer f.Abort()
	if _, err := f.Write(b); err != nil {
		return err
	}
	return f.Commit()
}

func newBootAdd(a *app) *cobra.Command {
	o := &regChange{}
	var device, osDevice, root, release, locale, sector string
	var efi, x86, detectHAL bool
	c := &cobra.Command{
		Use:   "add STORE DESCRIPTION --device=DEVICE",
		Short: a.ui.T("Add a Windows, or a boot sector such as grub4dos, at the end of the menu"),
		Example: `  husk boot add Boot/BCD 'Windows 7 x64' --device='vhd=[locate]\wimboot\x64\win7.vhd' --release=7 --detect-hal
  husk boot add EFI/Microsoft/Boot/BCD 'Windows 11' --device=partition=gpt:DISK:PARTITION --uefi --release=11
  husk boot add Boot/BCD 'Windows 7 in RAM' --device=boot --boot-sector='\grldr.mbr'`,
		Args: args(2, 2),
		RunE: func(c *cobra.Command, given []string) error {
			r, err := releaseOf(release)
			if err != nil {
				return err
			}
			w := bcd.Windows{Release: r, EFI: efi, X86: x86, SystemRoot: root, Description: given[1], Locale: locale, DetectHAL: detectHAL}
			if w.Device, err = bcd.ParseDeviceText(device); err != nil {
				return ui.Usage(fmt.Errorf("--device: %w", err))
			}
			if osDevice != "" {
				if w.OSDevice, err = bcd.ParseDeviceText(osDevice); err != nil {
					return ui.Usage(fmt.Errorf("--os-device: %w", err))
				}
			}
			return a.changeStore(c, o, given, func(s *bcd.Store, rest []string) error {
				add := func() (string, error) {
					if sector != "" {
						g, err := s.AddBootSector(w.Description, w.Device, sector, nil)
						return bcd.Alias(g), err
					}
					g, err := s.AddWindows(w, nil)
					return bcd.Alias(g), err
				}
				id, err := add()
				if err == nil {
					a.ui.Say("%s: entry %s", w.Description, id)
				}
				return err
			})
		},
	}
	f := c.Flags()
	f.StringVar(&device, "device", "boot", a.ui.T("`device` with the system or the boot sector"))
	f.StringVar(&osDevice, "os-device", "", a.ui.T("the same `device` as the system will call it, if that differs"))
	f.StringVar(&root, "system-root", `\Windows`, a.ui.T("Windows `folder`"))
	f.StringVar(&release, "release", "10", a.ui.T("`release` of Windows: 7, 8.1, 10 or 11"))
	f.StringVar(&locale, "locale", "", a.ui.T("`language` of the loader (default: that of the boot manager)"))
	f.StringVar(&sector, "boot-sector", "", a.ui.T("`path` of a file of real-mode code to start instead of a Windows"))
	f.BoolVar(&efi, "uefi", false, a.ui.T("for UEFI firmware"))
	f.BoolVar(&x86, "x86", false, a.ui.T("a 32-bit Windows"))
	f.BoolVar(&detectHAL, "detect-hal", false, a.ui.T("choose kernel and HAL anew at each start: Windows 7 that moves between machines"))
	o.flags(a, c)
	return c
}

func newBootRemove(a *app) *cobra.Command {
	o := &regChange{}
	c := &cobra.Command{
		Use:     "remove STORE ENTRY",
		Short:   a.ui.T("Remove an entry, or another object, and every reference to it"),
		Example: "  husk boot remove Boot/BCD 3",
		Args:    args(2, 2),
		RunE: func(c *cobra.Command, given []string) error {
			return a.changeStore(c, o, given, func(s *bcd.Store, rest []string) error {
				entry, err := s.Find(rest[0])
				if err != nil {
					return err
				}
				if entry.ID == bcd.BootManagerID {
					return ui.Usage(fmt.Errorf("%s: a store without a boot manager starts nothing", rest[0]))
				}
				return s.Delete(entry.ID)
			})
		},
	}
	o.flags(a, c)
	return c
}

func newBootSet(a *app) *cobra.Command {
	o := &regChange{}
	var remove bool
	c := &cobra.Command{
		Use:   "set STORE ENTRY ELEMENT [VALUE...]",
		Short: a.ui.T("Set an element of an object, or remove it"),
		Example: `  husk boot set Boot/BCD {default} nx OptIn
  husk boot set Boot/BCD 1 description 'Windows 7 旗舰版'
  husk boot set Boot/BCD {bootmgr} displayorder ID ID
  husk boot set Boot/BCD 2 custom:250000c2 0
  husk boot set Boot/BCD 2 recoverysequence --delete`,
		Args: args(3, 1000),
		RunE: func(c *cobra.Command, given []string) error {
			return a.changeStore(c, o, given, func(s *bcd.Store, rest []string) error {
				object, err := s.Find(rest[0])
				if err != nil {
					return err
				}
				e, err := bcd.ParseElement(rest[1], object.Type)
				if err != nil {
					return ui.Usage(err)
				}
				switch {
				case remove && len(rest) > 2:
					return ui.Usage(fmt.Errorf("--delete and a value, want one of them"))
				case remove:
					return object.Remove(e)
				}
				return object.SetWords(e, rest[2:]...)
			})
		},
	}
	c.Flags().BoolVar(&remove, "delete", false, a.ui.T("remove the element"))
	o.flags(a, c)
	return c
}

func newBootDefault(a *app) *cobra.Command {
	o := &regChange{}
	c := &cobra.Command{
		Use:     "default STORE ENTRY",
		Short:   a.ui.T("Choose the entry that starts when nobody chooses"),
		Example: "  husk boot default Boot/BCD 2",
		Args:    args(2, 2),
		RunE: func(c *cobra.Command, given []string) error {
			return a.changeStore(c, o, given, func(s *bcd.Store, rest []string) error {
				entry, err := s.Find(rest[0])
				if err != nil {
					return err
				}
				return s.SetDefault(entry.ID)
			})
		},
	}
	o.flags(a, c)
	return c
}

func newBootTimeout(a *app) *cobra.Command {
	o := &regChange{}
	c := &cobra.Command{
		Use:     "timeout STORE SECONDS",
		Short:   a.ui.T("Choose how long the menu waits; 0 starts the default at once"),
		Example: "  husk boot timeout Boot/BCD 10",
		Args:    args(2, 2),
		RunE: func(c *cobra.Command, given []string) error {
			n, err := strconv.ParseUint(given[1], 10, 32)
			if err != nil {
				return ui.Usage(fmt.Errorf("%q, want a number of seconds", given[1]))
			}
			return a.changeStore(c, o, given, func(s *bcd.Store, _ []string) error {
				manager, err := s.Object(bcd.BootManagerID)
				if err != nil {
					return err
				}
				return manager.SetInteger(bcd.TimeoutElement, n)
			})
		},
	}
	o.flags(a, c)
	return c
}

func newBootExport(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "export STORE FILE",
		Short: a.ui.T("Write a clean copy of a store, as bcdedit /export does"),
		Example: `  husk boot export usb.vhd BCD.backup
  husk reg export Boot/BCD > bcd.reg`,
		Args: args(2, 2),
		RunE: func(c *cobra.Command, given []string) error {
			h, s, rest, err := a.openStore(c, given)
			if err != nil {
				return err
			}
			defer h.Close()
			return a.writeStore(s, rest[0])
		},
	}
	return c
}

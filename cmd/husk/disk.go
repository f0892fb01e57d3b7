package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"husk/internal/disk"
	"husk/internal/ui"
)

// newDisk is the group of commands on disk files themselves, whatever is on them.
func newDisk(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "disk COMMAND DISK …",
		Short: a.ui.T("Make, convert and resize virtual disks"),
		Long: a.ui.T(`DISK is a VHD, a VHDX, a raw image or a block device; qcow2 can be converted from. Differencing disks are read with their
parents. 'husk info DISK' shows form, size, parent and partitions, and 'husk check DISK' looks for damage.`),
		Example: `  husk disk convert machine.qcow2 machine.vhdx
  husk disk create win7.vhd --size=60G
  husk disk create child.vhdx --parent=base.vhdx
  husk disk resize win7.vhd --size=80G
  husk disk compact win10.vhdx
  husk disk merge child.vhdx --yes`,
		Args: args(0, 0),
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newDiskConvert(a), newDiskCreate(a), newDiskResize(a), newDiskCompact(a), newDiskMerge(a))
	return c
}

// newDiskFlags are the flags of commands that make a disk.
type newDiskFlags struct {
	disk.NewOptions
	block string
}

func (a *app) addDiskFlags(c *cobra.Command, f *newDiskFlags) {
	c.Flags().StringVar(&f.Form, "format", "", a.ui.T("`kind` of the new disk: raw, vhd or vhdx (default: by its name)"))
	c.Flags().BoolVar(&f.Fixed, "fixed", false, a.ui.T("with all blocks in the file, not only those that are used"))
	c.Flags().StringVar(&f.block, "block-size", "", a.ui.T("`size` of the blocks of the file (default: as Windows has it)"))
}

// options are the settings that the flags make.
func (f *newDiskFlags) options(a *app) (*disk.NewOptions, error) {
	f.Overwrite = a.ui.Yes
	var err error
	if f.block != "" {
		if f.BlockSize, err = ui.ParseSize(f.block); err != nil {
			return nil, ui.Usage(fmt.Errorf("--block-size: %w", err))
		}
	}
	return &f.NewOptions, nil
}

// sizeFlag reads --size, which has to be given.
func sizeFlag(s string) (int64, error) {
	if s == "" {
		return 0, ui.Usage(errors.New("no size, want --size=SIZE"))
	}
	n, err := ui.ParseSize(s)
	if err != nil {
		return 0, ui.Usage(fmt.Errorf("--size: %w", err))
	}
	return n, nil
}

// madeDisk tells of a disk that is there now.
func (a *app) madeDisk(path string) error {
	d, err := disk.OpenAny(path)
	if err != nil {
		return err
	}
	defer d.Close()
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	if a.ui.JSON {
		a.ui.Event("result", map[string]any{"file": path, "format": d.Format, "bytes": d.Size(), "fileBytes": st.Size()})
		return nil
	}
	a.ui.Say("%s: %s, %s, in a file of %s", path, d.Format, ui.Size(d.Size()), ui.Size(st.Size()))
	return nil
}

// nativeDepth is how many disks a chain may have from which Windows is known to start on a machine: a child and its parent.
const nativeDepth = 2

// warnDepth tells of a chain that is too long to start Windows from. A virtual machine does not mind.
func (a *app) warnDepth(path string) {
	d, err := disk.OpenAny(path)
	if err != nil {
		return // whoever reads it next says so
	}
	defer d.Close()
	if n := d.Depth(); n > nativeDepth {
		a.ui.Warn("%s: a chain of %d disks: Windows starts from short chains only, keep to a child and its parent; 'husk disk merge' shortens it", path, n)
	}
}

func newDiskConvert(a *app) *cobra.Command {
	f := &newDiskFlags{}
	c := &cobra.Command{
		Use:   "convert DISK NEW",
		Short: a.ui.T("Write the content of a disk into a new one of another form"),
		Long: a.ui.T(`A differencing disk becomes one without parent. What is zero takes no room in a dynamic disk, and makes holes in a raw image.
The new disk has identities of its own; those of its content, such as the disk signature, stay.`),
		Example: `  husk disk convert machine.qcow2 machine.vhdx
  husk disk convert child.vhd whole.vhd --fixed
  husk disk convert win10.vhdx /dev/shm/win10.img`,
		Args: args(2, 2),
		RunE: func(c *cobra.Command, args []string) error {
			o, err := f.options(a)
			if err != nil {
				return err
			}
			d, err := disk.OpenAny(args[0])
			if err != nil {
				return err
			}
			p := a.ui.Start("convert", d.Size())
			if err := d.Close(); err != nil {
				return err
			}
			o.Progress = p.Add
			err = disk.Convert(c.Context(), args[0], args[1], o)
			p.Done()
			if err != nil {
				return refusedIf(err)
			}
			return a.madeDisk(args[1])
		},
	}
	a.addDiskFlags(c, f)
	return c
}

func newDiskCreate(a *app) *cobra.Command {
	f := &newDiskFlags{}
	var size, parent string
	c := &cobra.Command{
		Use:   "create NEW",
		Short: a.ui.T("Make an empty disk, or a differencing disk on a parent"),
		Long: a.ui.T(`A differencing disk has the form and the size of its parent, and holds only what differs. The parent must not be changed as long
as it has children, and its path from the folder of the child must stay.`),
		Example: `  husk disk create win7.vhd --size=60G
  husk disk create child.vhdx --parent=base.vhdx`,
		Args: args(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			o, err := f.options(a)
			if err != nil {
				return err
			}
			switch {
			case parent != "" && (size != "" || f.Fixed || f.Form != "" || f.SectorSize != 0):
				err = ui.Usage(errors.New("a differencing disk has form, size and sectors of its parent"))
			case parent != "":
				err = disk.CreateChild(args[0], parent, o)
			default:
				var n int64
				if n, err = sizeFlag(size); err == nil {
					err = disk.Create(args[0], n, o)
				}
			}
			if err != nil {
				return refusedIf(err)
			}
			if parent != "" {
				a.warnDepth(args[0])
			}
			return a.madeDisk(args[0])
		},
	}
	a.addDiskFlags(c, f)
	c.Flags().StringVar(&size, "size", "", a.ui.T("`size` of the disk, such as 60G"))
	c.Flags().StringVar(&parent, "parent", "", a.ui.T("make a differencing disk on this `disk`"))
	c.Flags().IntVar(&f.SectorSize, "sector-size", 0, a.ui.T("logical sectors of a VHDX of this many `bytes`: 512 or 4096"))
	return c
}

func newDiskResize(a *app) *cobra.Command {
	var size string
	c := &cobra.Command{
		Use:   "resize DISK",
		Short: a.ui.T("Change the size of a disk"),
		Long: a.ui.T(`Partitions and file systems stay as they are: enlarge them afterwards, in Windows for instance. A disk is not made smaller than
its last partition. A cut while it is resized leaves the old size or the new one.`),
		Example: `  husk disk resize win7.vhd --size=80G`,
		Args:    args(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			n, err := sizeFlag(size)
			if err != nil {
				return err
			}
			if err := disk.Resize(args[0], n); err != nil {
				return err
			}
			return a.madeDisk(args[0])
		},
	}
	c.Flags().StringVar(&size, "size", "", a.ui.T("new `size` of the disk, such as 80G"))
	return c
}

func newDiskCompact(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "compact DISK",
		Short: a.ui.T("Rewrite a dynamic disk without the room that nothing needs"),
		Long: a.ui.T(`Clusters that no file of an NTFS volume has, and blocks of nothing but zeros, are dropped; what deleted files held is gone then. The
free space of volumes that were not closed cleanly is kept. The disk keeps its identities, so that its children still know it. Until it
is done the old file is untouched.`),
		Example: `  husk disk compact win10.vhdx`,
		Args:    args(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			d, err := disk.OpenAny(args[0])
			if err != nil {
				return err
			}
			p := a.ui.Start("compact", d.Size())
			if err := d.Close(); err != nil {
				return err
			}
			before, after, err := disk.Compact(c.Context(), args[0], p.Add, a.ui.Warn)
			p.Done()
			if err != nil {
				return err
			}
			if a.ui.JSON {
				a.ui.Event("result", map[string]any{"file": args[0], "before": before, "after": after})
				return nil
			}
			a.ui.Say("%s: the file had %s and has %s", args[0], ui.Size(before), ui.Size(after))
			return nil
		},
	}
}

func newDiskMerge(a *app) *cobra.Command {
	var remove bool
	c := &cobra.Command{
		Use:   "merge CHILD",
		Short: a.ui.T("Write what a differencing disk holds into its parent"),
		Long: a.ui.T(`The parent is changed and has the content of the child then; other children of it, which would be destroyed, are refused if they
are in its folder. A merge that was interrupted can be done again. 'husk disk convert' makes a new disk of a child instead.`),
		Example: `  husk disk merge child.vhdx --yes
  husk disk merge child.vhd --remove --yes`,
		Args: args(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			if !a.ui.Confirm("Change the parent of %s?", args[0]) {
				return ui.Hint(fmt.Errorf("%w: the parent of %s would be changed", errRefused, args[0]), "go ahead with --yes")
			}
			parent, err := disk.Merge(args[0])
			if err != nil {
				return err
			}
			if remove {
				if err := os.Remove(args[0]); err != nil {
					return err
				}
			}
			return a.madeDisk(parent)
		},
	}
	c.Flags().BoolVar(&remove, "remove", false, a.ui.T("remove the child when it is merged"))
	return c
}

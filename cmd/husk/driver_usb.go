package main

import (
	"strings"

	"github.com/spf13/cobra"

	"husk/internal/driver"
)

func newDriverUSB(a *app) *cobra.Command {
	var portable, dryRun bool
	c := &cobra.Command{
		Use:   "usb TARGET",
		Short: a.ui.T("Let a Windows start from a disk behind USB"),
		Long: a.ui.T(`In every control set the drivers of USB and of disk controllers that the system has are started by the boot loader, and the system
waits up to 30 seconds for its disk. Windows 8 and later do not hibernate when they shut down. Driver files that are pointers become plain.
Updates of drivers may undo this on Windows 7. A second run changes nothing.`),
		Example: `  husk driver usb x64/win7.vhd
  husk driver usb /dev/sdb:2 --portable`,
		Args: args(1, 1),
		RunE: func(c *cobra.Command, given []string) error {
			s, err := driver.Open(c.Context(), given[0], a.ui.Warn)
			if err != nil {
				return err
			}
			defer s.Close()
			p, err := s.PlanUSB(portable)
			if err != nil {
				return err
			}
			if !dryRun {
				if err := p.Apply(); err != nil {
					return err
				}
			}
			a.tellUSB(s.Source.Path, p, dryRun)
			return nil
		},
	}
	c.Flags().BoolVar(&portable, "portable", false, a.ui.T("make it a Windows To Go (Windows 8 and later): it leaves the disks of the machine alone"))
	c.Flags().BoolVar(&dryRun, "dry-run", false, a.ui.T("only tell what would be done"))
	return c
}

func (a *app) tellUSB(name string, p *driver.USBPlan, dryRun bool) {
	if a.ui.JSON {
		a.ui.Event("result", map[string]any{
			"dryRun": dryRun, "changed": !p.Nothing() && !dryRun, "drivers": p.Drivers, "absent": p.Absent, "plain": p.Plain,
			"controlSets": p.Sets, "values": p.Changes,
		})
		return
	}
	if p.Nothing() {
		a.ui.Say("%s: all is set already; nothing to do", name)
		return
	}
	t := a.ui.T
	rows := [][]string{{t("drivers"), strings.Join(p.Drivers, ", ")}, {t("control sets"), strings.Join(p.Sets, ", ")}}
	if len(p.Absent) > 0 {
		rows = append(rows, []string{t("without a file"), strings.Join(p.Absent, ", ")})
	}
	if len(p.Plain) > 0 {
		rows = append(rows, []string{t("plain from now on"), strings.Join(p.Plain, ", ")})
	}
	a.ui.List(rows)
	a.tellChanges(p.Changes, dryRun)
}

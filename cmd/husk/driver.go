package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"husk/internal/driver"
	"husk/internal/ui"
	"husk/pe"
)

// newDriver is the group of commands on the drivers of offline systems.
func newDriver(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "driver COMMAND …",
		Short: a.ui.T("Look at the drivers an offline system starts with, and add the overlay driver"),
		Long: a.ui.T(`TARGET is a system that does not run: a folder, or FILE[:PARTITION] of a VHD, VHDX, raw image or block device. Disks are changed
in place, all or nothing.`),
		Example: `  husk driver list x64/win7.vhd
  husk driver add adk/amd64/DISM/wofadk.sys x64/win7.vhd`,
		Args: args(0, 0),
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newDriverList(a), newDriverAdd(a), newDriverUSB(a))
	return c
}

func newDriverList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "list TARGET",
		Short: a.ui.T("Show the boot-start drivers with file, version and machine"),
		Long: a.ui.T(`STATE is "missing" if there is no such file, "wrong machine" if it is for another architecture than the system, "pointer" if it
is a pointer or compact file, which the loaders of Windows 7 and every loader on a BIOS cannot read, and "damaged" if it is no program.
TARGET may also be an image in a WIM. The exit status is 3 if a file is missing, damaged or for the wrong machine.`),
		Example: `  husk driver list x64/win7.vhd
  husk driver list --json wimboot.wim:1`,
		Args: args(1, 1),
		RunE: func(c *cobra.Command, given []string) error {
			s, err := driver.Open(c.Context(), given[0], a.ui.Warn)
			if err != nil {
				return err
			}
			defer s.Close()
			return a.showDrivers(s)
		},
	}
}

type jsonDriver struct {
	Service string   `json:"service"`
	Group   string   `json:"group,omitempty"`
	File    string   `json:"file"`
	Version string   `json:"version,omitempty"`
	Machine string   `json:"machine,omitempty"`
	Digests []string `json:"signed,omitempty"`
	State   string   `json:"state"`
}

// driverState is one word for the state of a driver's file, and whether it can be loaded.
func driverState(d driver.Boot) (state string, good bool) {
	switch {
	case d.Missing:
		return "missing", false
	case d.Foreign:
		return "wrong machine", false
	case d.Pointer:
		return "pointer", true
	case d.Err != nil:
		return "damaged", false
	}
	return "present", true
}

func (a *app) showDrivers(s *driver.System) error {
	bad := 0
	var rows [][]string
	for _, d := range s.BootDrivers() {
		state, good := driverState(d)
		if !good {
			bad++
		}
		j := jsonDriver{Service: d.Name, Group: d.Group, File: s.Facts.Folder + "/" + d.Image, State: state}
		if d.Info != nil {
			j.Machine, j.Digests = driver.MachineName(d.Info.Machine), d.Info.Digests
			if d.Info.FileVersion != (pe.Version{}) {
				j.Version = d.Info.FileVersion.String()
			}
		}
		if a.ui.JSON {
			a.ui.Line(j)
			continue
		}
		rows = append(rows, []string{printable(j.Service), printable(j.Group), printable(j.File), j.Version, j.Machine, a.ui.T(state)})
	}
	if !a.ui.JSON {
		t := a.ui.T
		a.ui.Table([]string{t("SERVICE"), t("GROUP"), t("FILE"), t("VERSION"), t("MACHINE"), t("STATE")}, make([]ui.Align, 6), rows)
	}
	if bad > 0 {
		return fmt.Errorf("%w: %d boot-start drivers cannot be loaded", errDiffers, bad)
	}
	return nil
}

func newDriverAdd(a *app) *cobra.Command {
	var hive string
	var force, dryRun bool
	c := &cobra.Command{
		Use:   "add WOFADK.SYS TARGET",
		Short: a.ui.T("Put Microsoft's overlay driver into Windows 7 or 8, so that it can start from pointer files"),
		Long: a.ui.T(`The driver is your own copy: wofadk.sys of the Windows 10 ADK, 1507 to 1607, from Deployment Tools\(amd64 or x86)\DISM. It goes to
\Windows\System32\drivers, and its service into every control set of the SYSTEM hive, with the values of the WofAdk.hiv beside it or,
without one, those that the ADK 1507 has. Windows 8.1 and later have wof.sys and need nothing.
What would keep the system from starting is refused: a driver for another architecture (always); and, unless --force is given, one
without a signature, or on 64-bit Windows 7 one with an SHA-2 signature alone where the update KB3033929 or a later roll-up is missing.
A second run changes nothing.`),
		Example: `  husk driver add adk/amd64/DISM/wofadk.sys x64/win7.vhd
  husk driver add wofadk.sys disk.img:2 --dry-run
  husk driver add x86/wofadk.sys win7-folder --hive=x86/WofAdk.hiv`,
		Args: args(2, 2),
		RunE: func(c *cobra.Command, given []string) error {
			s, err := driver.Open(c.Context(), given[1], a.ui.Warn)
			if err != nil {
				return err
			}
			defer s.Close()
			p, err := s.Plan(given[0], hive, a.ui.Warn)
			if err != nil {
				return err
			}
			return a.addDriver(s, p, force, dryRun)
		},
	}
	c.Flags().StringVar(&hive, "hive", "", a.ui.T("take the values of the service from this `file` (default: WofAdk.hiv beside the driver, if it is there)"))
	c.Flags().BoolVar(&force, "force", false, a.ui.T("go on although the system may not start"))
	c.Flags().BoolVar(&dryRun, "dry-run", false, a.ui.T("only tell what would be done"))
	return c
}

// addDriver shows a plan and carries it out.
func (a *app) addDriver(s *driver.System, p *driver.Plan, force, dryRun bool) error {
	if p.Inbox != "" {
		a.ui.Event("result", map[string]any{"needed": false, "why": p.Inbox, "changed": false})
		a.ui.Say("%s needs no driver: it has %s", s.Source.Path, p.Inbox)
		return nil
	}
	if err := a.judge(p, force); err != nil {
		return err
	}
	if p.Nothing() {
		a.tellDriver(p, dryRun)
		a.ui.Say("%s: the driver %s is there already; nothing to do", s.Source.Path, p.Driver.FileVersion)
		return nil
	}
	if p.File == driver.FileReplace && !dryRun && p.Old != nil {
		if !a.ui.Confirm("Replace version %s of the driver by %s?", p.Old.FileVersion, p.Driver.FileVersion) {
			err := fmt.Errorf("%w: %s has another wofadk.sys, version %s", errRefused, s.Source.Path, p.Old.FileVersion)
			return ui.Hint(err, "replace it with --yes")
		}
	}
	if !dryRun {
		if err := p.Apply(); err != nil {
			return err
		}
	}
	a.tellDriver(p, dryRun)
	return nil
}

// judge refuses what stands against the plan, or only warns.
func (a *app) judge(p *driver.Plan, force bool) error {
	if p.Fatal != nil {
		return fmt.Errorf("%w: %w", errRefused, p.Fatal)
	}
	if len(p.Problems) == 0 {
		return nil
	}
	if force {
		for _, err := range p.Problems {
			a.ui.Warn("%s", err)
		}
		return nil
	}
	for _, err := range p.Problems[1:] {
		a.ui.Warn("%s", err)
	}
	return fmt.Errorf("%w: %w", errRefused, p.Problems[0])
}

// tellDriver tells what was done, or would be.
func (a *app) tellDriver(p *driver.Plan, dryRun bool) {
	if a.ui.JSON {
		m := map[string]any{
			"dryRun": dryRun, "needed": true, "changed": !p.Nothing() && !dryRun, "file": p.Target, "fileAction": string(p.File),
			"version": p.Driver.FileVersion.String(), "machine": driver.MachineName(p.Driver.Machine), "signed": p.Driver.Digests,
			"controlSets": p.Sets, "hive": p.Hive, "values": p.Changes,
		}
		if u := p.Update; u != nil {
			m["update"] = map[string]any{"needed": u.Needed, "present": u.OK, "kernel": u.Kernel.String(), "ci": u.CI.String(), "winload": u.Loader.String()}
		}
		a.ui.Event("result", m)
		return
	}
	if p.Nothing() {
		return
	}
	t := a.ui.T
	signed := strings.Join(p.Driver.Digests, ", ")
	if signed == "" {
		signed = t("no signature")
	}
	rows := [][]string{
		{t("driver"), fmt.Sprintf("%s, %s, %s", p.Driver.FileVersion, driver.MachineName(p.Driver.Machine), signed)},
		{t("file"), fmt.Sprintf("%s: %s", p.Target, t(string(p.File)))},
		{t("control sets"), strings.Join(p.Sets, ", ")},
	}
	if p.Hive != "" {
		rows = append(rows, []string{t("values from"), p.Hive})
	}
	if u := p.Update; u != nil {
		rows = append(rows, []string{t("SHA-2 update"), t("%s (ntoskrnl %s, ci.dll %s)", yesOrNo(a, u.OK), u.Kernel, u.CI)})
	}
	a.ui.List(rows)
	a.tellChanges(p.Changes, dryRun)
}

// tellChanges tells what is set in a registry, or would be.
func (a *app) tellChanges(changes []driver.Change, dryRun bool) {
	if dryRun {
		for _, c := range changes {
			old := ""
			if c.Old != "" {
				old = " (" + c.Old + ")"
			}
			fmt.Fprintf(a.ui.Raw(), "  %s\\%s = %s%s\n", printable(c.Key), printable(c.Value), printable(c.New), printable(old))
		}
		a.ui.Say("Nothing is written: --dry-run")
		return
	}
	a.ui.Say("%d values are set. 'husk driver list' shows what the system starts with", len(changes))
}

func yesOrNo(a *app, yes bool) string {
	if yes {
		return a.ui.T("present")
	}
	return a.ui.T("missing")
}

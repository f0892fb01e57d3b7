package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"husk/internal/check"
	"husk/internal/ui"
	"husk/ntfs"
)

func newCheck(a *app) *cobra.Command {
	o := &check.Options{UI: a.ui}
	var codes bool
	c := &cobra.Command{
		Use:   "check DISK[:PARTITION]...",
		Short: a.ui.T("Check the structures of disks: VHD or VHDX, partition table, and every NTFS volume"),
		Long: a.ui.T(`Everything is checked that Windows relies on and chkdsk would look at, without reading the content of files: records,
attributes, clusters, indexes, names, security, reparse points, object ids, bitmaps, and the copies of all these; tables and
footers of virtual disks; partition tables. Nothing is changed.
Errors are what loses or hides files, or keeps Windows from using the disk; warnings are what chkdsk would repair without
loss; notices are found on healthy disks too. The exit status is 3 if there are errors or warnings. 'husk verify' reads the
contents as well, and checks WIMs.`),
		Example: `  husk check x64/win7.vhd
  husk check /dev/sdb:2 backup.img --all
  husk check win10.vhdx --json`,
		Args: func(c *cobra.Command, given []string) error {
			if codes {
				return args(0, 0)(c, given)
			}
			return args(1, 1<<30)(c, given)
		},
		RunE: func(c *cobra.Command, given []string) error {
			if codes {
				return a.listCodes()
			}
			bad := 0
			for _, spec := range given {
				r, err := check.Run(c.Context(), spec, o)
				if err != nil {
					return err
				}
				a.checked(spec, r, o.All)
				if r.Bad() {
					bad++
				}
			}
			switch {
			case bad == 0:
				return nil
			case len(given) == 1:
				return fmt.Errorf("%s: %w", given[0], errDiffers)
			}
			return fmt.Errorf("%d of %d disks: %w", bad, len(given), errDiffers)
		},
	}
	c.Flags().BoolVar(&o.All, "all", false, a.ui.T("show every finding, not the first of each kind"))
	c.Flags().BoolVar(&codes, "codes", false, a.ui.T("list the codes of findings in NTFS volumes, and what they mean"))
	return c
}

// listCodes prints the table of codes.
func (a *app) listCodes() error {
	var rows [][]string
	for _, r := range ntfs.Codes() {
		if a.ui.JSON {
			a.ui.Line(map[string]any{"code": r.Code, "severity": r.Severity.String(), "means": r.Means})
			continue
		}
		rows = append(rows, []string{string(r.Code), a.severity(check.Severity(r.Severity)), r.Means})
	}
	if !a.ui.JSON {
		t := a.ui.T
		a.ui.Table([]string{t("code"), t("severity"), t("meaning")}, []ui.Align{ui.Left, ui.Left, ui.Left}, rows)
	}
	return nil
}

func (a *app) severity(s check.Severity) string {
	switch s {
	case check.Error:
		return a.ui.T("error")
	case check.Warning:
		return a.ui.T("warning")
	}
	return a.ui.T("notice")
}

// shownOfCode is how many findings of one code are shown without --all.
const shownOfCode = 5

func (a *app) checked(spec string, r *check.Result, all bool) {
	if a.ui.JSON {
		for i := range r.Findings {
			a.ui.Event("problem", findingFields(spec, &r.Findings[i]))
		}
		volumes := make([]map[string]any, 0, len(r.Volumes))
		for _, v := range r.Volumes {
			volumes = append(volumes, map[string]any{"partition": v.Partition, "label": v.Label, "bytes": v.Size, "files": v.Files - v.Directories, "dirs": v.Directories})
		}
		a.ui.Event("result", map[string]any{
			"file": spec, "ok": !r.Bad(), "format": r.Format, "errors": r.Counts[check.Error], "warnings": r.Counts[check.Warning],
			"notices": r.Counts[check.Notice], "codes": r.Codes, "volumes": volumes, "seconds": r.Elapsed.Seconds(),
		})
		return
	}
	a.showFindings(r, all)
	a.showSummary(spec, r)
}

func findingFields(spec string, f *check.Finding) map[string]any {
	fields := map[string]any{
		"file": spec, "severity": f.Severity.String(), "format": f.Format, "code": f.Code, "where": f.Where, "found": f.Found, "message": f.Message(),
	}
	if f.Expected != "" {
		fields["expected"] = f.Expected
	}
	if f.Partition > 0 {
		fields["partition"] = f.Partition
	}
	if f.Record >= 0 {
		fields["record"] = f.Record
	}
	if f.Attribute != "" {
		fields["attribute"] = f.Attribute
	}
	if f.Offset >= 0 {
		fields["offset"] = f.Offset
	}
	return fields
}

// showFindings prints the findings, worst first, and not too many of a kind.
func (a *app) showFindings(r *check.Result, all bool) {
	shown := make(map[string]int)
	hidden := 0
	for i := range r.Findings {
		f := &r.Findings[i]
		key := f.Format + ":" + f.Code
		if shown[key]++; shown[key] > shownOfCode && !all {
			hidden++
			continue
		}
		where := f.Where
		if f.Offset >= 0 && !strings.HasSuffix(where, fmt.Sprintf("at %#x", f.Offset)) {
			where += fmt.Sprintf(" at %#x", f.Offset)
		}
		if f.Partition > 0 {
			where = a.ui.T("partition %s", strconv.Itoa(f.Partition)) + ": " + where
		}
		a.ui.Say("%s: %s", a.severity(f.Severity), f.Code+": "+printable(where)+": "+printable(f.Message()))
	}
	if hidden > 0 {
		a.ui.Say("… and %d more; --all shows them", hidden)
	}
}

// showSummary prints what was found how often, and the verdict.
func (a *app) showSummary(spec string, r *check.Result) {
	t := a.ui.T
	if len(r.Codes) > 0 {
		severity := make(map[string]check.Severity)
		for i := range r.Findings {
			f := &r.Findings[i]
			key := f.Format + ":" + f.Code
			severity[key] = max(severity[key], f.Severity)
		}
		var rows [][]string
		for s := check.Error; s >= check.Notice; s-- {
			for _, key := range slices.Sorted(maps.Keys(r.Codes)) {
				if severity[key] == s {
					format, code, _ := strings.Cut(key, ":")
					rows = append(rows, []string{a.severity(s), format, code, strconv.Itoa(r.Codes[key])})
				}
			}
		}
		a.ui.Table([]string{t("severity"), t("in"), t("code"), t("findings")}, []ui.Align{ui.Left, ui.Left, ui.Left, ui.Right}, rows)
	}
	for _, v := range r.Volumes {
		name := spec
		if v.Partition > 0 {
			name = t("partition %s", strconv.Itoa(v.Partition))
		}
		a.ui.Say("%s: NTFS volume %q of %s: %d files and %d folders checked.", name, printable(v.Label), ui.Size(v.Size), v.Files-v.Directories, v.Directories)
	}
	if r.Bad() {
		a.ui.Say("%s: %d errors, %d warnings, %d notices, in %s.", spec, r.Counts[check.Error], r.Counts[check.Warning], r.Counts[check.Notice], ui.Duration(r.Elapsed))
	} else {
		a.ui.Say("%s: no damage found, %d notices, in %s.", spec, r.Counts[check.Notice], ui.Duration(r.Elapsed))
	}
}

package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"husk/internal/store"
	"husk/internal/ui"
)

// newStore is the group of commands on a whole store.
func newStore(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "store COMMAND STORE …",
		Short: a.ui.T("Keep the states of systems in a folder of layers"),
		Long: a.ui.T(`A STORE is a folder with WIM files, its layers: the first has all contents of its systems, later ones only what no earlier one has.
Layers never change, so disks of pointer files that Windows runs from go on working whatever is added. A folder with a WIM that
wimlib or DISM made is a store; 'husk point' adds states of systems to it, 'husk prune' removes old ones.`),
		Example: `  husk store init wimboot --boot-disk=mbr:1a2b3c4d:1048576 --boot-path='\wimboot'
  husk store info wimboot
  husk store check wimboot
  husk store merge wimboot --repoint
  husk store export wimboot x64-backup.wim x64
  husk store rebuild wimboot`,
		Args: args(0, 0),
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newStoreInit(a), newStoreInfo(a), newStoreCheck(a), newStoreMerge(a), newStoreExport(a), newStoreRebuild(a), newStoreRecord(a), newStoreForget(a))
	return c
}

// lookStore opens a store to look at it.
func (a *app) lookStore(dir string) (*store.Store, error) {
	s, err := store.Open(dir, &store.OpenOptions{UI: a.ui})
	if err != nil {
		return nil, err
	}
	for _, w := range s.Warnings {
		a.ui.Warn("%s", w)
	}
	return s, nil
}

// addNoWait adds the flag of commands that change a store.
func addNoWait(a *app, c *cobra.Command) *bool {
	return c.Flags().Bool("no-wait", false, a.ui.T("if another program is changing the store, fail at once instead of waiting for it"))
}

// lockStore opens a store to change it, and says so if it has to wait for somebody.
func (a *app) lockStore(ctx context.Context, dir string, o *store.LockOptions) (*store.Store, error) {
	s, err := a.lookStore(dir)
	if err != nil {
		return nil, err
	}
	o.Waiting = func(e *store.LockedError) { a.ui.Warn("%v; waiting for it", e) }
	if err := s.Lock(ctx, o); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// withStore calls f with a store that it may change.
func (a *app) withStore(ctx context.Context, dir string, noWait bool, f func(*store.Store) error) error {
	return a.withLocked(ctx, dir, &store.LockOptions{NoWait: noWait}, f)
}

func (a *app) withLocked(ctx context.Context, dir string, o *store.LockOptions, f func(*store.Store) error) error {
	s, err := a.lockStore(ctx, dir, o)
	if err != nil {
		return err
	}
	err = f(s)
	if closed := s.Close(); err == nil {
		err = closed
	}
	return err
}

func newStoreInit(a *app) *cobra.Command {
	o := &store.CreateOptions{UI: a.ui}
	boot := &store.BootPlace{}
	var chunk string
	c := &cobra.Command{
		Use:   "init STORE",
		Short: a.ui.T("Make a folder a store"),
		Long: a.ui.T(`The folder is made if it does not exist. WIMs that are in it become the first layers. New layers are compressed as Windows reads it
fastest, unless --compress says otherwise. --boot-disk and --boot-path say where the folder will be when its systems start, so that
the commands that make disks need not be told each time.`),
		Example: `  husk store init wimboot
  husk store init /mnt/d/wimboot --boot-disk=/dev/sda:2 --boot-path='\wimboot'
  husk store init small --compress=lzx`,
		Args: args(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			if chunk != "" {
				n, err := ui.ParseSize(chunk)
				if err != nil || n <= 0 || n > 1<<30 {
					return ui.Usage(fmt.Errorf("--chunk-size=%s: want a size such as 4K or 32K", chunk))
				}
				o.ChunkSize = int(n)
			}
			if *boot != (store.BootPlace{}) {
				o.Boot = boot
			}
			s, err := store.Create(args[0], o)
			if err != nil {
				return refusedIf(err)
			}
			defer s.Close()
			a.ui.Say("%s is a store with %d layers and %d points.", args[0], len(s.Layers()), len(s.Points()))
			a.ui.Event("result", map[string]any{"store": args[0], "layers": len(s.Layers()), "points": len(s.Points())})
			return nil
		},
	}
	c.Flags().StringVar(&o.Compress, "compress", "", a.ui.T("compress new layers with `codec` XPRESS or LZX, perhaps :fast or :best (default XPRESS)"))
	c.Flags().StringVar(&chunk, "chunk-size", "", a.ui.T("`size` of the chunks of new layers (default 4K for XPRESS, 32K for LZX)"))
	c.Flags().StringVar(&boot.Disk, "boot-disk", "", a.ui.T("`disk` that the folder is on at boot: mbr:SIGNATURE:OFFSET, gpt:DISK:PARTITION, or a disk image or device with :NUMBER"))
	c.Flags().StringVar(&boot.Path, "boot-path", "", a.ui.T("`path` of the folder on its volume at boot, such as \\wimboot"))
	return c
}

func newStoreInfo(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "info STORE",
		Short: a.ui.T("Show layers, systems, points and disks of a store, and what each takes"),
		Long: a.ui.T(`"own" is what only this point or system has, and what would become free without it; "shared" is what others have too. Sizes are
those in the layers, compressed.`),
		Example: `  husk store info wimboot
  husk store info wimboot --json`,
		Args: args(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := a.lookStore(args[0])
			if err != nil {
				return err
			}
			defer s.Close()
			z, err := s.Sizes(c.Context())
			if err != nil {
				return err
			}
			uses, err := s.Uses(c.Context())
			if err != nil {
				return err
			}
			if a.ui.JSON {
				a.storeJSON(args[0], s, z, uses)
			} else {
				a.storeTables(s, z, uses)
			}
			return nil
		},
	}
}

func (a *app) storeJSON(dir string, s *store.Store, z *store.Sizes, uses []*store.DiskUse) {
	for _, l := range s.Layers() {
		n := z.Layers[l]
		a.ui.Event("layer", map[string]any{"file": l.File, "guid": l.GUID().String(), "fileBytes": n.File, "all": n.All, "needed": n.Needed, "retired": l.Retired})
	}
	for _, y := range z.Systems {
		a.ui.Event("system", map[string]any{"system": y.Name, "points": y.Points, "all": y.All, "private": y.Private, "shared": y.Shared})
	}
	for _, p := range z.Points {
		f := pointFields(p.Point)
		f["files"], f["bytes"], f["all"], f["private"] = p.Files, p.Bytes, p.All, p.Private
		a.ui.Event("point", f)
	}
	for _, u := range uses {
		layers := map[string]int{}
		for l, n := range u.Layers {
			layers[l.File] = n
		}
		f := map[string]any{"disk": u.Path, "system": u.System, "recorded": u.Recorded, "layers": layers}
		if u.Err != nil {
			f["error"] = u.Err.Error()
		}
		a.ui.Event("disk", f)
	}
	a.ui.Event("result", map[string]any{
		"store": dir, "layers": len(s.Layers()), "points": len(s.Points()), "dropped": len(s.Dropped()), "fileBytes": z.Files, "needed": z.All, "unused": z.Unused,
	})
}

func (a *app) storeTables(s *store.Store, z *store.Sizes, uses []*store.DiskUse) {
	t := a.ui.T
	var rows [][]string
	for _, l := range s.Layers() {
		n := z.Layers[l]
		var disks []string
		for _, u := range uses {
			if k, ok := u.Layers[l]; ok {
				disks = append(disks, fmt.Sprintf("%s (%d)", shortPath(s, u.Path), k))
			}
		}
		note := strings.Join(disks, ", ")
		if l.Retired {
			note = strings.TrimSpace(t("merged, not needed by points") + " " + note)
		}
		rows = append(rows, []string{l.File, ui.Size(n.File), ui.Size(n.Needed.Stored), printable(note)})
	}
	a.ui.Table([]string{t("layer"), t("file"), t("needed by points"), t("pointed into by disk (files)")}, []ui.Align{ui.Left, ui.Right, ui.Right, ui.Left}, rows)
	rows = nil
	for _, y := range z.Systems {
		rows = append(rows, []string{y.Name, strconv.Itoa(y.Points), ui.Size(y.All.Stored), ui.Size(y.Private.Stored), ui.Size(y.Shared.Stored)})
	}
	a.ui.Say("")
	a.ui.Table([]string{t("system"), t("points"), t("size"), t("own"), t("shared")}, []ui.Align{ui.Left, ui.Right, ui.Right, ui.Right, ui.Right}, rows)
	rows = nil
	for _, p := range z.Points {
		rows = append(rows, []string{p.Point.String(), date(p.Point.Date), strconv.Itoa(p.Files), ui.Size(p.Bytes), ui.Size(p.All.Stored), ui.Size(p.Private.Stored), printable(p.Point.Note)})
	}
	a.ui.Say("")
	a.ui.Table([]string{t("point"), t("date"), t("files"), t("plain"), t("size"), t("own"), t("note")},
		[]ui.Align{ui.Left, ui.Left, ui.Right, ui.Right, ui.Right, ui.Right, ui.Left}, rows)
	for _, u := range uses {
		if u.Err != nil {
			a.ui.Warn("%s", u.Err.Error())
		}
	}
	for _, b := range s.Bad() {
		a.ui.Warn("%s: %v", b.File, b.Err)
	}
	a.ui.Say("")
	a.ui.Say("%d layers take %s. Points need %s of it.", len(s.Layers()), ui.Size(z.Files), ui.Size(z.All.Stored))
}

// shortPath is the path of a disk as seen from the store.
func shortPath(s *store.Store, path string) string {
	if rest, ok := strings.CutPrefix(path, s.Dir); ok {
		return strings.TrimLeft(rest, `/\`)
	}
	return path
}

// date is a point in time as people here write it.
func date(t time.Time) string { return t.Local().Format("2006-01-02 15:04") }

func newStoreCheck(a *app) *cobra.Command {
	o := &store.CheckOptions{}
	c := &cobra.Command{
		Use:   "check STORE",
		Short: a.ui.T("Read all layers and see that every point and disk has what it needs"),
		Long: a.ui.T(`Every content is read and compared with its SHA-1, every point must have all of its contents, and every disk must find what it
points to. With --quick contents are not read. The exit status is 3 if anything is damaged or missing.`),
		Example: `  husk store check wimboot
  husk store check wimboot --quick`,
		Args: args(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := a.lookStore(args[0])
			if err != nil {
				return err
			}
			defer s.Close()
			o.Threads = a.threads
			r, err := s.Check(c.Context(), o)
			if err != nil {
				return err
			}
			return a.storeChecked(args[0], r)
		},
	}
	c.Flags().BoolVar(&o.Quick, "quick", false, a.ui.T("do not read contents"))
	return c
}

func (a *app) storeChecked(dir string, r *store.CheckResult) error {
	for _, n := range r.Notes {
		a.ui.Event("note", map[string]any{"message": n})
		a.ui.Say("%s", a.ui.T("note: %s", n))
	}
	for _, p := range r.Problems {
		a.ui.Event("problem", map[string]any{"message": p})
		a.ui.Say("%s", p)
	}
	a.ui.Event("result", map[string]any{
		"store": dir, "ok": len(r.Problems) == 0, "problems": len(r.Problems), "notes": len(r.Notes), "layers": r.Layers, "points": r.Points, "disks": r.Disks,
		"blobs": r.Blobs, "bytes": r.Bytes, "seconds": r.Elapsed.Seconds(),
	})
	if len(r.Problems) > 0 {
		a.ui.Say("%d problems found in %s.", len(r.Problems), ui.Duration(r.Elapsed))
		return fmt.Errorf("%s: %w", dir, errDiffers)
	}
	a.ui.Say("%d layers, %d points and %d disks are sound: %d contents, %s, read in %s.", r.Layers, r.Points, r.Disks, r.Blobs, ui.Size(r.Bytes), ui.Duration(r.Elapsed))
	return nil
}

func newStoreMerge(a *app) *cobra.Command {
	o := &store.MergeOptions{}
	var from string
	c := &cobra.Command{
		Use:   "merge STORE",
		Short: a.ui.T("Fold layers into one"),
		Long: a.ui.T(`The new layer has the points of the old ones; what only dropped points had is left out. Contents are copied as they are stored.
Disks go on working: an old layer stays until no disk points into it. With --repoint the disks are made to point into the new layer,
each in one transaction, and the old layers go at once. A disk that needs contents of a dropped point keeps its layer.`),
		Example: `  husk store merge wimboot --dry-run
  husk store merge wimboot --repoint
  husk store merge wimboot --from=layer-0003.wim`,
		Args: args(1, 1),
	}
	noWait := addNoWait(a, c)
	c.Flags().StringVar(&from, "from", "", a.ui.T("fold only `layer` and those after it"))
	c.Flags().BoolVar(&o.Repoint, "repoint", false, a.ui.T("let disks point into the new layer"))
	c.Flags().BoolVar(&o.DryRun, "dry-run", false, a.ui.T("tell what would be done and write nothing"))
	c.RunE = func(c *cobra.Command, args []string) error {
		return a.withStore(c.Context(), args[0], *noWait, func(s *store.Store) error {
			o.Threads = a.threads
			for _, l := range s.Layers() {
				if l.File == from {
					o.From = l
				}
			}
			if from != "" && o.From == nil {
				return ui.Hint(fmt.Errorf("%s has no layer %q", args[0], from), "'husk store info %s' lists them", args[0])
			}
			r, err := s.Merge(c.Context(), o)
			if r != nil {
				a.merged(args[0], r)
			}
			return err
		})
	}
	return c
}

func (a *app) merged(dir string, r *store.MergeResult) {
	disks := []map[string]any{}
	for _, d := range r.Repoint {
		f := map[string]any{"disk": d.Disk, "files": d.Files}
		if d.Err != nil {
			f["error"] = d.Err.Error()
		}
		disks = append(disks, f)
	}
	fields := map[string]any{"store": dir, "dryRun": r.DryRun, "layers": r.Layers, "points": r.Points, "bytes": r.Bytes, "new": r.New, "newBytes": r.NewBytes, "disks": disks, "seconds": r.Elapsed.Seconds()}
	if r.Swept != nil {
		fields["removed"] = r.Swept.Removed
	}
	a.ui.Event("result", fields)
	if r.DryRun {
		a.ui.Say("Would fold %d layers of %s with %d points into one: %s. Nothing was written.", len(r.Layers), ui.Size(r.Bytes), r.Points, strings.Join(r.Layers, ", "))
		return
	}
	if r.New == "" {
		a.ui.Say("There is one layer, and all of it is needed.")
	} else {
		a.ui.Say("Folded %d layers of %s with %d points into %s of %s.", len(r.Layers), ui.Size(r.Bytes), r.Points, r.New, ui.Size(r.NewBytes))
	}
	for _, d := range r.Repoint {
		if d.Err != nil {
			a.ui.Warn("%s: %v", d.Disk, d.Err)
		} else {
			a.ui.Say("%s: %d files point into the new layer.", d.Disk, d.Files)
		}
	}
	a.swept(r.Swept)
}

// swept tells which layers went and which had to stay.
func (a *app) swept(r *store.Swept) {
	if r == nil {
		return
	}
	if len(r.Removed) > 0 {
		a.ui.Say("Removed %s: %s are free.", strings.Join(r.Removed, ", "), ui.Size(r.Bytes))
	}
	for i := range r.Kept {
		a.keptLayer(&r.Kept[i])
	}
}

// keptLayer says what a layer waits for.
func (a *app) keptLayer(k *store.LayerImpact) {
	var disks []string
	for _, d := range k.Disks {
		disks = append(disks, d.Path)
	}
	a.ui.Say("%s, %s, is not needed by points. It stays for %s.", k.Layer.File, ui.Size(k.Bytes), strings.Join(disks, ", "))
}

func newStoreExport(a *app) *cobra.Command {
	o := &store.ExportOptions{}
	var chunk string
	c := &cobra.Command{
		Use:   "export STORE WIM [POINT]…",
		Short: a.ui.T("Write points into one WIM that needs no other"),
		Long: a.ui.T(`All points, or those that are named. The WIM is one that every Windows and wimlib read. Contents are copied as they are stored,
unless --compress asks for another form.`),
		Example: `  husk store export wimboot backup.wim
  husk store export wimboot x64.wim x64@2026-05 x64 --compress=lzx`,
		Args: args(2, 1000),
		RunE: func(c *cobra.Command, args []string) error {
			if chunk != "" {
				n, err := ui.ParseSize(chunk)
				if err != nil || n <= 0 || n > 1<<30 {
					return ui.Usage(fmt.Errorf("--chunk-size=%s: want a size such as 4K or 32K", chunk))
				}
				o.ChunkSize = int(n)
			}
			s, err := a.lookStore(args[0])
			if err != nil {
				return err
			}
			defer s.Close()
			points := s.Points()
			if len(args) > 2 {
				if points, err = findPoints(s, args[2:]); err != nil {
					return err
				}
			}
			o.Overwrite, o.Threads = a.ui.Yes, a.threads
			size, took, err := s.Export(c.Context(), points, args[1], o)
			if err != nil {
				return refusedIf(err)
			}
			a.ui.Say("%s has %d images and takes %s. Done in %s.", args[1], len(points), ui.Size(size), ui.Duration(took))
			a.ui.Event("result", map[string]any{"wim": args[1], "images": len(points), "wimBytes": size, "seconds": took.Seconds()})
			return nil
		},
	}
	c.Flags().StringVar(&o.Compress, "compress", "", a.ui.T("compress with `codec` none, XPRESS or LZX, perhaps :fast or :best (default: as the store)"))
	c.Flags().StringVar(&chunk, "chunk-size", "", a.ui.T("`size` of the chunks (default: as the store)"))
	return c
}

func newStoreRebuild(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "rebuild STORE",
		Short: a.ui.T("Write husk.toml anew from the layers"),
		Long: a.ui.T(`The layers tell what points there are, and disks below the store are found by themselves. What only husk.toml has, how new layers
are compressed, where the store is at boot and disks elsewhere, stays if the file can be read.`),
		Example: `  husk store rebuild wimboot`,
		Args:    args(1, 1),
	}
	noWait := addNoWait(a, c)
	c.RunE = func(c *cobra.Command, args []string) error {
		return a.withLocked(c.Context(), args[0], &store.LockOptions{NoWait: *noWait, Rebuild: true}, func(s *store.Store) error {
			if err := s.Rebuild(c.Context()); err != nil {
				return err
			}
			a.ui.Say("%s is a store with %d layers and %d points.", args[0], len(s.Layers()), len(s.Points()))
			a.ui.Event("result", map[string]any{"store": args[0], "layers": len(s.Layers()), "points": len(s.Points())})
			return nil
		})
	}
	return c
}

func newStoreRecord(a *app) *cobra.Command {
	var point string
	c := &cobra.Command{
		Use:   "record STORE SYSTEM DISK",
		Short: a.ui.T("Note that a disk outside the store points into it"),
		Long: a.ui.T(`Layers that a recorded disk points into are not removed, even while the disk is not there. Disks below the store need not be
recorded.`),
		Example: `  husk store record wimboot x64 /mnt/d/vhd/win7.vhd`,
		Args:    args(3, 3),
	}
	noWait := addNoWait(a, c)
	c.Flags().StringVar(&point, "point", "", a.ui.T("the `point` that the disk was made from"))
	c.RunE = func(c *cobra.Command, args []string) error {
		return a.withStore(c.Context(), args[0], *noWait, func(s *store.Store) error {
			var made *store.Point
			if point != "" {
				var err error
				if made, err = s.Point(point); err != nil {
					return err
				}
			}
			if err := s.AddDisk(c.Context(), args[2], args[1], made); err != nil {
				return err
			}
			a.ui.Say("%s keeps what %s points to.", args[0], args[2])
			a.ui.Event("result", map[string]any{"store": args[0], "disk": args[2]})
			return nil
		})
	}
	return c
}

func newStoreForget(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:     "forget STORE DISK",
		Short:   a.ui.T("Forget a recorded disk, which is gone: layers need not stay for it any more"),
		Long:    a.ui.T("The disk is not touched. If it still points into the store, it will not start any more once its layers are gone."),
		Example: `  husk store forget wimboot /mnt/d/vhd/win7.vhd`,
		Args:    args(2, 2),
	}
	noWait := addNoWait(a, c)
	c.RunE = func(c *cobra.Command, args []string) error {
		return a.withStore(c.Context(), args[0], *noWait, func(s *store.Store) error {
			if err := s.ForgetDisk(args[1]); err != nil {
				return err
			}
			a.ui.Say("%s keeps nothing for %s any more.", args[0], args[1])
			a.ui.Event("result", map[string]any{"store": args[0], "disk": args[1]})
			return nil
		})
	}
	return c
}

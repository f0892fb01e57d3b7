package install

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"husk/internal/atomicfile"
	"husk/internal/mounted"
	"husk/internal/source"
	"husk/internal/ui"
)

// ErrNotEmpty says that there is something on a disk, which nobody gave leave to overwrite.
var ErrNotEmpty = errors.New("the disk is not empty")

// openTarget looks whether the target may be written, and how large its sectors are. It changes nothing.
func (b *builder) openTarget() error {
	o := b.o
	switch o.Sector {
	case 0, sector512, sector4K:
	default:
		return ui.Usage(fmt.Errorf("sectors of %d bytes, want 512 or 4096", o.Sector))
	}
	if st, err := os.Stat(b.target); err == nil && st.Mode()&os.ModeDevice != 0 {
		return b.openDevice()
	}
	if b.r.Format == "" {
		b.r.Format = FormatOf(b.target)
	}
	if b.sector = o.Sector; b.sector == 0 {
		b.sector = sector512
	}
	if b.r.Format == FormatVHD && b.sector != sector512 {
		return ui.Hint(fmt.Errorf("%s: a VHD has sectors of 512 bytes, want 4096", b.target), "use --disk-format=vhdx or raw")
	}
	for _, given := range []string{o.Unattend, o.RAM.Grub} {
		if given != "" && sameFile(given, b.target) {
			return ui.Usage(fmt.Errorf("%s is read from and would be replaced", b.target))
		}
	}
	loops, err := mounted.Loops(b.target)
	if err != nil {
		return err
	}
	if len(loops) > 0 {
		return ui.Hint(fmt.Errorf("%s is the disk of %s", b.target, strings.Join(loops, ", ")), "unmount it, and detach it: losetup -d %s", loops[0])
	}
	return atomicfile.Check(b.target, o.Overwrite || o.DryRun)
}

// openDevice looks whether a device may be overwritten.
func (b *builder) openDevice() error {
	switch {
	case b.o.Format != "" && b.o.Format != FormatRaw:
		return ui.Usage(fmt.Errorf("%s is a disk, which is not of the form %s", b.target, b.o.Format))
	case b.o.Size != 0:
		return ui.Usage(fmt.Errorf("--size for %s, which is used as a whole: want none", b.target))
	}
	d, err := openDevice(b.target)
	if err != nil {
		return err
	}
	b.device, b.sector, b.r.Format, b.r.Device = d, d.sector, FormatRaw, &d.Device
	if b.o.Sector != 0 && b.o.Sector != d.sector {
		return ui.Usage(fmt.Errorf("%s has sectors of %d bytes, not %d", b.target, d.sector, b.o.Sector))
	}
	return nil
}

// apart refuses a source that the target is, or is on.
func (b *builder) apart(s *source.Source) error {
	if s.Uses(b.target) {
		return fmt.Errorf("%s is the source itself, or a part of it, want another target", b.target)
	}
	if b.device == nil {
		return nil
	}
	if d, err := mounted.Look(s.Path); err == nil && d.Disk == b.device.disk {
		return fmt.Errorf("%s, the source, is a part of %s, want another target", s.Path, b.target)
	}
	return nil
}

// scratch is a name beside which there is room for what is on the way to the target.
func (b *builder) scratch() string {
	if b.device == nil && b.o.Temp == "" {
		return b.target
	}
	dir := b.o.Temp
	if dir == "" {
		dir = os.TempDir()
	}
	return filepath.Join(dir, "husk-"+filepath.Base(b.target))
}

// write writes the disk: beside the file that is there, which it then replaces, or onto a device.
func (b *builder) write(ctx context.Context) error {
	if b.device != nil {
		return b.writeDevice(ctx)
	}
	f, err := atomicfile.Create(b.target, b.o.Overwrite)
	if err != nil {
		return err
	}
	defer f.Abort()
	p := b.o.UI.Start("write the disk", b.plan.main.DataBytes())
	b.plan.build.Progress = p.Add
	err = b.plan.write(ctx, f)
	p.Done()
	if err != nil {
		return err
	}
	if err := f.Commit(); err != nil {
		return err
	}
	st, err := os.Stat(b.target)
	if err != nil {
		return err
	}
	b.r.FileBytes = st.Size()
	return nil
}

// writeDevice overwrites a device, if it is empty or the user says so.
func (b *builder) writeDevice(ctx context.Context) error {
	d := b.device
	if len(d.Content) > 0 && !b.o.Overwrite {
		for _, c := range d.Content {
			b.o.UI.Say("%s: %s", b.target, c)
		}
		if !b.o.UI.Confirm("%s (%s) is not empty. Overwrite all of it?", d.name(), ui.Size(d.size)) {
			return ui.Hint(fmt.Errorf("%s: %w: %s", d.name(), ErrNotEmpty, strings.Join(d.Content, "; ")), "overwrite all of it with --yes")
		}
	}
	if err := b.readSources(ctx); err != nil {
		return err
	}
	if err := d.begin(); err != nil {
		return err
	}
	p := b.o.UI.Start("write the disk", b.plan.main.DataBytes())
	b.plan.build.Progress = p.Add
	err := b.plan.writeVolumes(ctx, d)
	if err == nil {
		err = b.plan.writeTable(d) // last: what is interrupted leaves no table
	}
	p.Done()
	if err != nil {
		return errors.Join(err, fmt.Errorf("%s has no partition table now", b.target))
	}
	zero, err := b.plan.zeros(d)
	if err != nil {
		return err
	}
	if err := d.clear(ctx, zero); err != nil {
		return err
	}
	q := b.o.UI.Start("read the disk back", d.total())
	err = d.verify(ctx, q.Add)
	q.Done()
	if err != nil {
		return err
	}
	b.r.FileBytes = d.total()
	if err := d.reread(); err != nil {
		b.o.UI.Warn("%s: the system still shows the old partitions (%s): unplug the disk, or restart", b.target, err)
	}
	return nil
}

package system

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"husk/internal/atomicfile"
	"husk/internal/disk"
	"husk/internal/ui"
	"husk/ntfs"
)

// A device has no name beside which a new one could be made. So the new volume is made in a file first, with everything that is kept of
// the old one, read back and synced. Only then is it copied: what is in use of it, and the boot sector last, so that a volume that was cut off
// on the way is none. The file stays until the copy is verified, and a command that was cut off finds it and copies it again.

// spoolName is the file for a partition of a device and a point: nothing else has this name.
func (j *restore) spoolName() (string, error) {
	dir := j.o.Spool
	if dir == "" {
		dir = filepath.Dir(j.point.Path)
		if j.point.Store != nil {
			dir = j.point.Store.Dir
		}
	}
	abs, err := filepath.Abs(j.at.path)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%d\x00%d\x00%d", abs, j.at.edit.Size(), j.at.part.Offset, j.at.part.Size))
	return filepath.Join(dir, fmt.Sprintf("husk-restore-%x.img", sum[:8])), nil
}

// findPending finds the partition whose restore was cut off, and the file with its volume, which is complete: it has its name.
func (j *restore) findPending() (name string, err error) {
	for i := range j.at.edit.Partitions {
		j.at.part = &j.at.edit.Partitions[i]
		if j.at.number != 0 && j.at.number != j.at.part.Number {
			continue
		}
		if name, err = j.spoolName(); err != nil {
			return "", err
		}
		if st, err := os.Stat(name); err == nil && st.Size() == j.at.part.Size {
			return name, nil
		}
	}
	return "", ui.Hint(fmt.Errorf("%s: no restore of it was cut off: there is no %s", j.at.spec(), name), "run the command without --continue")
}

// writeDevice makes the volume in a file and copies it over the partition.
func (j *restore) writeDevice(ctx context.Context) error {
	name, err := j.spoolName()
	if err != nil {
		return err
	}
	if j.o.DryRun {
		_, done, err := j.build(ctx, name)
		done()
		return err
	}
	if j.o.Overwrites == nil || !j.o.Overwrites(j.at.spec()) {
		return ui.Hint(fmt.Errorf("%s is a device, whose old files cannot be kept beside it: %w", j.at.spec(), errNotOverwritten), "say --yes if it is to be written over")
	}
	if err := j.spoolVolume(ctx, name); err != nil {
		return err
	}
	if err := copyVolume(ctx, name, j.at.edit.Part(j.at.part), j.at.part.Size, j.at.edit.Scheme != disk.Bare, j.o.UI); err != nil {
		return ui.Hint(fmt.Errorf("%s: %w", j.at.spec(), err), "the volume is complete in %s; run 'husk restore --continue' with the same arguments to copy it again", name)
	}
	if err := j.at.edit.Sync(); err != nil {
		return err
	}
	if err := verifyVolume(ctx, &j.at.edit.Disk, j.at.part, j.tree, j.o); err != nil {
		return fmt.Errorf("%s: the volume just written does not read back: %w", j.at.spec(), err)
	}
	j.r.FileBytes = j.at.part.Size
	return removeIfThere(name)
}

var errNotOverwritten = errors.New("it would be written over")

// IsNotOverwritten reports whether a restore was refused because it would write over a device.
func IsNotOverwritten(err error) bool { return errors.Is(err, errNotOverwritten) }

// spoolVolume makes the volume as a raw image.
func (j *restore) spoolVolume(ctx context.Context, name string) error {
	layout, done, err := j.build(ctx, name)
	defer done()
	if err != nil {
		return err
	}
	f, err := atomicfile.Create(name, true)
	if err != nil {
		return err
	}
	defer f.Abort()
	if err := f.Truncate(j.geo.length); err != nil {
		return err
	}
	if err := layout.Write(ctx, f); err != nil {
		return err
	}
	if err := verifyDisk(ctx, f.Name(), 0, j.tree, j.o); err != nil {
		return fmt.Errorf("%s: the volume just written does not read back: %w", name, err)
	}
	return f.Commit()
}

// syncer is what a volume is copied to.
type syncer interface {
	io.WriterAt
	Sync() error
}

// copyVolume copies what is in use of a volume in a file: everything but the boot sector and its copy in the last sector, then these.
// With void the volume that was there is none from the start: what is cut off then is not taken for one.
func copyVolume(ctx context.Context, name string, to syncer, size int64, void bool, u *ui.UI) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	v, err := ntfs.NewReader(f, size)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	const boot = 8 << 10
	cluster := int64(v.ClusterSize)
	bar := u.Start("write the device", 0)
	defer bar.Done()
	buf := make([]byte, 1<<20)
	if void {
		zeros := make([]byte, boot)
		for _, at := range []int64{0, size - 512} {
			if _, err := to.WriteAt(zeros[:min(boot, size-at)], at); err != nil {
				return err
			}
		}
		if err := to.Sync(); err != nil {
			return err
		}
	}
	copyTo := func(from, end int64) error {
		for at := from; at < end; {
			if err := ctx.Err(); err != nil {
				return err
			}
			p := buf[:min(int64(len(buf)), end-at)]
			if _, err := f.ReadAt(p, at); err != nil {
				return err
			}
			if _, err := to.WriteAt(p, at); err != nil {
				return err
			}
			at += int64(len(p))
			bar.Add(int64(len(p)))
		}
		return nil
	}
	at := int64(boot)
	for free, err := range v.FreeRuns() {
		if err != nil {
			return err
		}
		if start := int64(free.LCN) * cluster; start > at {
			if err := copyTo(at, start); err != nil {
				return err
			}
		}
		at = max(at, (int64(free.LCN)+free.Clusters)*cluster)
	}
	if err := copyTo(at, size-512); err != nil {
		return err
	}
	if err := to.Sync(); err != nil {
		return err
	}
	if err := copyTo(size-512, size); err != nil {
		return err
	}
	if err := copyTo(0, boot); err != nil {
		return err
	}
	return to.Sync()
}

// Continue copies a volume that a restore of a device made and did not get to copy, or not whole.
func Continue(ctx context.Context, point, system string, o *Options) (_ *Result, err error) {
	j := &restore{o: o, r: &Result{Point: point, System: system}}
	if j.point, err = openLocked(ctx, point, o); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, j.point.Close()) }()
	j.at = &target{device: true}
	if j.at.path, j.at.number, err = parseSystem(system); err != nil {
		return nil, err
	}
	if j.at.edit, err = disk.OpenEdit(j.at.path); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, j.at.close()) }()
	name, err := j.findPending()
	if err != nil {
		return nil, err
	}
	if o.Overwrites == nil || !o.Overwrites(j.at.spec()) {
		return nil, fmt.Errorf("%s is a device: %w", j.at.spec(), errNotOverwritten)
	}
	want, err := Open(ctx, name, &OpenOptions{WIMs: o.WIMs, UI: o.UI})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, want.Close()) }()
	if err := copyVolume(ctx, name, j.at.edit.Part(j.at.part), j.at.part.Size, j.at.edit.Scheme != disk.Bare, o.UI); err != nil {
		return nil, err
	}
	if err := j.at.edit.Sync(); err != nil {
		return nil, err
	}
	if err := verifyVolume(ctx, &j.at.edit.Disk, j.at.part, want.Tree, o); err != nil {
		return nil, fmt.Errorf("%s: the volume just written does not read back: %w", system, err)
	}
	j.r.FileBytes, j.r.System = j.at.part.Size, j.at.path
	j.record(ctx)
	return j.r, removeIfThere(name)
}

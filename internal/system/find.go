package system

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"husk/internal/store"
	"husk/internal/ui"
)

// DiskOf finds the disk of a point's system: the only one that the store knows.
func DiskOf(ctx context.Context, point string, u *ui.UI) (_ string, err error) {
	p, err := OpenPoint(ctx, point, u)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	if p.Point == nil || p.Store.File != "" {
		return "", ui.Hint(fmt.Errorf("%s: a single WIM knows no disks", point), "name it: husk restore %s DISK", point)
	}
	var disks []string
	for _, d := range p.Store.Disks() {
		if strings.EqualFold(d.System, p.Point.System) && !strings.HasSuffix(d.Path, oldMark) && !strings.HasSuffix(d.Path, newMark) {
			disks = append(disks, d.Path)
		}
	}
	switch len(disks) {
	case 0:
		return "", ui.Hint(fmt.Errorf("%s: the store knows no disk of the system %s", point, p.Point.System), "name it: husk restore %s DISK", point)
	case 1:
		return disks[0], nil
	}
	return "", ui.Hint(fmt.Errorf("%s: the system %s has %d disks: %s", point, p.Point.System, len(disks), strings.Join(disks, ", ")), "name one: husk restore %s DISK", point)
}

// lockStore gets the right to change the store, so that nobody removes a layer while pointers into it are made. A single WIM and a
// folder that cannot be written need none.
func lockStore(ctx context.Context, s *store.Store, u *ui.UI) error {
	if s.File != "" || !store.Is(s.Dir) {
		return nil
	}
	err := s.Lock(ctx, &store.LockOptions{Waiting: func(e *store.LockedError) { u.Warn("%v; waiting for it", e) }})
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) { // nobody else can change it from here either
		return nil
	}
	return err
}

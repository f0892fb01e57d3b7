//go:build unix

package tree

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"husk/winfile"
)

// streamsAreFiles tells whether a named stream is opened like a file.
const streamsAreFiles = false

// applyHost is what the applier found out about the target's file system.
type applyHost struct {
	system    bool // a mounted NTFS volume that takes its metadata as system.ntfs_*
	foldsCase bool
}

// probe finds out what the target's file system can do.
func (a *applier) probe() error {
	d, err := openHostDir(a.root, a.dir, ".")
	if err != nil {
		return err
	}
	_, err = d.xattr(".", spaceSystem+xattrTimes, make([]byte, 64))
	a.host.system = err == nil
	d.close()

	const lower, upper = ".husk-case-probe", ".HUSK-CASE-PROBE"
	err = a.root.Mkdir(lower, 0o700)
	if err != nil {
		return err
	}
	_, err = a.root.Lstat(upper)
	a.host.foldsCase = err == nil
	return a.root.Remove(lower)
}

func tooManyLinks(err error) bool { return errors.Is(err, unix.EMLINK) }

// create opens a file for its data; a named stream may have made it already.
func (a *applier) create(t target) (*os.File, error) {
	return a.root.OpenFile(t.path, openFlags(t), 0o666)
}

// streamProblem says why a named stream cannot be kept.
func streamProblem(s winfile.Stream) error {
	if s.Data != nil && s.Data.Size > maxXattr {
		return fmt.Errorf("%d bytes, want at most %d in an extended attribute", s.Data.Size, maxXattr)
	}
	return nil
}

// writeStream keeps a named stream as an attribute. That the file system does not take it is a loss, not an error.
func (a *applier) writeStream(t target, p []byte) (err error) {
	var f *os.File
	if t.info.Attributes&winfile.AttrDirectory != 0 {
		f, err = a.root.Open(t.path)
	} else {
		f, err = a.create(t)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	name := spaceUser + xattrStream + t.stream
	if a.host.system {
		name = spaceUser + t.stream
	}
	if err := unix.Fsetxattr(int(f.Fd()), name, p, 0); err != nil {
		a.report.lose(LostStream, t.String(), err)
	}
	return nil
}

// asLink returns the target of the host's symbolic link that can stand for a file.
func (a *applier) asLink(i *winfile.Info) (string, bool) {
	if a.opts.Links && i.Reparse != nil {
		return anyLink(i.Reparse, a.dir)
	}
	if a.host.system || i.Reparse == nil || i.Data != nil || len(i.Streams) > 0 || i.Extra != nil {
		return "", false
	}
	return hostLink(i.Reparse, a.dir)
}

// makeSpecial makes a device, FIFO or socket, if a file is one.
func (a *applier) makeSpecial(t target) (bool, error) {
	if !a.opts.Unix || t.info.Extra == nil || t.info.Extra.Unix == nil {
		return false, nil
	}
	u := t.info.Extra.Unix
	switch u.Mode & unix.S_IFMT {
	case unix.S_IFIFO, unix.S_IFSOCK, unix.S_IFCHR, unix.S_IFBLK:
	default:
		return false, nil
	}
	d, err := openHostDir(a.root, a.dir, path.Dir(t.path))
	if err != nil {
		return true, err
	}
	defer d.close()
	return true, os.NewSyscallError("mknod", mknodat(d.fd, path.Base(t.path), u.Mode, u.Rdev))
}

// describeUnix gives a file its owner, mode and extended attributes. Owners come first: to change them takes away set-user-id bits.
func (a *applier) describeUnix(d *hostDir, name, path string, x *winfile.Extra) {
	if x.Unix != nil {
		err := unix.Fchownat(d.fd, name, int(x.Unix.UID), int(x.Unix.GID), unix.AT_SYMLINK_NOFOLLOW)
		if st, serr := d.stat(name); err == nil && serr == nil && st.kind != kindLink {
			err = unix.Fchmodat(d.fd, name, x.Unix.Mode&0o7777, 0)
		}
		if err != nil {
			a.report.lose(LostUnix, path, err)
		}
	}
	for _, ea := range x.EAs {
		if !strings.Contains(ea.Name, ".") {
			continue // of Windows
		}
		if err := d.setXattr(name, ea.Name, ea.Value); err != nil {
			a.report.lose(LostEAs, path, fmt.Errorf("%s: %w", ea.Name, err))
		}
	}
}

// describe gives a file its metadata. What the host does not take is a loss.
func (a *applier) describe(d *hostDir, name, path string, e *winfile.Entry, shorts string) {
	i := e.Info
	a.loseExtra(path, i)
	if x := i.Extra; x != nil && a.opts.Unix {
		a.describeUnix(d, name, path, x)
		rest := *x
		rest.EAs = slices.DeleteFunc(slices.Clone(x.EAs), func(ea winfile.EA) bool { return strings.Contains(ea.Name, ".") })
		c := *i
		c.Extra = &rest
		i, e = &c, &winfile.Entry{Name: e.Name, ShortName: e.ShortName, Info: &c}
	}
	if a.host.system {
		a.describeNTFS(d, name, path, e, shorts)
		return
	}
	def, space, isLink := winfile.AttrArchive, spaceUser, false
	if i.Attributes&winfile.AttrDirectory != 0 {
		def = winfile.AttrDirectory
	}
	if i.Reparse != nil {
		def |= winfile.AttrReparse // the scan takes that from the point
		if st, err := d.stat(name); err == nil && st.kind == kindLink {
			def, space, isLink = linkAttributes(d, name), spaceTrusted, true
		}
	}
	list, err := xattrsOf(i, def, shorts, binary.LittleEndian)
	if err != nil {
		a.report.lose(LostEAs, path, err)
	}
	if i.Reparse != nil && !isLink {
		list = append(list, xattr{xattrReparse, i.Reparse.Buffer(), LostReparse})
		if !i.Reparse.NotFixed {
			list = append(list, xattr{xattrReparseFixed, nil, LostReparse})
		}
	}
	// Small ones first: file systems have little room.
	slices.SortStableFunc(list, func(x, y xattr) int { return len(x.value) - len(y.value) })
	for _, x := range list {
		if err := d.setXattr(name, space+x.name, x.value); err != nil {
			a.report.lose(x.lost, path, err)
		}
	}
	if err := setTimes(d, name, i); err != nil {
		a.report.lose(LostTimes, path, err)
	}
}

// describeNTFS gives the driver of a mounted NTFS volume everything it takes. The order matters: the reparse point comes last,
// since the kernel then takes the file for a stale one.
func (a *applier) describeNTFS(d *hostDir, name, path string, e *winfile.Entry, shorts string) {
	i := e.Info
	own := shortNameOf(shorts, path)
	if shorts != "" && shorts != own && shorts != own+"\x00"+path+"\x00" {
		a.report.lose(LostShortName, path, errors.New("the driver takes the short name of the first of a file's names only"))
	}
	list, err := xattrsOf(i, ^winfile.Attributes(0), own, binary.NativeEndian)
	if err != nil {
		a.report.lose(LostEAs, path, err)
	}
	if i.Changed != 0 {
		a.report.lose(LostChanged, path, errors.New("the driver does not take it"))
	}
	if i.Reparse != nil {
		list = append(list, xattr{xattrReparse, i.Reparse.Buffer(), LostReparse})
	}
	for _, x := range list {
		err := d.setXattr(name, spaceSystem+x.name, x.value)
		if err == nil && x.name == xattrAttributes {
			err = keptAttributes(d, name, i.Attributes)
		}
		if err != nil {
			a.report.lose(x.lost, path, err)
		}
	}
}

// keptAttributes tells which attributes the driver silently did not set: some follow from what the file is.
func keptAttributes(d *hostDir, name string, want winfile.Attributes) error {
	const always = winfile.AttrReadOnly | winfile.AttrHidden | winfile.AttrSystem | winfile.AttrArchive | winfile.AttrNotIndexed
	const later = winfile.AttrReparse | winfile.AttrDirectory
	if want&^(always|later) == 0 {
		return nil
	}
	v, err := d.xattr(name, spaceSystem+xattrAttributes, make([]byte, 4))
	if err != nil || len(v) != 4 {
		return err
	}
	if got := winfile.Attributes(binary.NativeEndian.Uint32(v)); (got^want)&^later != 0 {
		return fmt.Errorf("%v became %v", want&^later, got&^later)
	}
	return nil
}

// setTimes sets the written and accessed times, and makes sure that the file system can count that far.
func setTimes(d *hostDir, name string, i *winfile.Info) error {
	if i.Written == 0 {
		return nil
	}
	access := i.Accessed
	if access == 0 {
		access = i.Written
	}
	var ts [2]unix.Timespec
	for k, f := range []winfile.Filetime{access, i.Written} {
		var err error
		if ts[k], err = unix.TimeToTimespec(f.Time()); err != nil {
			return err
		}
	}
	if err := unix.UtimesNanoAt(d.fd, name, ts[:], unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &fs.PathError{Op: "utimensat", Path: name, Err: err}
	}
	if y := i.Written.Time().Year(); y > 1970 && y < 2038 {
		return nil
	}
	if st, err := d.stat(name); err == nil && !sameTime(st.written, i.Written) {
		return fmt.Errorf("%s became %s", i.Written.Time().Format(time.RFC3339), st.written.Time().Format(time.RFC3339))
	}
	return nil
}

//go:build unix

package tree

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"husk/winfile"
)

// scanHost is what the scanner remembers of the host.
type scanHost struct {
	ntfs      map[uint64]bool // by device: whether it is a mounted NTFS volume that shows its metadata
	buf, list []byte          // for the value of one attribute, and the names of all
	noShort   int             // hard-linked files of a volume whose driver does not tell their short names
}

func (s *scanner) openDir(dir, path string) (*hostDir, error) { return openHostDir(s.root, dir, path) }

// describe fills in the metadata of one file. It reports what hinders it, and returns false if the file must be left out.
func (s *scanner) describe(d *hostDir, name, path string, st *hostStat, e *winfile.Entry) bool {
	if s.host.buf == nil {
		s.host.buf, s.host.list, s.host.ntfs = make([]byte, maxXattr), make([]byte, maxXattr), make(map[uint64]bool)
	}
	i := e.Info
	i.Created, i.Written, i.Accessed, i.Changed = st.created, st.written, st.access, st.changed
	switch st.kind {
	case kindDir:
		i.Attributes = winfile.AttrDirectory
	case kindLink:
		i.Attributes = linkAttributes(d, name)
	case kindSpecial:
	default:
		i.Attributes = winfile.AttrArchive
		if s.opts.Normal {
			i.Attributes = normalAttributes(st)
		}
		i.Data = s.fileBlob(path, st)
		if i.Data != nil && os.Geteuid() != 0 {
			if err := unix.Faccessat(d.fd, name, unix.R_OK, unix.AT_EACCESS); err != nil {
				s.report.Errors.add(path, fmt.Errorf("cannot be read: %w", err))
				return false
			}
		}
	}
	if s.opts.Normal {
		i.Created = st.written
	}
	if s.opts.Unix {
		s.describeUnix(d, name, path, st, i)
	}
	ntfs, known := s.host.ntfs[st.key.dev]
	if !known {
		_, err := d.xattr(name, spaceSystem+xattrAttributes, s.host.buf)
		ntfs = err == nil
		s.host.ntfs[st.key.dev] = ntfs
	}
	if ntfs {
		return s.describeNTFS(d, name, path, st, e)
	}
	return s.describeUser(d, name, path, st, e)
}

// linkAttributes are those of a symbolic link of the host: it does not say what it links to, so its target decides.
func linkAttributes(d *hostDir, name string) winfile.Attributes {
	if d.leadsToDir(name) {
		return winfile.AttrReparse | winfile.AttrDirectory
	}
	return winfile.AttrReparse
}

// normalAttributes are those that wimlib gives a file without Windows metadata.
func normalAttributes(st *hostStat) winfile.Attributes {
	if st.holes {
		return winfile.AttrSparse
	}
	return winfile.AttrNormal
}

// describeUnix takes what the host knows of a file: owner, mode, device, and extended attributes that are not about Windows.
func (s *scanner) describeUnix(d *hostDir, name, path string, st *hostStat, i *winfile.Info) {
	owner := st.unix
	if st.kind != kindSpecial {
		owner.Rdev = 0
	}
	i.Extra = &winfile.Extra{Unix: &owner}
	names, err := d.xattrs(name, s.host.list)
	if err != nil {
		s.report.Warnings.add(path, err)
	}
	for _, full := range names {
		if isOurs(full) || len(full) > maxEAName {
			continue
		}
		v, err := d.xattr(name, full, s.host.buf)
		if err != nil {
			s.report.Warnings.add(path, fmt.Errorf("%s left out: %w", full, err))
			continue
		}
		i.Extra.EAs = append(i.Extra.EAs, winfile.EA{Name: full, Value: append([]byte(nil), v...)})
	}
}

// isOurs tells whether an extended attribute of the host is part of the metadata of Windows.
func isOurs(name string) bool {
	for _, space := range []string{spaceUser, spaceTrusted, spaceSystem} {
		if strings.HasPrefix(name, space+"ntfs_") {
			return true
		}
	}
	return false
}

// describeUser takes what the folder sink kept in attributes of the file.
func (s *scanner) describeUser(d *hostDir, name, path string, st *hostStat, e *winfile.Entry) bool {
	i := e.Info
	names, err := d.xattrs(name, s.host.list)
	if err != nil {
		s.report.Warnings.add(path, err)
	}
	for _, full := range names {
		bare, ok := strings.CutPrefix(full, spaceUser)
		if !ok {
			bare, ok = strings.CutPrefix(full, spaceTrusted)
		}
		if !ok || !strings.HasPrefix(bare, "ntfs_") {
			continue
		}
		v, err := d.xattr(name, full, s.host.buf)
		var times []winfile.Filetime
		if err == nil {
			times, err = setXattr(e, path, bare, v, binary.LittleEndian)
		}
		if err != nil {
			s.report.Warnings.add(path, fmt.Errorf("%s left out: %w", full, err))
			continue
		}
		if bare == xattrSecurity || bare == xattrSecurityNew {
			i.Security = s.shareSecurity(i.Security)
		}
		if times != nil {
			i.Created = times[0]
			if sameTime(st.written, times[1]) {
				i.Written, i.Accessed, i.Changed = times[1], times[2], times[3]
			}
		}
	}
	if i.Reparse != nil && i.Reparse.Tag == 0 {
		i.Reparse = nil
	}
	switch st.kind {
	case kindLink:
		if i.Reparse == nil && !s.readLink(d, name, path, i) {
			return false
		}
	case kindDir:
		i.Attributes |= winfile.AttrDirectory
		if i.Reparse != nil && i.Reparse.Surrogate() && path != "." && !s.isEmpty(path) {
			s.report.Warnings.add(path, errors.New("reparse point left out: the directory has entries"))
			i.Reparse = nil
		}
	default:
		i.Attributes &^= winfile.AttrDirectory
	}
	i.Attributes &^= winfile.AttrReparse
	if i.Reparse != nil {
		i.Attributes |= winfile.AttrReparse
	}
	return true
}

// sameTime compares a file's written time with the one it was given, which the host may have cut to a second or two.
func sameTime(host, given winfile.Filetime) bool {
	const second = 10_000_000
	return host == given || host%second == 0 && given >= host && given-host < 2*second
}

// isEmpty tells whether a directory has no entries; not if that cannot be read.
func (s *scanner) isEmpty(path string) bool {
	d, err := s.openDir("", path)
	if err != nil {
		return false
	}
	defer d.close()
	names, err := d.names()
	return err == nil && len(names) == 0
}

// readLink makes the reparse point of a symbolic link.
func (s *scanner) readLink(d *hostDir, name, path string, i *winfile.Info) bool {
	target, err := d.readLink(name)
	if err == nil && s.opts.RPFix {
		i.Reparse, err = fixLink(target, s.roots)
	}
	if err == nil && i.Reparse == nil {
		i.Reparse, err = symlinkReparse(target)
	}
	if err == nil && !winfile.ValidName(target) {
		err = fmt.Errorf("the link's target %q is not UTF-8", target)
	}
	if err != nil {
		s.report.Errors.add(path, err)
		return false
	}
	if strings.Contains(target, `\`) {
		s.report.Warnings.add(path, fmt.Errorf("the backslash in the link's target %q will separate names", target))
	}
	return true
}

// describeNTFS takes the metadata that ntfs-3g shows of a mounted volume.
func (s *scanner) describeNTFS(d *hostDir, name, path string, st *hostStat, e *winfile.Entry) bool {
	i := e.Info
	for _, attr := range []string{
		xattrAttributes, xattrSecurity, xattrSecurityNew, xattrTimes, xattrObjectID, xattrEAs, xattrShortName, xattrReparse,
	} {
		switch {
		case attr == xattrSecurityNew && i.Security != nil, attr == xattrReparse && i.Attributes&winfile.AttrReparse == 0,
			attr == xattrShortName && path == ".":
			continue
		}
		v, err := d.xattr(name, spaceSystem+attr, s.host.buf)
		var times []winfile.Filetime
		if err == nil {
			times, err = setXattr(e, path, attr, v, binary.NativeEndian)
		}
		switch {
		case err == nil:
		case errors.Is(err, unix.ENODATA), errors.Is(err, unix.ENOTSUP):
		case attr == xattrShortName && errors.Is(err, unix.EMLINK):
			s.host.noShort++
		case attr == xattrAttributes:
			s.report.Errors.add(path, fmt.Errorf("%s: %w", spaceSystem+attr, err))
			return false
		default:
			s.report.Warnings.add(path, fmt.Errorf("%s left out: %w", spaceSystem+attr, err))
		}
		if attr == xattrSecurity || attr == xattrSecurityNew {
			i.Security = s.shareSecurity(i.Security)
		}
		if times != nil {
			i.Created, i.Written, i.Accessed, i.Changed = times[0], times[1], times[2], times[3]
		}
	}
	return s.ntfsKind(d, name, path, st, i) && s.ntfsStreams(d, name, path, i)
}

// ntfsKind makes attributes, reparse point and data agree with what the driver shows, and refuses what it cannot show.
func (s *scanner) ntfsKind(d *hostDir, name, path string, st *hostStat, i *winfile.Info) bool {
	fail := func(text string) bool {
		s.report.Errors.add(path, errors.New(text))
		return false
	}
	switch st.kind {
	case kindDir:
		i.Attributes |= winfile.AttrDirectory
	case kindFile:
		i.Attributes &^= winfile.AttrDirectory
		if i.Attributes&winfile.AttrEncrypted != 0 {
			return fail("encrypted: the mounted volume does not show its raw data; read the volume itself")
		}
	case kindLink:
		if i.Reparse == nil {
			i.Attributes |= winfile.AttrReparse
			return s.readLink(d, name, path, i)
		}
		if tag := i.Reparse.Tag; tag == winfile.TagWOF || tag == winfile.TagDedup {
			return fail(fmt.Sprintf("reparse tag %#08x: the mounted volume does not show the file's data; read the volume itself", tag))
		}
		return true
	}
	if i.Attributes&winfile.AttrReparse != 0 { // a plug-in of the driver shows what is behind it
		s.report.Warnings.add(path, errors.New("reparse point left out: the mounted volume shows what is behind it"))
		i.Attributes &^= winfile.AttrReparse
		i.Reparse = nil
	}
	return true
}

func (s *scanner) ntfsStreams(d *hostDir, name, path string, i *winfile.Info) bool {
	names, err := d.xattrs(name, s.host.list)
	if err != nil {
		s.report.Errors.add(path, err)
		return false
	}
	for _, full := range names {
		stream, ok := strings.CutPrefix(full, spaceUser)
		if !ok {
			continue
		}
		v, err := d.xattr(name, full, s.host.buf)
		if err != nil {
			if errors.Is(err, unix.ERANGE) || errors.Is(err, unix.E2BIG) {
				err = fmt.Errorf("larger than the %d bytes that the mounted volume shows; read the volume itself", maxXattr)
			}
			s.report.Errors.add(path, fmt.Errorf("named stream %q: %w", stream, err))
			return false
		}
		i.Streams = append(i.Streams, winfile.Stream{Name: stream, Data: winfile.NewBlob(append([]byte(nil), v...))})
	}
	return true
}

// describeLink fills in what belongs to a further name of a file, not to the file: its short name.
func (s *scanner) describeLink(d *hostDir, name, path string, st *hostStat, e *winfile.Entry) {
	spaces, order := []string{spaceUser, spaceTrusted}, binary.ByteOrder(binary.LittleEndian)
	if s.host.ntfs[st.key.dev] {
		spaces, order = []string{spaceSystem}, binary.NativeEndian
	}
	for _, space := range spaces {
		if v, err := d.xattr(name, space+xattrShortName, s.host.buf); err == nil {
			setXattr(e, path, xattrShortName, v, order)
			return
		}
	}
}

// finish reports what concerns the folder as a whole.
func (s *scanner) finish() {
	if n := s.host.noShort; n > 0 {
		s.report.Warnings.add(".", fmt.Errorf("the mounted volume does not show the short names of %d hard-linked files", n))
	}
}

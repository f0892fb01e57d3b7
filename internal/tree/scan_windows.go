package tree

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"unsafe"

	"golang.org/x/sys/windows"

	"husk/winfile"
)

// scanHost is what the scanner remembers of the host.
type scanHost struct{ privileges sync.Once }

func (s *scanner) openDir(dir, path string) (*hostDir, error) {
	s.host.privileges.Do(enablePrivileges)
	return openHostDir(s.root, dir, path)
}

// describe fills in the metadata of one file. It reports what hinders it, and returns false if the file must be left out.
func (s *scanner) describe(d *hostDir, name, path string, st *hostStat, e *winfile.Entry) bool {
	i := e.Info
	i.Attributes = st.attrs
	i.Created, i.Written, i.Accessed, i.Changed = st.created, st.written, st.access, st.changed
	if i.Attributes&winfile.AttrEncrypted != 0 && st.kind == kindFile {
		s.report.Errors.add(path, fmt.Errorf("encrypted files: %w", errors.ErrUnsupported))
		return false
	}
	h, err := d.handle(name,
		windows.FILE_READ_ATTRIBUTES|windows.FILE_READ_EA|windows.READ_CONTROL|windows.ACCESS_SYSTEM_SECURITY,
		windows.FILE_READ_ATTRIBUTES|windows.FILE_READ_EA|windows.READ_CONTROL,
		windows.FILE_READ_ATTRIBUTES)
	if err != nil {
		s.report.Errors.add(path, err)
		return false
	}
	defer windows.CloseHandle(h)
	if err := s.readReparse(h, i); err != nil {
		s.report.Errors.add(path, err)
		return false
	}
	if i.Attributes&winfile.AttrDirectory == 0 {
		i.Data = s.fileBlob(path, st)
	}
	if sd, err := readSecurity(h); err != nil {
		s.report.Warnings.add(path, fmt.Errorf("security descriptor left out: %w", err))
	} else {
		i.Security = s.shareSecurity(sd)
	}
	s.readExtra(h, path, i)
	s.describeLink(d, name, path, st, e)
	if i.Reparse != nil {
		return true // a listing of streams would follow it
	}
	if err := readStreams(d.full(name), i); err != nil {
		s.report.Errors.add(path, fmt.Errorf("named streams: %w", err))
		return false
	}
	return true
}

// readReparse reads the reparse point. What the system resolves itself is data, not a point.
func (s *scanner) readReparse(h windows.Handle, i *winfile.Info) error {
	if i.Attributes&winfile.AttrReparse == 0 {
		return nil
	}
	buf := make([]byte, winfile.MaxReparse)
	var n uint32
	if err := windows.DeviceIoControl(h, windows.FSCTL_GET_REPARSE_POINT, nil, 0, &buf[0], uint32(len(buf)), &n, nil); err != nil {
		return os.NewSyscallError("FSCTL_GET_REPARSE_POINT", err)
	}
	r, err := winfile.ParseReparse(buf[:n])
	if err != nil {
		return err
	}
	if r.Tag == winfile.TagWOF || r.Tag == winfile.TagDedup {
		i.Attributes &^= winfile.AttrReparse
		return nil
	}
	r.NotFixed = true
	if s.opts.RPFix {
		fixPoint(r, s.roots)
	}
	i.Reparse = r
	return nil
}

// readSecurity reads the descriptor, the audit list only if the handle allows it.
func readSecurity(h windows.Handle) ([]byte, error) {
	buf := make([]byte, 4096)
	for _, info := range []uintptr{securityAll, securityMost} {
		for range 2 {
			var n uint32
			ok, _, err := getKernelObjectSecurity.Call(uintptr(h), info, uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)),
				uintptr(unsafe.Pointer(&n)))
			switch {
			case ok != 0:
				return buf[:min(int(n), len(buf))], nil
			case errors.Is(err, windows.ERROR_INSUFFICIENT_BUFFER) && n <= 1<<20:
				buf = make([]byte, n)
				continue
			case info == securityMost:
				return nil, err
			}
			break
		}
	}
	return nil, windows.ERROR_INSUFFICIENT_BUFFER
}

// readExtra reads object id and extended attributes.
func (s *scanner) readExtra(h windows.Handle, path string, i *winfile.Info) {
	var x winfile.Extra
	id, n := make([]byte, maxObjectID), uint32(0)
	if windows.DeviceIoControl(h, windows.FSCTL_GET_OBJECT_ID, nil, 0, &id[0], maxObjectID, &n, nil) == nil && n == maxObjectID {
		x.ObjectID = id
	}
	var iosb windows.IO_STATUS_BLOCK
	buf := make([]byte, maxXattr)
	err := windows.NtQueryEaFile(h, &iosb, &buf[0], uint32(len(buf)), false, nil, 0, nil, true)
	if err == nil {
		x.EAs, err = parseEAs(buf[:min(int(iosb.Information), len(buf))])
	}
	if err != nil && err != windows.STATUS_NO_EAS_ON_FILE && err != windows.STATUS_EAS_NOT_SUPPORTED {
		s.report.Warnings.add(path, fmt.Errorf("extended attributes left out: %w", err))
	}
	if x.ObjectID != nil || x.EAs != nil {
		i.Extra = &x
	}
}

// describeLink fills in what belongs to a name, not to the file: its short name.
func (s *scanner) describeLink(d *hostDir, name, path string, _ *hostStat, e *winfile.Entry) {
	if name == "." {
		return
	}
	var data windows.Win32finddata
	p, err := windows.UTF16PtrFromString(d.full(name))
	if err != nil {
		return
	}
	h, err := windows.FindFirstFile(p, &data)
	if err != nil {
		s.report.Warnings.add(path, fmt.Errorf("short name left out: %w", err))
		return
	}
	windows.FindClose(h)
	e.ShortName = windows.UTF16ToString(data.AlternateFileName[:])
}

// findStreamData is WIN32_FIND_STREAM_DATA.
type findStreamData struct {
	Size int64
	Name [260 + 36]uint16 // ":name:$DATA"
}

// readStreams lists the named data streams.
func readStreams(path string, i *winfile.Info) error {
	p, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return err
	}
	var data findStreamData
	r, _, err := findFirstStream.Call(uintptr(unsafe.Pointer(p)), 0, uintptr(unsafe.Pointer(&data)), 0)
	h := windows.Handle(r)
	if h == windows.InvalidHandle {
		if errors.Is(err, windows.ERROR_HANDLE_EOF) || errors.Is(err, windows.ERROR_INVALID_PARAMETER) {
			return nil // none, or a file system without them
		}
		return err
	}
	defer windows.FindClose(h)
	for {
		name, ok := strings.CutSuffix(strings.TrimPrefix(windows.UTF16ToString(data.Name[:]), ":"), ":$DATA")
		if ok && name != "" && name != "WofCompressedData" {
			s := winfile.Stream{Name: name}
			if data.Size > 0 {
				s.Data = &winfile.Blob{Size: data.Size, Content: streamContent(path + ":" + name)}
			}
			i.Streams = append(i.Streams, s)
		}
		if r, _, err := findNextStream.Call(uintptr(h), uintptr(unsafe.Pointer(&data))); r == 0 {
			if errors.Is(err, windows.ERROR_HANDLE_EOF) {
				return nil
			}
			return err
		}
	}
}

// streamContent is a named stream, by its full path.
type streamContent string

func (c streamContent) OpenBlob(b *winfile.Blob) (io.ReadCloser, error) {
	f, err := os.Open(string(c))
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err == nil && fi.Size() != b.Size {
		err = fmt.Errorf("%s: changed since the scan: %d bytes, want %d", string(c), fi.Size(), b.Size)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &folderFile{f: f, path: string(c), left: b.Size, before: fi}, nil
}

// finish reports what concerns the folder as a whole: on Windows nothing.
func (s *scanner) finish() {}

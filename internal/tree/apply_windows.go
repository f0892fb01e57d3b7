package tree

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/windows"

	"husk/winfile"
)

// streamsAreFiles tells whether a named stream is opened like a file.
const streamsAreFiles = true

// applyHost is what the applier found out about the target's file system.
type applyHost struct{ foldsCase bool }

func (a *applier) probe() error {
	a.host.foldsCase = true
	enablePrivileges()
	return nil
}

func tooManyLinks(err error) bool { return errors.Is(err, windows.ERROR_TOO_MANY_LINKS) }

// create opens a file for its data, or a named stream. The directories on its path are ours: reparse points come last.
func (a *applier) create(t target) (*os.File, error) {
	path := filepath.FromSlash(t.path)
	if t.named {
		full := longPath(filepath.Join(a.dir, path)) + ":" + t.stream
		return os.OpenFile(full, openFlags(t), 0o666)
	}
	f, err := a.root.OpenFile(path, openFlags(t), 0o666)
	if err != nil || t.info.Attributes&winfile.AttrSparse == 0 {
		return f, err
	}
	if err := control(windows.Handle(f.Fd()), windows.FSCTL_SET_SPARSE, nil); err != nil {
		a.report.lose(LostAttributes, t.path, err)
	}
	return f, nil
}

// streamProblem says why a named stream cannot be kept.
func streamProblem(s winfile.Stream) error {
	if s.Name == "" || strings.ContainsAny(s.Name, ":/\\\x00") {
		return fmt.Errorf("Windows does not allow the stream name %q", s.Name)
	}
	return nil
}

func (a *applier) writeStream(t target, _ []byte) error {
	panic("tree: internal error: stream " + t.String() + " is a file")
}

// asLink is for hosts whose links are not reparse points.
func (a *applier) asLink(*winfile.Info) (string, bool) { return "", false }

// makeSpecial is for hosts that have devices among their files.
func (a *applier) makeSpecial(target) (bool, error) { return false, nil }

func control(h windows.Handle, code uint32, in []byte) error {
	var p *byte
	if len(in) > 0 {
		p = &in[0]
	}
	var n uint32
	return windows.DeviceIoControl(h, code, p, uint32(len(in)), nil, 0, &n, nil)
}

// describe gives a file its metadata. What the host does not take is a loss. Attributes and times come last.
func (a *applier) describe(d *hostDir, name, path string, e *winfile.Entry, shorts string) {
	i := e.Info
	a.loseExtra(path, i)
	lose := func(kind string, err error) {
		if err != nil {
			a.report.lose(kind, path, err)
		}
	}
	const most = windows.GENERIC_READ | windows.GENERIC_WRITE | windows.WRITE_DAC | windows.WRITE_OWNER | windows.DELETE
	h, err := d.handle(name, most|windows.ACCESS_SYSTEM_SECURITY, most, windows.GENERIC_READ|windows.GENERIC_WRITE)
	if err != nil {
		lose(LostAttributes, err)
		return
	}
	defer windows.CloseHandle(h)
	if i.Attributes&winfile.AttrCompressed != 0 {
		lose(LostAttributes, control(h, windows.FSCTL_SET_COMPRESSION, []byte{1, 0})) // COMPRESSION_FORMAT_DEFAULT
	}
	if x := i.Extra; x != nil {
		if len(x.ObjectID) > 0 {
			id := make([]byte, maxObjectID)
			copy(id, x.ObjectID)
			lose(LostObjectID, control(h, windows.FSCTL_SET_OBJECT_ID, id))
		}
		for _, ea := range x.EAs {
			lose(LostEAs, setEA(h, ea))
		}
	}
	if short := shortNameOf(shorts, path); short != "" {
		p, err := windows.UTF16PtrFromString(short)
		if err == nil {
			if ok, _, e := setFileShortName.Call(uintptr(h), uintptr(unsafe.Pointer(p))); ok == 0 {
				err = e
			}
		}
		lose(LostShortName, err)
	}
	if i.Reparse != nil {
		r := *i.Reparse
		retarget(&r, a.dir)
		lose(LostReparse, control(h, windows.FSCTL_SET_REPARSE_POINT, r.Buffer()))
	}
	if len(i.Security) >= 20 {
		lose(LostSecurity, setSecurity(h, i.Security))
	}
	b := basicInfo{Created: i.Created, Written: i.Written, Accessed: i.Accessed, Changed: i.Changed, Attributes: settable(i)}
	lose(LostTimes, windows.SetFileInformationByHandle(h, windows.FileBasicInfo, (*byte)(unsafe.Pointer(&b)),
		uint32(unsafe.Sizeof(b))))
}

// settable is what can be set as attributes; the others follow from what the file is.
func settable(i *winfile.Info) winfile.Attributes {
	const follow = winfile.AttrReparse | winfile.AttrSparse | winfile.AttrCompressed | winfile.AttrEncrypted | winfile.AttrDirectory
	if a := i.Attributes &^ follow; a != 0 {
		return a
	}
	return winfile.AttrNormal
}

func setEA(h windows.Handle, ea winfile.EA) error {
	b, err := appendEAs(nil, []winfile.EA{ea})
	if err != nil {
		return err
	}
	copy(b, []byte{0, 0, 0, 0}) // Windows wants 0 in the last entry
	var iosb windows.IO_STATUS_BLOCK
	return windows.NtSetEaFile(h, &iosb, &b[0], uint32(len(b)))
}

// setSecurity sets all of a descriptor, or, without the privilege for it, all but the audit list.
func setSecurity(h windows.Handle, b []byte) error {
	sd := (*windows.SECURITY_DESCRIPTOR)(unsafe.Pointer(&b[0]))
	if !sd.IsValid() || int(sd.Length()) > len(b) {
		return errors.New("not a valid descriptor")
	}
	err := windows.SetKernelObjectSecurity(h, securityAll, sd)
	if err == nil {
		return nil
	}
	return errors.Join(err, windows.SetKernelObjectSecurity(h, securityMost, sd))
}

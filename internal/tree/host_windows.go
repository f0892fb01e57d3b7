package tree

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/windows"

	"husk/winfile"
)

// hostDir is a directory of the host. The name "." means itself.
type hostDir struct {
	path string // absolute, in the form that takes long and odd names
}

func openHostDir(root *os.Root, dir, path string) (*hostDir, error) {
	if fi, err := root.Stat(filepath.FromSlash(path)); err != nil {
		return nil, err
	} else if !fi.IsDir() {
		return nil, &fs.PathError{Op: "open", Path: path, Err: windows.ERROR_DIRECTORY}
	}
	abs, err := filepath.Abs(filepath.Join(dir, filepath.FromSlash(path)))
	if err != nil {
		return nil, err
	}
	return &hostDir{longPath(abs)}, nil
}

// longPath is the form of an absolute path that Windows takes as it is.
func longPath(abs string) string {
	switch {
	case strings.HasPrefix(abs, `\\?\`):
		return abs
	case strings.HasPrefix(abs, `\\`):
		return `\\?\UNC` + abs[1:]
	}
	return `\\?\` + abs
}

func (d *hostDir) close() {}

func (d *hostDir) full(name string) string {
	if name == "." {
		return d.path
	}
	return d.path + `\` + name
}

func (d *hostDir) names() ([]string, error) {
	f, err := os.Open(d.path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

// handle opens a file or directory itself, not what it leads to, with the most of wants that is granted.
func (d *hostDir) handle(name string, wants ...uint32) (h windows.Handle, err error) {
	p, err := windows.UTF16PtrFromString(d.full(name))
	if err != nil {
		return 0, err
	}
	const share = windows.FILE_SHARE_READ | windows.FILE_SHARE_WRITE | windows.FILE_SHARE_DELETE
	const flags = windows.FILE_FLAG_BACKUP_SEMANTICS | windows.FILE_FLAG_OPEN_REPARSE_POINT
	for _, access := range wants {
		if h, err = windows.CreateFile(p, access, share, nil, windows.OPEN_EXISTING, flags, 0); err == nil {
			return h, nil
		}
	}
	return 0, os.NewSyscallError("CreateFile", err)
}

// basicInfo is FILE_BASIC_INFO.
type basicInfo struct {
	Created, Accessed, Written, Changed winfile.Filetime
	Attributes                          winfile.Attributes
	_                                   uint32
}

func (d *hostDir) stat(name string) (*hostStat, error) {
	h, err := d.handle(name, windows.FILE_READ_ATTRIBUTES)
	if err != nil {
		return nil, err
	}
	defer windows.CloseHandle(h)
	var x windows.ByHandleFileInformation
	if err := windows.GetFileInformationByHandle(h, &x); err != nil {
		return nil, os.NewSyscallError("GetFileInformationByHandle", err)
	}
	var b basicInfo
	err = windows.GetFileInformationByHandleEx(h, windows.FileBasicInfo, (*byte)(unsafe.Pointer(&b)), uint32(unsafe.Sizeof(b)))
	if err != nil {
		return nil, os.NewSyscallError("GetFileInformationByHandleEx", err)
	}
	st := &hostStat{
		key:     fileKey{uint64(x.VolumeSerialNumber), uint64(x.FileIndexHigh)<<32 | uint64(x.FileIndexLow)},
		links:   uint64(x.NumberOfLinks),
		size:    int64(x.FileSizeHigh)<<32 | int64(x.FileSizeLow),
		created: b.Created, written: b.Written, access: b.Accessed, changed: b.Changed,
		attrs: b.Attributes &^ winfile.AttrNormal,
	}
	switch {
	case st.attrs&winfile.AttrReparse != 0:
		st.kind = kindLink
	case st.attrs&winfile.AttrDirectory != 0:
		st.kind = kindDir
	}
	return st, nil
}

// inode is not needed: Windows keeps an open file from being replaced.
func inode(fs.FileInfo) uint64 { return 0 }

func openForRead(root *os.Root, path string) (*os.File, error) {
	return root.Open(filepath.FromSlash(path))
}

// hostNameProblem says why the host cannot hold a name, or "".
func hostNameProblem(name string) string {
	if len(winfile.UTF16FromName(name)) > maxNameUnits {
		return "the name is longer than the 255 UTF-16 units that Windows allows"
	}
	return windowsObjection(name)
}

// enablePrivileges turns on what a backup program needs, so far as the user has it.
func enablePrivileges() {
	var token windows.Token
	if err := windows.OpenProcessToken(windows.CurrentProcess(), windows.TOKEN_ADJUST_PRIVILEGES, &token); err != nil {
		return
	}
	defer token.Close()
	for _, name := range []string{"SeBackupPrivilege", "SeRestorePrivilege", "SeSecurityPrivilege", "SeTakeOwnershipPrivilege"} {
		p := windows.Tokenprivileges{PrivilegeCount: 1}
		p.Privileges[0].Attributes = windows.SE_PRIVILEGE_ENABLED
		n, err := windows.UTF16PtrFromString(name)
		if err == nil && windows.LookupPrivilegeValue(nil, n, &p.Privileges[0].Luid) == nil {
			windows.AdjustTokenPrivileges(token, false, &p, 0, nil, nil) // without it, less is read; that is reported then
		}
	}
}

var (
	advapi32 = windows.NewLazySystemDLL("advapi32.dll")
	kernel32 = windows.NewLazySystemDLL("kernel32.dll")

	getKernelObjectSecurity = advapi32.NewProc("GetKernelObjectSecurity")
	findFirstStream         = kernel32.NewProc("FindFirstStreamW")
	findNextStream          = kernel32.NewProc("FindNextStreamW")
	setFileShortName        = kernel32.NewProc("SetFileShortNameW")
)

const (
	securityMost = windows.OWNER_SECURITY_INFORMATION | windows.GROUP_SECURITY_INFORMATION | windows.DACL_SECURITY_INFORMATION
	securityAll  = securityMost | windows.SACL_SECURITY_INFORMATION
)

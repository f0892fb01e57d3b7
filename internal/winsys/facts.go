package winsys

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"

	"husk/regf"
	"husk/winfile"
)

// Facts is what a system says of itself. What it does not say is zero.
type Facts struct {
	Folder string // the Windows folder: "Windows"
	Arch   int    // PROCESSOR_ARCHITECTURE of the kernel: 0 x86, 5 ARM, 6 IA-64, 9 x64, 12 ARM64; -1 if not known

	// SOFTWARE, Microsoft\Windows NT\CurrentVersion
	ProductName      string // "Windows 10 Pro"; Windows 11 says so too, with Build from 22000
	EditionID        string // "Professional"
	InstallationType string // "Client", "Server", "Server Core"
	DisplayVersion   string // "22H2"
	Major, Minor     int
	Build, UBR       int    // 19045 and 3570
	Branch           string // "vb_release"
	ImageState       string // "IMAGE_STATE_COMPLETE"

	// SYSTEM
	ControlSet      string // "ControlSet001"
	ServicePack     int
	SPBuild         int
	ProductType     string // "WinNT", "ServerNT", "LanmanNT"
	ProductSuite    string // "Terminal Server"
	HAL             string // "acpiapic"
	Languages       []string
	DefaultLanguage string
	BootDrivers     []Driver
}

// Driver is a driver that the boot loader loads with the kernel.
type Driver struct {
	Name  string // of the service
	Group string // load order group
	Image string // slash path below the Windows folder: "System32/drivers/disk.sys"
}

// Read reads the facts of the system in a tree. Without a Windows folder they are nil. What cannot be read is an error beside the
// facts that can.
func Read(t *winfile.Tree) (*Facts, error) {
	dir := Folder(t)
	if dir == "" {
		return nil, nil
	}
	f := &Facts{Folder: dir, Arch: -1}
	var errs []error
	note := func(err error) {
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	arch, err := kernelArch(t, dir+"/System32/kernel32.dll")
	if err == nil {
		f.Arch = arch
	}
	note(err)
	if h, err := OpenHive(t, dir+"/"+configDir+"/SOFTWARE"); err == nil {
		note(f.software(h.Root()))
	} else {
		note(err)
	}
	if h, err := OpenHive(t, dir+"/"+configDir+"/SYSTEM"); err == nil {
		note(f.system(h.Root()))
	} else {
		note(err)
	}
	return f, errors.Join(errs...)
}

// reader reads values and keeps the first error that is not a missing or mistyped value.
type reader struct {
	key *regf.Key
	err error
}

func (r *reader) keep(err error) {
	var damaged *regf.FormatError
	if r.err == nil && errors.As(err, &damaged) {
		r.err = err
	}
}

func (r *reader) text(path, name string) string {
	s, err := r.key.Text(path, name)
	r.keep(err)
	return s
}

// number is a number as it is, or as digits in a string.
func (r *reader) number(path, name string) int {
	n, err := r.key.Uint(path, name)
	if err == nil && n < 1<<31 {
		return int(n)
	}
	if err != nil {
		r.keep(err)
		if n, err := strconv.ParseUint(r.text(path, name), 10, 31); err == nil {
			return int(n)
		}
	}
	return 0
}

func (r *reader) subkeys(path string) []*regf.Key {
	k, err := r.key.Lookup(path)
	if err != nil {
		r.keep(err)
		return nil
	}
	keys, err := k.Subkeys()
	r.keep(err)
	return keys
}

func (f *Facts) software(root *regf.Key) error {
	const version = `Microsoft\Windows NT\CurrentVersion`
	r := &reader{key: root}
	f.ProductName = r.text(version, "ProductName")
	f.EditionID = r.text(version, "EditionID")
	f.InstallationType = r.text(version, "InstallationType")
	f.DisplayVersion = r.text(version, "DisplayVersion")
	f.Major, f.Minor = r.number(version, "CurrentMajorVersionNumber"), r.number(version, "CurrentMinorVersionNumber")
	if f.Major == 0 {
		major, minor, _ := strings.Cut(r.text(version, "CurrentVersion"), ".")
		f.Major, _ = strconv.Atoi(major)
		f.Minor, _ = strconv.Atoi(minor)
	}
	f.Build = r.number(version, "CurrentBuild")
	if f.Build == 0 { // "1.511.1 () (Obsolete data - do not use)" until Windows 8
		f.Build = r.number(version, "CurrentBuildNumber")
	}
	f.UBR = r.number(version, "UBR")
	f.Branch = r.text(version, "BuildBranch")
	if lab := strings.Split(r.text(version, "BuildLab"), "."); f.Branch == "" && len(lab) > 1 {
		f.Branch = lab[1]
	}
	f.ImageState = r.text(`Microsoft\Windows\CurrentVersion\Setup\State`, "ImageState")
	return r.err
}

func (f *Facts) system(root *regf.Key) error {
	set, err := ControlSet(root)
	if err != nil {
		return fmt.Errorf("SYSTEM: %w", err)
	}
	k, err := root.Subkey(set)
	if err != nil {
		return err
	}
	f.ControlSet = set
	r := &reader{key: k}
	f.ServicePack = r.number(`Control\Windows`, "CSDVersion") >> 8
	f.SPBuild = r.number(`Control\Windows`, "CSDBuildNumber")
	f.ProductType = r.text(`Control\ProductOptions`, "ProductType")
	if suites, err := k.Strings(`Control\ProductOptions`, "ProductSuite"); err == nil && len(suites) > 0 {
		f.ProductSuite = suites[0]
	}
	f.HAL = r.text(`Control\Class\{4D36E966-E325-11CE-BFC1-08002BE10318}\0000`, "MatchingDeviceId")
	for _, l := range r.subkeys(`Control\MUI\UILanguages`) {
		f.Languages = append(f.Languages, l.Name())
	}
	if id, err := strconv.ParseUint(r.text(`Control\Nls\Language`, "InstallLanguage"), 16, 32); err == nil {
		f.DefaultLanguage = languageTag(uint32(id))
	}
	f.bootDrivers(r)
	return r.err
}

// Services\NAME\Start and Type, from wdm.h.
const (
	startBoot       = 0
	kernelDriver    = 1
	fileSystem      = 2
	recognizer      = 8
	driversBelowDir = "System32/drivers/"
)

func (f *Facts) bootDrivers(r *reader) {
	for _, s := range r.subkeys("Services") {
		sr := &reader{key: s}
		kind := sr.number("", "Type")
		start, err := s.Uint("", "Start")
		if err != nil || start != startBoot || kind != kernelDriver && kind != fileSystem && kind != recognizer {
			r.keep(err)
			continue
		}
		d := Driver{Name: s.Name(), Group: sr.text("", "Group"), Image: ImagePath(sr.text("", "ImagePath"))}
		if d.Image == "" {
			d.Image = driversBelowDir + d.Name + ".sys"
		}
		r.keep(sr.err)
		f.BootDrivers = append(f.BootDrivers, d)
	}
}

// ImagePath makes a slash path below the Windows folder of an ImagePath, which may begin there, at \SystemRoot or at a drive.
func ImagePath(s string) string {
	s = strings.Trim(strings.ReplaceAll(strings.Trim(s, `" `), `\`, "/"), "/")
	for _, prefix := range []string{"??/", "SystemRoot/", "%SystemRoot%/"} {
		if len(s) >= len(prefix) && winfile.EqualFold(s[:len(prefix)], prefix) {
			s = s[len(prefix):]
		}
	}
	if len(s) > 3 && s[1] == ':' && s[2] == '/' { // C:/Windows/System32/…
		_, rest, _ := strings.Cut(s[3:], "/")
		s = rest
	}
	return s
}

// kernelArch reads the machine of a PE file.
func kernelArch(t *winfile.Tree, path string) (int, error) {
	e := t.Lookup(path)
	if e == nil || e.Info.Data == nil || e.Info.Data.Content == nil {
		return 0, &fs.PathError{Op: "read", Path: path, Err: fs.ErrNotExist}
	}
	r, err := e.Info.Data.Content.OpenBlob(e.Info.Data)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	defer r.Close()
	const headers = 4096
	b := make([]byte, headers)
	n, err := io.ReadFull(r, b)
	if err != nil && err != io.ErrUnexpectedEOF {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	b = b[:n]
	if len(b) < 0x40 || string(b[:2]) != "MZ" {
		return 0, fmt.Errorf("%s: no program", path)
	}
	at := binary.LittleEndian.Uint32(b[0x3c:])
	if uint64(at)+6 > uint64(len(b)) || string(b[at:at+4]) != "PE\x00\x00" {
		return 0, fmt.Errorf("%s: no PE header at %#x", path, at)
	}
	machine := binary.LittleEndian.Uint16(b[at+4:])
	arch, ok := map[uint16]int{0x14c: 0, 0x1c0: 5, 0x1c2: 5, 0x1c4: 5, 0x200: 6, 0x8664: 9, 0xaa64: 12}[machine]
	if !ok {
		return 0, fmt.Errorf("%s: machine %#x is unknown", path, machine)
	}
	return arch, nil
}

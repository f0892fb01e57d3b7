package source

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"husk/internal/ui"
	"husk/iso9660"
	"husk/udf"
	"husk/wim"
	"husk/winfile"
)

// Disc is an open ISO image: UDF, or ISO 9660 with or without Joliet.
type Disc struct {
	Path     string
	Format   string // "UDF 1.02", "ISO 9660", "ISO 9660, Joliet"
	Label    string
	Size     int64 // bytes of the image
	Tree     *winfile.Tree
	Warnings []string

	file *os.File
}

// IsDisc reports whether a file is an ISO image. One that begins as a bare NTFS volume is none, whatever its clusters hold.
func IsDisc(name string) bool {
	if st, err := os.Stat(name); err != nil || !st.Mode().IsRegular() && st.Mode()&os.ModeDevice == 0 {
		return false
	}
	f, err := os.Open(name)
	if err != nil {
		return false
	}
	defer f.Close()
	var boot [11]byte
	if n, _ := f.ReadAt(boot[:], 0); n == len(boot) && string(boot[3:]) == "NTFS    " {
		return false
	}
	size, err := f.Seek(0, io.SeekEnd)
	return err == nil && (iso9660.Is(f) || udf.Is(f, size))
}

// OpenDisc opens an ISO image. Where there are two trees that of UDF is taken, as Windows does: the other has often just a file that says so.
func OpenDisc(name string) (_ *Disc, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	d := &Disc{Path: name, file: f}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s: %w", name, errors.Join(err, f.Close()))
		}
	}()
	if d.Size, err = f.Seek(0, io.SeekEnd); err != nil {
		return nil, err
	}
	if udf.Is(f, d.Size) {
		err = d.readUDF()
	} else {
		err = d.readISO()
	}
	return d, err
}

func (d *Disc) readUDF() error {
	v, err := udf.NewReader(d.file, d.Size)
	if err != nil {
		return err
	}
	d.Format, d.Label = "UDF", v.Label
	if v.Revision != 0 {
		d.Format = fmt.Sprintf("UDF %x.%02x", v.Revision>>8, v.Revision&0xff)
	}
	d.Tree, err = v.Tree()
	d.Warnings = v.Warnings()
	return err
}

func (d *Disc) readISO() error {
	v, err := iso9660.NewReader(d.file, d.Size)
	if err != nil {
		return err
	}
	d.Format, d.Label = "ISO 9660", v.Label
	if v.Joliet {
		d.Format += ", Joliet"
	}
	d.Tree, err = v.Tree()
	d.Warnings = v.Warnings()
	return err
}

// Close closes the file.
func (d *Disc) Close() error { return d.file.Close() }

// WIMs lists the paths of the WIMs on the disc: those that Windows is installed from first.
func (d *Disc) WIMs() []string {
	var list []string
	for p, e := range d.Tree.All() {
		if !e.Info.IsDir() && hasExt(p, ".wim", ".esd", ".swm") {
			list = append(list, p)
		}
	}
	slices.SortStableFunc(list, func(a, b string) int { return rank(a) - rank(b) })
	return list
}

func rank(p string) int {
	if strings.HasPrefix(strings.ToLower(path.Base(p)), "install.") {
		return 0
	}
	return 1
}

func hasExt(name string, exts ...string) bool {
	return slices.ContainsFunc(exts, func(e string) bool { return winfile.EqualFold(path.Ext(name), e) })
}

// Find parts the selector of FILE:SELECTOR into a WIM on the disc and an image of it: WIM[:IMAGE] with the path of a WIM or its name in
// sources, else IMAGE of sources/install.wim or install.esd.
func (d *Disc) Find(selector string) (wimPath, image string, err error) {
	for i := len(selector); i > 0; i = strings.LastIndexByte(selector[:i], ':') {
		if name := selector[:i]; hasExt(name, ".wim", ".esd", ".swm") {
			for _, p := range []string{name, "sources/" + name} {
				if found := d.path(p); found != "" {
					return found, strings.TrimPrefix(selector[i:], ":"), nil
				}
			}
		}
	}
	for _, p := range []string{"sources/install.wim", "sources/install.esd", "sources/install.swm"} {
		if found := d.path(p); found != "" {
			return found, selector, nil
		}
	}
	err = fmt.Errorf("%s:%s: there is no sources/install.wim or install.esd on the disc", d.Path, selector)
	if list := d.WIMs(); len(list) > 0 {
		return "", "", ui.Hint(err, "name one of its WIMs: %s:%s:NUMBER", d.Path, list[0])
	}
	return "", "", ui.Hint(err, "without a colon and what is behind it %s is the disc with all its files", d.Path)
}

// path is how a file is called on the disc, "" if there is none.
func (d *Disc) path(name string) string {
	e := d.Tree.Root
	var parts []string
	for part := range strings.FieldsFuncSeq(name, func(r rune) bool { return r == '/' || r == '\\' }) {
		if e = e.Child(part); e == nil {
			return ""
		}
		parts = append(parts, e.Name)
	}
	if e.Info.IsDir() {
		return ""
	}
	return strings.Join(parts, "/")
}

// OpenWIM opens a WIM on the disc, by its path. It is readable until the disc is closed.
func (d *Disc) OpenWIM(name string) (*wim.Reader, error) {
	fail := func(err error) (*wim.Reader, error) { return nil, fmt.Errorf("%s:%s: %w", d.Path, name, err) }
	e := d.Tree.Lookup(name)
	if e == nil || e.Info.Data == nil {
		return fail(errors.New("an empty file, or none, want a WIM"))
	}
	b := e.Info.Data
	at, err := b.Content.(interface {
		BlobReaderAt(*winfile.Blob) (io.ReaderAt, error)
	}).BlobReaderAt(b)
	if err != nil {
		return fail(err)
	}
	r, err := wim.NewReader(at, b.Size)
	if err != nil {
		switch {
		case !errors.Is(err, errors.ErrUnsupported):
		case hasExt(name, ".swm"):
			err = ui.Hint(err, "copy all parts out with 'husk fs cp %s %s .' and join them: wimlib-imagex join install.wim *.swm", d.Path, path.Dir(name))
		default:
			err = ui.Hint(err, "copy it out with 'husk fs cp %s %s .' and convert it: wimlib-imagex export FILE all new.wim --compress=LZX", d.Path, name)
		}
		return fail(err)
	}
	return r, nil
}

// openDisc opens a disc, or with a selector an image of a WIM on it.
func (s *Source) openDisc(selector string, o *Options) error {
	d, err := OpenDisc(s.Path)
	if err != nil {
		return err
	}
	s.Kind, s.Disc, s.Tree = Optical, d, d.Tree
	s.closers = append(s.closers, d)
	if o.Warn != nil {
		for _, w := range d.Warnings {
			o.Warn("%s: %s", s.Path, w)
		}
	}
	if selector == "" {
		return nil
	}
	name, image, err := d.Find(selector)
	if err != nil {
		return err
	}
	r, err := d.OpenWIM(name)
	if err != nil {
		return err
	}
	s.Kind, s.WIM, s.Inside = WIM, r, name
	return s.chooseImage(image, o)
}

// Pointable reports why pointers cannot point into the source: only into a WIM that is a file of its own.
func (s *Source) Pointable() error {
	switch {
	case s.Inside != "":
		return ui.Hint(fmt.Errorf("%s: pointers can only point into a WIM that is a file of its own, not into one on a disc", s.WIMName()),
			"copy it out: husk fs cp %s %s .", s.Path, s.Inside)
	case s.Kind != WIM:
		return fmt.Errorf("%s is no WIM: pointers can only point into one", s.Path)
	}
	return nil
}

// WIMName is what to call the WIM of the source: its path, behind that of the disc it is on.
func (s *Source) WIMName() string {
	if s.Inside != "" {
		return s.Path + ":" + s.Inside
	}
	return s.Path
}

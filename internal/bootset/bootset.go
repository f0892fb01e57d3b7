// Package bootset finds what a system reads before its overlay driver (wof.sys) runs, from the system itself: boot loader, kernel and
// HAL, the drivers that the registry has the loader load, what all of them import, code pages and fonts. Where the loader reads no
// pointer files, all of it must be plain.
package bootset

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"husk/internal/winsys"
	"husk/pe"
	"husk/regf"
	"husk/winfile"
)

// Why a file is needed.
type Why string

const (
	Loader   Why = "boot loader"
	Kernel   Why = "kernel"
	Driver   Why = "boot-start driver"
	Import   Why = "import"
	CodePage Why = "code page"
	Font     Why = "font of the boot screens"
	Hive     Why = "registry hive"
)

// File is a file that must be plain.
type File struct {
	Path string // slash-separated, as in the tree
	Why  Why
	By   string // the driver, the importing file or the registry value that names it; may be empty
}

// Missing is something that is named and not there: often harmless, as sets of imports that the kernel provides are.
type Missing struct {
	Name string
	By   string
}

// Set is what Find found.
type Set struct {
	Files   []File // by path
	Missing []Missing
}

// Paths are the paths of the files.
func (s *Set) Paths() []string {
	list := make([]string, len(s.Files))
	for i, f := range s.Files {
		list[i] = f.Path
	}
	return list
}

// kernels are programs that the loader itself loads, below System32.
var kernels = []string{
	"ntoskrnl.exe", "ntkrnlpa.exe", "ntkrnlmp.exe", "hal.dll", "halacpi.dll", "halmacpi.dll", "kdcom.dll", "kd.dll", "bootvid.dll", "pshed.dll",
	"ci.dll", "clfs.sys", "apisetschema.dll", "mcupdate_GenuineIntel.dll", "mcupdate_AuthenticAMD.dll", "hvloader.dll", "hvix64.exe", "hvax64.exe",
	"securekernel.exe", "skci.dll",
}

// loaders are below System32, with the translations of their texts in language folders.
var loaders = []string{"winload.exe", "winload.efi", "winresume.exe", "winresume.efi"}

// hives that the loader reads.
var hives = []string{"SYSTEM", "ELAM", "DRIVERS"}

// Find computes the set of the system in a tree. A tree without Windows has none. The error names what could not be read; the set
// has the rest.
func Find(t *winfile.Tree) (*Set, error) {
	facts, err := winsys.Read(t)
	if facts == nil {
		return &Set{}, err
	}
	f := &finder{
		tree: t, dir: facts.Folder, known: make(map[*winfile.Entry]bool), set: &Set{},
		missing: make(map[Missing]bool),
	}
	if err != nil {
		f.errs = append(f.errs, err)
	}
	f.system32 = t.Lookup(f.dir + "/System32")
	if f.system32 == nil {
		return &Set{}, errors.Join(f.errs...)
	}
	f.loaders()
	for _, name := range kernels {
		f.optional("System32/"+name, Kernel)
	}
	for _, name := range hives {
		for _, suffix := range append([]string{""}, regf.LogNames...) {
			f.optional("System32/config/"+name+suffix, Hive)
		}
	}
	for _, d := range facts.BootDrivers {
		f.take(d.Image, Driver, d.Name)
	}
	f.nls(facts.ControlSet)
	f.follow()
	slices.SortFunc(f.set.Files, func(a, b File) int { return cmp.Compare(a.Path, b.Path) })
	return f.set, errors.Join(f.errs...)
}

type finder struct {
	tree     *winfile.Tree
	dir      string // the Windows folder
	system32 *winfile.Entry
	known    map[*winfile.Entry]bool
	missing  map[Missing]bool
	queue    []program
	set      *Set
	errs     []error
}

// program is a file whose imports are to be followed.
type program struct {
	path  string
	entry *winfile.Entry
}

// optional takes a file below the Windows folder if it is there.
func (f *finder) optional(name string, why Why) {
	if e := f.tree.Lookup(f.dir + "/" + name); e != nil {
		f.add(f.dir+"/"+name, e, why, "")
	}
}

// take takes a file below the Windows folder that something names.
func (f *finder) take(name string, why Why, by string) {
	if e := f.tree.Lookup(f.dir + "/" + name); e != nil && !e.Info.IsDir() {
		f.add(f.dir+"/"+name, e, why, by)
		return
	}
	f.miss(name, by)
}

func (f *finder) miss(name, by string) {
	m := Missing{name, by}
	if !f.missing[m] {
		f.missing[m] = true
		f.set.Missing = append(f.set.Missing, m)
	}
}

func (f *finder) add(name string, e *winfile.Entry, why Why, by string) {
	if f.known[e] || e.Info.IsDir() {
		return
	}
	f.known[e] = true
	name = path.Dir(name) + "/" + e.Name // as it is spelled
	f.set.Files = append(f.set.Files, File{name, why, by})
	switch why {
	case Kernel, Driver, Import, Loader:
		f.queue = append(f.queue, program{name, e})
	}
}

// loaders takes the loaders, those in the folder Boot, and the translations of both.
func (f *finder) loaders() {
	dirs := []string{"System32", "System32/Boot"}
	for _, d := range dirs {
		for _, name := range loaders {
			f.optional(d+"/"+name, Loader)
		}
		top := f.tree.Lookup(f.dir + "/" + d)
		if top == nil {
			continue
		}
		for _, lang := range top.Children {
			if !lang.Info.IsDir() {
				continue
			}
			for _, name := range loaders {
				if e := lang.Child(name + ".mui"); e != nil {
					f.add(f.dir+"/"+d+"/"+lang.Name+"/"+e.Name, e, Loader, "")
				}
			}
		}
	}
}

// nls takes the code pages and the font that the registry names for the boot.
func (f *finder) nls(controlSet string) {
	h, err := winsys.OpenHive(f.tree, f.dir+"/System32/config/SYSTEM")
	if err != nil || controlSet == "" {
		return // winsys.Read has said so
	}
	pages, err := h.Root().Lookup(controlSet + `\Control\Nls\CodePage`)
	if err != nil {
		return
	}
	for _, name := range []string{"ACP", "OEMCP", "MACCP"} {
		page, err := pages.Text("", name)
		if err != nil {
			continue
		}
		if file, err := pages.Text("", page); err == nil && file != "" {
			f.take("System32/"+file, CodePage, name)
		}
	}
	if font, err := pages.Text("", "OEMHAL"); err == nil && font != "" {
		f.take("Fonts/"+font, Font, "OEMHAL")
	}
	for _, name := range []string{"l_intl.nls", "locale.nls", "C_1252.NLS", "C_437.NLS"} {
		f.optional("System32/"+name, CodePage)
	}
}

// follow takes what the programs import, and what that imports.
func (f *finder) follow() {
	for len(f.queue) > 0 {
		p := f.queue[0]
		f.queue = f.queue[1:]
		imports, err := importsOf(p.entry.Info.Data)
		if errors.Is(err, pe.ErrFormat) {
			continue // text in place of a program, or a form that no loader could load: nothing follows from it
		}
		if err != nil {
			f.errs = append(f.errs, fmt.Errorf("%s: %w", p.path, err))
			continue
		}
		for _, name := range imports {
			f.importOf(p, name)
		}
	}
}

// importOf finds a library where the loader looks: beside the importing file, in System32, among the drivers.
func (f *finder) importOf(p program, name string) {
	if strings.ContainsAny(name, `/\:`) {
		f.miss(name, p.path)
		return
	}
	beside := path.Dir(p.path)
	for _, dir := range []string{beside, f.dir + "/System32", f.dir + "/System32/drivers"} {
		if e := f.tree.Lookup(dir + "/" + name); e != nil && !e.Info.IsDir() {
			f.add(dir+"/"+e.Name, e, Import, p.path)
			return
		}
	}
	f.miss(name, p.path)
}

// maxProgram is the largest file whose imports are read, in bytes: it is held in memory.
const maxProgram = 256 << 20

func importsOf(b *winfile.Blob) ([]string, error) {
	if b == nil {
		return nil, nil
	}
	data, err := b.ReadAll(maxProgram)
	if err != nil {
		return nil, err
	}
	info, err := pe.Read(bytes.NewReader(data), int64(len(data)))
	if info == nil {
		return nil, err
	}
	return info.Imports, nil // which no loader asks the version or the signature for
}

package system

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"husk/guid"
	"husk/internal/atomicfile"
	"husk/internal/deploy"
	"husk/internal/disk"
	"husk/internal/source"
	"husk/internal/store"
	"husk/internal/tree"
	"husk/internal/ui"
	"husk/internal/winsys"
	"husk/ntfs"
	"husk/vhd"
	"husk/vhdx"
	"husk/winfile"
	"husk/wof"
)

// layers gives the contents of the WIMs of a store to wof: those of the first that has one.
type layers []wof.Source

func (l layers) Lookup(h winfile.SHA1) (wof.Resource, bool) {
	for _, s := range l {
		if r, ok := s.Lookup(h); ok {
			return r, true
		}
	}
	return wof.Resource{}, false
}

// placer tells where layers will be when the system starts.
type placer struct {
	overlay    *wof.Overlay     // of the old system; may be nil
	known      []source.Layer   // of the point
	spec, path string           // the user's word for the first layer of the point
	boot       *store.BootPlace // of the folder with the layers; may be nil
	given      *wof.Location    // of that, once it is known
}

// location is where a layer will be: as the old system has it, or beside another layer as it lies now, or where it is mounted.
func (p *placer) location(l source.Layer) (wof.Location, error) {
	if p.spec != "" || p.path != "" {
		if p.given == nil {
			at, err := deploy.Location(p.spec, p.path, p.known[0].Path)
			if err != nil {
				return wof.Location{}, err
			}
			p.given = &at
		}
		return beside(*p.given, p.known[0].Path, l.Path)
	}
	if p.overlay != nil {
		for _, e := range p.overlay.Entries() {
			if e.GUID == l.WIM.GUID() {
				return e.Location, nil
			}
		}
		for _, k := range p.known {
			for _, e := range p.overlay.Entries() {
				if e.GUID == k.WIM.GUID() {
					return beside(e.Location, k.Path, l.Path)
				}
			}
		}
	}
	if p.boot != nil {
		return deploy.Location(p.boot.Disk, strings.TrimRight(p.boot.Path, `\/`)+`\`+filepath.Base(l.Path), l.Path)
	}
	return deploy.Location("", "", l.Path)
}

// beside is the location of a file that lies to another, whose location is known, as path to own.
func beside(at wof.Location, own, path string) (wof.Location, error) {
	rel, err := filepath.Rel(filepath.Dir(own), path)
	if err != nil || !filepath.IsLocal(rel) {
		return at, fmt.Errorf("%s does not lie beside %s or below it, so that its place at boot is not known", path, own)
	}
	at.Path = at.Path[:strings.LastIndexByte(at.Path, '\\')+1] + strings.ReplaceAll(filepath.ToSlash(rel), "/", `\`)
	return at, nil
}

// pointerPlan is which files become pointers into which layers.
type pointerPlan struct {
	plan    *wof.Plan
	layers  []string // that are pointed into
	overlay []byte
}

// planPointers decides which files of a tree become pointers, and adds the WimOverlay.dat that they need to it.
func planPointers(point *Source, p *placer, o *Options, now time.Time) (*pointerPlan, error) {
	conf, err := deploy.ReadConfig(o.Config, o.UI)
	if err != nil {
		return nil, err
	}
	build := 0
	if facts, _ := winsys.Read(point.Tree); facts != nil { // what it could not read it does not tell
		build = facts.Build
	}
	const firstPointers = 9600 // Windows 8.1: its loader reads them under UEFI
	ro := &wof.RuleOptions{BIOS: !o.UEFI, Config: conf, Build: build}
	if conf == nil && (ro.BIOS || build < firstPointers) {
		ro.Early = deploy.Early(point.Tree, o.UI)
	}
	rules, err := wof.NewRules(point.Tree, ro)
	if err != nil {
		return nil, ui.Hint(err, "give a configuration with --config=FILE")
	}
	overlay := &wof.Overlay{}
	var backing layers
	names := make(map[uint64]string)
	for _, l := range p.known {
		if err := deploy.CheckFormat(l.WIM, l.Path); err != nil {
			if len(p.known) == 1 {
				return nil, err
			}
			o.UI.Warn("%s", err)
			continue
		}
		at, err := p.location(l)
		if err != nil {
			return nil, err
		}
		index := uint32(1)
		if l.WIM == point.WIM {
			index = uint32(point.Image.Index)
		}
		id, err := overlay.Add(wof.WIMOther, index, l.WIM.GUID(), at)
		if err != nil {
			return nil, err
		}
		names[id] = l.Path
		backing = append(backing, deploy.NewBacking(l.WIM, id))
	}
	plan, err := rules.Decide(point.Tree, backing)
	if err != nil {
		return nil, err
	}
	r := &pointerPlan{plan: plan}
	used := make(map[uint64]bool)
	for _, e := range point.Tree.All() {
		if x := plan.Pointer(e.Info); x != nil {
			used[x.DataSourceID] = true
		}
	}
	for _, e := range overlay.Entries() {
		if used[e.DataSourceID] {
			r.layers = append(r.layers, names[e.DataSourceID])
		} else if err := overlay.Remove(e.DataSourceID); err != nil {
			return nil, err
		}
	}
	if r.overlay, err = overlay.Marshal(); err != nil {
		return nil, err
	}
	return r, wof.AddOverlay(point.Tree, r.overlay, now)
}

// container is a file that holds a disk, while it is written.
type container interface {
	io.WriterAt
	Close() error
}

type rawContainer struct{ *atomicfile.File }

func (rawContainer) Close() error { return nil }

// newContainer begins a disk of the form that another has; differencing disks become whole ones.
func newContainer(f *atomicfile.File, form string, like *disk.Disk, size int64, pointers bool) (container, error) {
	block := int64(0)
	if c := like.Container(); c != nil && !strings.Contains(like.Format, "differencing") {
		block = c.BlockSize
	}
	fixed := strings.HasSuffix(like.Format, " fixed")
	same := strings.HasPrefix(strings.ToLower(like.Format), form+" ")
	if !same {
		block, fixed = 0, false
	}
	switch form {
	case "vhd":
		o := &vhd.Options{Type: vhd.Dynamic, Size: size, BlockSize: block, ID: guid.New(), Time: time.Now()}
		if block != 512<<10 && block != 2<<20 { // others are read, and not written
			o.BlockSize = 0
		}
		if !same && pointers {
			o.BlockSize = 512 << 10
		}
		if fixed {
			o.Type = vhd.Fixed
		}
		return vhd.Create(f, o)
	case "vhdx":
		o := &vhdx.Options{Size: size, BlockSize: block, LogicalSector: like.SectorSize, ID: guid.New(), FileWriteGUID: guid.New(), DataWriteGUID: guid.New()}
		if fixed {
			o.Type = vhdx.Fixed
		}
		return vhdx.Create(f, o)
	}
	return rawContainer{f}, f.Truncate(size)
}

// formOfName is the form that a file shall have: of an existing disk its own, else as the name says.
func formOfName(d *disk.Disk, name string) string {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".vhd":
		return "vhd"
	case ".vhdx":
		return "vhdx"
	case ".img", ".raw", ".bin", ".dd":
		return "raw"
	}
	return formOfDisk(d)
}

func formOfDisk(d *disk.Disk) string {
	switch {
	case strings.HasPrefix(d.Format, "VHDX"):
		return "vhdx"
	case strings.HasPrefix(d.Format, "VHD"):
		return "vhd"
	}
	return "raw"
}

// copyRange copies what a disk has between two offsets, zeros excepted.
func copyRange(ctx context.Context, w io.WriterAt, d *disk.Disk, from, to int64) error {
	buf := make([]byte, 1<<20)
	for at := from; at < to; {
		start, end := d.NextAllocated(at)
		if start >= to || start >= end {
			return nil
		}
		for at = max(at, start); at < min(end, to); {
			if err := ctx.Err(); err != nil {
				return err
			}
			p := buf[:min(int64(len(buf)), min(end, to)-at)]
			if n, err := d.ReadAt(p, at); n < len(p) {
				return fmt.Errorf("%s: %w", d.Path, errors.Join(err, io.ErrUnexpectedEOF))
			}
			if !allZero(p) {
				if _, err := w.WriteAt(p, at); err != nil {
					return err
				}
			}
			at += int64(len(p))
		}
	}
	return nil
}

func allZero(p []byte) bool {
	for _, b := range p {
		if b != 0 {
			return false
		}
	}
	return true
}

// offsetWriter writes into a part of a disk.
type offsetWriter struct {
	w    io.WriterAt
	base int64
}

func (o offsetWriter) WriteAt(p []byte, off int64) (int, error) { return o.w.WriteAt(p, o.base+off) }

// verifyDisk reads a new disk back: the structure of its volume, and every file against the tree that it was made of. What its pointer
// files stand for is known by SHA-1; all that lies on the disk itself is read.
func verifyDisk(ctx context.Context, path string, number int, want *winfile.Tree, o *Options) error {
	d, err := disk.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	var p *disk.Partition
	if number == 0 {
		p, err = d.NTFS()
	} else {
		p, err = d.Partition(number)
	}
	if err != nil {
		return err
	}
	return verifyVolume(ctx, d, p, want, o)
}

func verifyVolume(ctx context.Context, d *disk.Disk, p *disk.Partition, want *winfile.Tree, o *Options) error {
	s, err := source.FromDisk(ctx, d, p, &source.Options{Raw: true})
	if err != nil {
		return err
	}
	defer s.Close()
	problems, err := s.NTFS.Check(ctx)
	if err != nil {
		return err
	}
	for _, x := range problems {
		if x.Severity > ntfs.SeverityNote { // names that differ in case alone are the point's
			return fmt.Errorf("%s", x)
		}
	}
	claim(s.Tree)
	if err := s.Resolve(s.Tree, &source.Options{}); err != nil { // compact files
		return err
	}
	bar := o.UI.Start("read back", 0)
	defer bar.Done()
	ignore := winfile.AttrCompressed | winfile.AttrNormal | winfile.AttrSparse // see ntfs.NewLayout
	diff, err := tree.Compare(ctx, want, s.Tree, &tree.CompareOptions{
		IgnoreAttributes: ignore, DefaultSecurity: true, Ignore: tree.DiffObjectID | tree.DiffShortName | tree.DiffUnix | tree.DiffItems, Limit: 10,
		Workers: o.Threads, Progress: bar.Add,
	})
	if err != nil {
		return err
	}
	if !diff.Equal() {
		var errs []error
		for _, x := range diff.List {
			errs = append(errs, errors.New(x.String()))
		}
		return fmt.Errorf("%d differences: %w", diff.Total, errors.Join(errs...))
	}
	return nil
}

// roundSize makes a size one that the form can have.
func roundSize(form string, size int64) (int64, error) {
	if size > math.MaxInt64-(1<<21) {
		return 0, fmt.Errorf("a disk of %d bytes is too large", size)
	}
	if form == "vhd" {
		return vhd.RoundSize(size)
	}
	const unit = 1 << 20
	return (size + unit - 1) / unit * unit, nil
}

// freeName removes what an earlier command left half made beside a disk.
func removeIfThere(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

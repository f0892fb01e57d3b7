package convert

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"husk/bcd"
	"husk/guid"
	"husk/internal/archive"
	"husk/internal/atomicfile"
	"husk/internal/check"
	"husk/internal/deploy"
	"husk/internal/host"
	"husk/internal/install"
	"husk/internal/registry"
	"husk/internal/reshape"
	"husk/internal/source"
	"husk/internal/store"
	"husk/internal/tree"
	"husk/internal/ui"
	"husk/internal/verify"
	"husk/wim"
	"husk/winfile"
	"husk/wof"
)

// Result tells what was done.
type Result struct {
	Plan     *Plan         `json:"plan"`
	Image    int           `json:"image"`    // in the WIM, 1-based
	WIMBytes int64         `json:"wimBytes"` // of the whole WIM
	Pointers int           `json:"pointers"`
	Plain    int           `json:"plain"`
	Freed    int64         `json:"freed,omitempty"`     // bytes of clusters, in place
	File     int64         `json:"fileBytes,omitempty"` // of the new disk
	Entry    string        `json:"entry,omitempty"`     // in the boot store
	Took     Took          `json:"seconds"`
	Elapsed  time.Duration `json:"-"`
}

// Took is the time of each step, in seconds; 0 of those that were done before.
type Took struct {
	Capture float64 `json:"capture"`
	Verify  float64 `json:"verify"`
	Build   float64 `json:"build"`
	Check   float64 `json:"check"`
	All     float64 `json:"all"`
}

// spec names the image of the system.
func (r *run) spec() string { return fmt.Sprintf("%s:%d", r.wim, r.image) }

// run is a conversion under way.
type run struct {
	*Plan
	n     *journal
	r     *Result
	wim   string // the file that has the image: that of the plan, or a layer of the store
	image int
	guid  guid.GUID
	again bool // the target was begun before

	held *store.Store // locked from before there are pointers into its layers until it knows of them; nil if there is none
}

func (p *Plan) job() job {
	path, selector := source.Split(p.System)
	system := absolute(path)
	if selector != "" {
		system += ":" + selector
	}
	return job{System: system, Target: absolute(p.Target), Form: p.Form, WIM: absolute(p.WIM), Inside: p.Inside}
}

// Run converts the system, or goes on where a conversion was cut off.
func (p *Plan) Run(ctx context.Context) (_ *Result, err error) {
	start := time.Now()
	for _, file := range []string{p.WIM, p.Journal} {
		if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
			return nil, err
		}
	}
	n, err := openJournal(p.Journal, p.job(), p.o.Restart)
	if err != nil {
		return nil, err
	}
	done := false
	r := &run{Plan: p, n: n, wim: p.WIM, r: &Result{Plan: p}}
	defer func() {
		if !done {
			err = errors.Join(err, n.close())
		}
		if r.held != nil {
			err = errors.Join(err, r.held.Close())
		}
	}()
	steps := []struct {
		do   func(context.Context) error
		took *float64
	}{{r.capture, &r.r.Took.Capture}, {r.verify, &r.r.Took.Verify}, {r.hold, nil}, {r.build, &r.r.Took.Build}, {r.check, &r.r.Took.Check}, {r.enter, nil}, {r.record, nil}}
	if n.last(stepDone) != nil {
		steps = nil
	}
	for _, s := range steps {
		began := time.Now()
		if err := s.do(ctx); err != nil {
			return nil, err
		}
		if s.took != nil {
			*s.took = time.Since(began).Seconds()
		}
	}
	if st, err := os.Stat(r.wim); err == nil {
		r.r.WIMBytes = st.Size()
	}
	r.r.Image = r.image
	if err := n.add(note{Step: stepDone}); err != nil {
		return nil, err
	}
	if p.Inside {
		if err := os.Remove(p.WIM); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
	done = true
	err = n.remove()
	r.r.Elapsed = time.Since(start)
	r.r.Took.All = r.r.Elapsed.Seconds()
	return r.r, err
}

// capture puts the system into the WIM, unless that was done.
func (r *run) capture(ctx context.Context) error {
	if r.begun && r.n.last(stepCaptured) == nil {
		return r.rescue(ctx)
	}
	ok, err := r.captured()
	if err != nil || ok {
		return err
	}
	if r.Store != "" {
		return r.addPoint(ctx)
	}
	was := r.n.last(stepCapture)
	if err := r.n.forget(r.job()); err != nil {
		return err
	}
	begin := note{Step: stepCapture, Name: r.Image, Fingerprint: r.fingerprint, New: r.Inside || !r.Adds || was != nil && was.New}
	o := &archive.Options{Name: begin.Name, Wimboot: true, Compress: r.o.Compress, Threads: r.o.Threads, UI: r.o.UI, Overwrite: begin.New}
	w, err := wim.Open(r.WIM)
	switch {
	case err == nil && begin.New:
		begin.GUID = w.GUID().String() // one of an earlier state, not to be taken for what is made now
		err = w.Close()
	case err == nil:
		begin.Name = uniqueName(w, r.Image)
		o.Name, o.Compress = begin.Name, ""
		err = w.Close()
	case begin.New && errors.Is(err, os.ErrNotExist):
		err = nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", r.WIM, err)
	}
	if err := r.n.add(begin); err != nil {
		return err
	}
	work := archive.Capture
	if !begin.New {
		work = archive.Append
	}
	if _, err := work(ctx, r.System, r.WIM, o); err != nil {
		return err
	}
	if ok, err = r.captured(); err == nil && !ok {
		err = fmt.Errorf("%s: the image %q that was just captured is not in it", r.WIM, begin.Name)
	}
	return err
}

// captured reports whether the system, as it is now, is in the WIM, and notes that it is.
func (r *run) captured() (bool, error) {
	begin := r.n.last(stepCapture)
	if begin == nil {
		return false, nil
	}
	if begin.Fingerprint != r.fingerprint && r.n.last(stepBuild) == nil {
		return false, nil // it was used since
	}
	if r.Store != "" {
		return r.pointAdded(begin)
	}
	w, err := wim.Open(r.WIM)
	if errors.Is(err, os.ErrNotExist) {
		if r.n.last(stepBuild) != nil && r.Form == InPlace {
			return r.rescueIfInside()
		}
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("%s: %w", r.WIM, err)
	}
	defer w.Close()
	if begin.New && w.GUID().String() == begin.GUID {
		return false, nil
	}
	for _, i := range w.Images() {
		if i.Name() != begin.Name {
			continue
		}
		r.image, r.guid = i.Index, w.GUID()
		if done := r.n.last(stepCaptured); done != nil && done.GUID == r.guid.String() && done.Image == r.image {
			return true, nil
		}
		return true, r.n.add(note{Step: stepCaptured, GUID: r.guid.String(), Image: r.image})
	}
	return false, nil
}

func (r *run) rescueIfInside() (bool, error) {
	if !r.Inside {
		return false, fmt.Errorf("%s, which pointers of %s need, is gone", r.WIM, r.System)
	}
	return true, r.rescue(context.Background())
}

// rescue copies the WIM back that is on the system's volume already, where the journal of a conversion, or the WIM beside it, was lost.
func (r *run) rescue(ctx context.Context) error {
	s, err := source.Open(ctx, r.System, &source.Options{Raw: true, Paths: []string{insidePath}})
	if err != nil {
		return err
	}
	defer s.Close()
	e := s.Tree.Lookup(insidePath)
	if e == nil || e.Info.Data == nil {
		return fmt.Errorf("%s: no /%s, which its pointers need", r.System, insidePath)
	}
	f, err := atomicfile.Create(r.WIM, true)
	if err != nil {
		return err
	}
	defer f.Abort()
	in, err := e.Info.Data.Content.OpenBlob(e.Info.Data)
	if err != nil {
		return err
	}
	defer in.Close()
	p := r.o.UI.Start("copy", e.Info.Data.Size)
	defer p.Done()
	if _, err := io.Copy(f, &counted{in, p.Add}); err != nil {
		return err
	}
	if err := f.Commit(); err != nil {
		return err
	}
	w, err := wim.Open(r.WIM)
	if err != nil {
		return fmt.Errorf("%s: /%s: %w", r.System, insidePath, err)
	}
	defer w.Close()
	if len(w.Images()) != 1 {
		return fmt.Errorf("%s: /%s has %d images, want the one that a conversion makes", r.System, insidePath, len(w.Images()))
	}
	r.image, r.guid = 1, w.GUID()
	if r.n.last(stepCaptured) != nil {
		return nil
	}
	for _, line := range []note{
		{Step: stepCapture, Name: w.Images()[0].Name(), New: true}, {Step: stepCaptured, GUID: r.guid.String(), Image: 1}, {Step: stepBuild},
	} {
		if err := r.n.add(line); err != nil {
			return err
		}
	}
	return nil
}

// counted is a reader that tells how much was read.
type counted struct {
	r   io.Reader
	add func(int64)
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.add(int64(n))
	return n, err
}

// verify reads the WIM back, from where it will stay.
func (r *run) verify(ctx context.Context) error {
	if r.Inside {
		if err := r.putInside(ctx); err != nil {
			return err
		}
	}
	if done := r.n.last(stepVerified); done != nil && done.GUID == r.guid.String() && done.Image == r.image {
		return nil
	}
	var problems []string
	if r.Inside {
		report, err := r.verifyInside(ctx)
		if err != nil {
			return err
		}
		for _, e := range report.Problems {
			problems = append(problems, e.Error())
		}
	} else {
		v, err := verify.Run(ctx, r.spec(), &verify.Options{Threads: r.o.Threads, UI: r.o.UI})
		if err != nil {
			return err
		}
		problems = v.Problems
	}
	if len(problems) > 0 {
		return ui.Hint(fmt.Errorf("%s does not read back as it was written: %s", r.WIM, problems[0]), "the disk that it is on may be failing; nothing was changed on the system")
	}
	return r.n.add(note{Step: stepVerified, GUID: r.guid.String(), Image: r.image})
}

// insideWIM opens the WIM on the system's volume.
func (r *run) insideWIM(ctx context.Context, use func(w *wim.Reader) error) error {
	s, err := source.Open(ctx, r.System, &source.Options{Raw: true, Paths: []string{insidePath}})
	if err != nil {
		return err
	}
	defer s.Close()
	e := s.Tree.Lookup(insidePath)
	if e == nil || e.Info.Data == nil {
		return os.ErrNotExist
	}
	at, err := s.NTFS.BlobReaderAt(e.Info.Data)
	if err != nil {
		return err
	}
	w, err := wim.NewReader(at, e.Info.Data.Size)
	if err != nil {
		return fmt.Errorf("%s: /%s: %w", r.System, insidePath, err)
	}
	return use(w)
}

func (r *run) verifyInside(ctx context.Context) (report *wim.VerifyResult, err error) {
	p := r.o.UI.Start("verify", 0)
	defer p.Done()
	err = r.insideWIM(ctx, func(w *wim.Reader) (err error) {
		report, err = w.Verify(ctx, &wim.VerifyOptions{Workers: r.o.Threads, Progress: p.Set})
		return err
	})
	return report, err
}

// putInside puts the WIM onto the system's volume, in one transaction, unless it is there.
func (r *run) putInside(ctx context.Context) error {
	err := r.insideWIM(ctx, func(w *wim.Reader) error {
		if w.GUID() != r.guid {
			return ui.Hint(fmt.Errorf("%s: /%s is there already, and another one", r.System, insidePath), "move it away, or put the WIM elsewhere: --store=FOLDER")
		}
		return nil
	})
	if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if _, err := reshape.Mkdir(ctx, r.System, []string{filepath.ToSlash(filepath.Dir(insidePath))}, true, r.o.UI); err != nil {
		return err
	}
	_, err = reshape.Put(ctx, r.System, []string{r.WIM}, "/"+insidePath, &reshape.PutOptions{UI: r.o.UI})
	return err
}

// build makes the target.
func (r *run) build(ctx context.Context) error {
	if r.n.last(stepBuilt) != nil && r.Form != InPlace {
		if _, err := os.Stat(r.Target); err == nil {
			return nil
		}
	}
	again := r.n.last(stepBuild) != nil
	r.again = again
	if !again {
		if err := r.n.add(note{Step: stepBuild}); err != nil {
			return err
		}
	}
	var err error
	switch r.Form {
	case InPlace:
		err = r.point(ctx)
	case VHD:
		err = r.buildVHD(ctx, again || r.o.Replace)
	default:
		err = r.buildDisk(ctx, again || r.o.Replace)
	}
	if err != nil {
		return err
	}
	return r.n.add(note{Step: stepBuilt})
}

func (r *run) buildVHD(ctx context.Context, overwrite bool) error {
	s, err := source.Open(ctx, r.spec(), &source.Options{Warn: r.o.UI.Warn})
	if err != nil {
		return err
	}
	defer s.Close()
	signature, err := randomSignature()
	if err != nil {
		return err
	}
	if err := install.Adopt(s.Tree, r.Windows.Folder, signature); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(r.Target), 0o777); err != nil {
		return err
	}
	made, err := deploy.Make(ctx, s, r.Target, &deploy.Options{
		Size: r.o.Size, Signature: signature, Overwrite: overwrite, Check: true, Threads: r.o.Threads, UI: r.o.UI,
		Wimboot: &deploy.Wimboot{Location: r.location(r.wim), UEFI: r.uefi && r.Windows.Build >= firstPointers},
	})
	if err != nil {
		return err
	}
	r.r.File = made.FileBytes
	r.r.Pointers = made.Plan.Total(wof.Backed).Files
	r.r.Plain = made.Totals.Files - r.r.Pointers
	return nil
}

func randomSignature() (uint32, error) {
	var b [4]byte
	for {
		if _, err := rand.Read(b[:]); err != nil {
			return 0, err
		}
		if n := binary.LittleEndian.Uint32(b[:]); n != 0 {
			return n, nil
		}
	}
}

func (r *run) buildDisk(ctx context.Context, overwrite bool) error {
	o := &install.Options{Wimboot: true, Size: r.o.Size, Timeout: -1, Title: r.Image, Overwrite: overwrite, Threads: r.o.Threads, UI: r.o.UI}
	switch r.o.Firmware {
	case host.BIOS:
		o.Firmware = install.BIOS
	case host.UEFI:
		o.Firmware = install.UEFI
	}
	if err := os.MkdirAll(filepath.Dir(r.Target), 0o777); err != nil {
		return err
	}
	made, err := install.Install(ctx, []string{r.spec()}, r.Target, o)
	if err != nil {
		return err
	}
	r.r.File = made.FileBytes
	r.r.Entry = made.Systems[0].Entry
	if plan := made.Systems[0].Plan; plan != nil {
		for _, n := range plan.Counts {
			switch n.Reason {
			case wof.Directory:
			case wof.Backed:
				r.r.Pointers += n.Files
			default:
				r.r.Plain += n.Files
			}
		}
	}
	return nil
}

// pointInto turns files of the volume into pointers into one WIM.
func (r *run) pointInto(ctx context.Context, spec string, at wof.Location) error {
	done, err := reshape.ToPointers(ctx, r.System, &reshape.Pointer{WIM: spec, Location: at, UEFI: r.uefi && r.Windows.Build >= firstPointers},
		&reshape.Options{Threads: r.o.Threads, UI: r.o.UI})
	if err != nil {
		return err
	}
	for _, e := range done.Failed {
		r.o.UI.Warn("%s", e)
	}
	if done.Failures > 0 {
		return fmt.Errorf("%s: %d files could not be changed", r.System, done.Failures)
	}
	r.r.Pointers, r.r.Plain = done.Changed.Files+done.Already.Files, len(done.Plain)
	r.r.Freed += done.Freed
	return nil
}

// wims are the files that have the contents of the image: the one that it is in, then other layers.
func (r *run) wims(image *source.Source) []string {
	list := []string{r.wim}
	for _, l := range image.Layers {
		if !slices.Contains(list, l.Path) {
			list = append(list, l.Path)
		}
	}
	return list
}

// location is where a layer will be at boot: in the folder of the first one.
func (r *run) location(layer string) wof.Location {
	at := r.Location
	if r.Store != "" && at.Path != "" {
		at.Path = at.Path[:strings.LastIndexByte(at.Path, '\\')+1] + filepath.Base(layer)
	}
	return at
}

// point turns the files of the volume into pointers, and tells the system so.
func (r *run) point(ctx context.Context) error {
	image, err := source.Open(ctx, r.spec(), nil)
	if err != nil {
		return err
	}
	layers := r.wims(image)
	if err := image.Close(); err != nil {
		return err
	}
	for i, layer := range layers {
		spec := layer + ":1"
		if i == 0 {
			spec = r.spec()
		}
		if err := r.pointInto(ctx, spec, r.location(layer)); err != nil {
			return err
		}
	}
	h, _, err := registry.Open(ctx, []string{r.System, "SYSTEM"}, r.o.UI.Warn)
	if err != nil {
		return err
	}
	defer h.Close()
	setup, err := h.Root().Create("Setup")
	if err != nil {
		return fmt.Errorf("%s: %w", h.Name, err)
	}
	if n, err := setup.Uint("", formValue); err == nil && n == 1 {
		return nil
	}
	h.Touch()
	if err := setup.SetDWord(formValue, 1); err != nil {
		return fmt.Errorf("%s: %w", h.Name, err)
	}
	return h.Save()
}

// formValue of the key Setup has servicing make pointers of new files. It is set last in place.
const formValue = "WimBoot"

// changed are the files that a conversion makes its own, by the folded beginning of their paths.
func (r *run) changed(path string) bool {
	path = strings.ToLower(strings.Trim(path, "/"))
	for _, p := range []string{
		strings.ToLower(r.Windows.Folder) + "/system32/config/system", "system volume information", "wimboot", // SYSTEM, its logs; WimOverlay.dat
	} {
		if path == p || strings.HasPrefix(path, p+"/") || strings.HasPrefix(path, p+".log") {
			return true
		}
	}
	return path == "."
}

// check reads the result back: its structure, and every file by its pointer or its content against the image.
func (r *run) check(ctx context.Context) error {
	disk, _ := source.Split(r.System)
	if r.Form != InPlace {
		disk = r.Target
	}
	found, err := check.Run(ctx, disk, &check.Options{UI: r.o.UI})
	if err != nil {
		return err
	}
	for _, f := range found.Findings {
		switch {
		case f.Severity == check.Notice:
		case r.Form == InPlace: // it may have been there before
			r.o.UI.Warn("%s: %s: %s", disk, f.Where, f.Message())
		default:
			return fmt.Errorf("%s: %s: %s", disk, f.Where, f.Message())
		}
	}
	if r.Form == WholeDisk {
		return r.compareInner(ctx)
	}
	spec := r.System
	if r.Form == VHD {
		spec = r.Target
	}
	return r.compare(ctx, spec)
}

func (r *run) compare(ctx context.Context, spec string) error {
	image, err := source.Open(ctx, r.spec(), nil)
	if err != nil {
		return err
	}
	defer image.Close()
	made, err := source.Open(ctx, spec, &source.Options{WIMs: r.wims(image), Warn: r.o.UI.Warn})
	if err != nil {
		return err
	}
	defer made.Close()
	if made.Links != nil && r.r.Pointers == 0 {
		r.r.Pointers = made.Links.Files
	}
	return r.compareTrees(ctx, spec, made.Tree, image.Tree)
}

// compareTrees compares what was made with the image: all that a capture takes, but what a conversion changes.
func (r *run) compareTrees(ctx context.Context, spec string, made, image *winfile.Tree) error {
	exclude, err := archive.Exclusions(spec, made, "", r.o.UI)
	if err != nil {
		return err
	}
	left := func(path string, isDir bool) bool { return exclude(path, isDir) || r.changed(path) && path != "." }
	a, _ := tree.Filter(made, left)
	b, _ := tree.Filter(image, left)
	p := r.o.UI.Start("compare", 0)
	defer p.Done()
	diff, err := tree.Compare(ctx, a, b, &tree.CompareOptions{
		Limit: 1000, Workers: r.o.Threads, Progress: p.Add, IgnoreAttributes: winfile.AttrCompressed | winfile.AttrNormal | winfile.AttrSparse, DefaultSecurity: true,
		Ignore: tree.DiffChanged | tree.DiffAccessed,
	})
	if err != nil {
		return err
	}
	list := slices.DeleteFunc(diff.List, func(d tree.Difference) bool { return d.Path == "." || r.Form == InPlace && d.Path == "wimboot" })
	if len(list) > 0 && r.Form == InPlace && r.again {
		// What was used since stays plain, and is in no image; pointers are made of what was read and hashed only.
		r.o.UI.Warn("%s was used since it was captured: %d of its files are not as in the image", spec, len(list))
		list = nil
	}
	if len(list) > 0 {
		return fmt.Errorf("%s differs from the image that was made of it: %s", spec, list[0])
	}
	return nil
}

// enter puts the VHD into the menu of a boot store, unless it is there.
func (r *run) enter(ctx context.Context) error {
	if r.Boot == "" {
		return nil
	}
	given := []string{r.Boot}
	if !registry.IsHive(r.Boot) {
		given = append(given, "BCD")
	}
	h, _, err := registry.Open(ctx, given, r.o.UI.Warn)
	if err != nil {
		return err
	}
	defer h.Close()
	s, err := bcd.Of(h.Hive)
	if err != nil {
		return fmt.Errorf("%s: %w", h.Name, err)
	}
	device := bcd.VHD(r.partition(), r.VHDPath, bcd.PathElement)
	entries, err := s.Entries()
	if err != nil {
		return fmt.Errorf("%s: %w", h.Name, err)
	}
	for _, e := range entries {
		if d, err := e.Element(bcd.OSDeviceElement); err == nil {
			if at, err := d.Device(); err == nil && at.String() == device.String() {
				r.r.Entry = bcd.Alias(e.ID)
				return nil
			}
		}
	}
	release := bcd.Windows7
	switch {
	case r.Windows.Build >= 10240:
		release = bcd.Windows10
	case r.Windows.Build >= 9200:
		release = bcd.Windows8
	}
	h.Touch()
	const x86 = 0
	id, err := s.AddWindows(bcd.Windows{
		Release: release, EFI: r.uefi, X86: r.Windows.Facts.Arch == x86, Device: device, SystemRoot: `\` + r.Windows.Folder, Description: r.Image + " (husk)",
	}, nil)
	if err != nil {
		return fmt.Errorf("%s: %w", h.Name, err)
	}
	r.r.Entry = bcd.Alias(id)
	if err := showMenu(s); err != nil {
		return fmt.Errorf("%s: %w", h.Name, err)
	}
	return h.Save()
}

// showMenu has the boot manager wait for a choice, if it started the only system at once so far.
func showMenu(s *bcd.Store) error {
	const wait = 10 // seconds
	manager, err := s.Object(bcd.BootManagerID)
	if err != nil {
		return err
	}
	if e, err := manager.Element(bcd.TimeoutElement); err == nil {
		if n, err := e.Integer(); err == nil && n > 0 {
			return nil
		}
	}
	return manager.SetInteger(bcd.TimeoutElement, wait)
}

// partition is the volume of WIM and VHD as boot stores name it.
func (r *run) partition() bcd.Descriptor {
	if r.Location.Table == wof.TableGPT {
		return bcd.GPTPartition(r.Location.GPT())
	}
	signature, offset := r.Location.MBR()
	return bcd.MBRPartition(signature, int64(offset))
}

// fingerprint sums up names, sizes and times of a tree: a system that was used since has another one. What a conversion in place puts onto
// the volume before the first file becomes a pointer does not count.
func fingerprint(t *winfile.Tree) string {
	h := sha256.New()
	var b []byte
	for path, e := range t.All() {
		i := e.Info
		if folded := strings.ToLower(path); folded == "." || folded == filepath.Dir(insidePath) || folded == insidePath {
			continue
		}
		b = append(b[:0], path...)
		b = append(b, 0)
		for _, n := range []uint64{uint64(i.Size()), uint64(i.Written), uint64(i.Changed), uint64(i.Attributes), i.ID} {
			b = binary.LittleEndian.AppendUint64(b, n)
		}
		h.Write(b)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// head reads the beginning of a content.
func head(b *winfile.Blob) ([]byte, error) {
	r, err := b.Content.OpenBlob(b)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	part := make([]byte, min(b.Size, sampleBytes))
	_, err = io.ReadFull(r, part)
	return part, err
}

package store

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"husk/internal/deploy"
	"husk/internal/disk"
	"husk/internal/tree"
	"husk/wim"
	"husk/wof"
)

// pointed is a store of two points, and a disk of the first one, which is dropped: only the disk needs the first layer.
func pointed(t *testing.T, name string) (s *Store, path string) {
	t.Helper()
	s = newStore(t)
	src := filepath.Join(t.TempDir(), "src")
	for v := range 2 {
		tinySystem(t, src, 6*v)
		add(t, s, src, AddOptions{System: "x64"})
	}
	path = makeDisk(t, s, "x64~1", name)
	if err := s.Drop(s.Points()[0]); err != nil {
		t.Fatal(err)
	}
	return s, path
}

// stays fails if a sweep removes a layer.
func stays(t *testing.T, s *Store, what string) {
	t.Helper()
	n := len(s.Layers())
	r, err := s.Sweep(context.Background())
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if len(r.Removed) > 0 || len(s.Layers()) != n {
		t.Fatalf("%s: removed %q", what, r.Removed)
	}
}

// TestUnfinishedChange: a disk with a change that was cut off may need more than is seen, until that is finished.
func TestUnfinishedChange(t *testing.T) {
	s := newStore(t)
	src := filepath.Join(t.TempDir(), "src")
	for v := range 2 {
		tinySystem(t, src, 6*v)
		add(t, s, src, AddOptions{System: "x64"})
	}
	path := makeDisk(t, s, "x64", "d.vhd")
	if err := s.Drop(s.Points()[0]); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+disk.JournalMark, []byte("HUSKJRNL"), 0o600); err != nil {
		t.Fatal(err)
	}
	stays(t, s, "a change was cut off")
	if err := os.Remove(path + disk.JournalMark); err != nil {
		t.Fatal(err)
	}
	r, err := s.Sweep(context.Background())
	if err != nil || len(r.Removed) != 1 {
		t.Fatalf("finished: removed %q, %v", r.Removed, err)
	}
}

// TestUnreadCatalogue: a husk.toml that cannot be read may name disks that need layers, so nothing is changed and nothing of it is lost.
func TestUnreadCatalogue(t *testing.T) {
	ctx := context.Background()
	s, inside := pointed(t, "d.vhd")
	outside := filepath.Join(t.TempDir(), "d.vhd")
	if err := os.Rename(inside, outside); err != nil {
		t.Fatal(err)
	}
	if err := s.AddDisk(ctx, outside, "x64", nil); err != nil {
		t.Fatal(err)
	}
	stays(t, s, "with its husk.toml")
	name := filepath.Join(s.Dir, CatalogueName)
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Unlock(); err != nil {
		t.Fatal(err)
	}
	for what, bad := range map[string]string{
		"cut": string(good[:len(good)/2]) + "\n[[", "empty": "", "of a later husk": strings.Replace(string(good), "version = 1", "version = 2", 1), "noise": "\x00\x01\x02",
	} {
		if err := os.WriteFile(name, []byte(bad), 0o666); err != nil {
			t.Fatal(err)
		}
		if err := s.Lock(ctx, nil); err == nil || !strings.Contains(err.Error(), CatalogueName) {
			t.Errorf("%s: locked with %v", what, err)
		}
		if b, err := os.ReadFile(name); err != nil || string(b) != bad {
			t.Errorf("%s: %v, it was written over", what, err)
		}
	}
	if err := s.Lock(ctx, &LockOptions{Rebuild: true}); err != nil {
		t.Fatal(err)
	}
	if err := s.Rebuild(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(name + ".bad"); err != nil {
		t.Error(err)
	}
	if err := s.AddDisk(ctx, outside, "x64", nil); err != nil {
		t.Fatal(err)
	}
	stays(t, s, "rebuilt")
	mustCheck(t, s)
}

// TestDisksElsewhere: a disk that is reached through a link, that a restore keeps beside a recorded one, or that is in another container.
func TestDisksElsewhere(t *testing.T) {
	ctx := context.Background()
	s, path := pointed(t, "x64/d.vhd")
	far := filepath.Join(t.TempDir(), "far")
	if err := os.Rename(filepath.Dir(path), far); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(far, filepath.Join(s.Dir, "x64")); err != nil {
		t.Skip("no symbolic links here")
	}
	stays(t, s, "in a folder that is a link")
	if err := os.Remove(filepath.Join(s.Dir, "x64")); err != nil {
		t.Fatal(err)
	}
	disk := filepath.Join(far, "d.vhd")
	if err := os.Symlink(disk, filepath.Join(s.Dir, "d.vhd")); err != nil {
		t.Fatal(err)
	}
	stays(t, s, "a link")
	if err := os.Remove(filepath.Join(s.Dir, "d.vhd")); err != nil {
		t.Fatal(err)
	}

	// As a restore to the newest point leaves it: what is on record points elsewhere, and the old one stays beside it.
	if err := os.Rename(disk, disk+".old"); err != nil {
		t.Fatal(err)
	}
	fresh := makeDisk(t, s, "x64", "fresh.vhd")
	if err := os.Rename(fresh, disk); err != nil {
		t.Fatal(err)
	}
	if err := s.AddDisk(ctx, disk, "x64", nil); err != nil {
		t.Fatal(err)
	}
	stays(t, s, "kept beside a recorded disk")
	mustCheck(t, s)
}

// TestDiskOfSeveralVolumes: each of its volumes may point into layers.
func TestDiskOfSeveralVolumes(t *testing.T) {
	s, path := pointed(t, "d.vhd")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	in, err := s.Source(context.Background(), s.Dropped()[0])
	if err != nil {
		t.Fatal(err)
	}
	_, err = deploy.Make(context.Background(), in, path, &deploy.Options{
		UI: quiet(), Size: 40 << 20, Wimboot: &deploy.Wimboot{Location: wof.NewMBRLocation(0x1a2b3c4d, 1<<20, `\wimboot\wimboot.wim`)},
	})
	if err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(s.Dir, "two.img")
	twoVolumes(t, path, image)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	stays(t, s, "two volumes")
	uses, err := s.Uses(context.Background())
	if err != nil || len(uses) != 1 || uses[0].Err != nil || len(uses[0].Layers) == 0 {
		t.Fatalf("%v, %+v", err, uses)
	}
	if err := s.AddDisk(context.Background(), image, "x64", nil); err != nil {
		t.Error(err)
	}
	if err := s.AddDisk(context.Background(), image+":2", "x64", nil); err != nil {
		t.Error(err)
	}
	if err := s.AddDisk(context.Background(), image+":3", "x64", nil); err == nil {
		t.Error("a partition that is not there was recorded")
	}
}

// twoVolumes makes a disk with the volume of another one twice.
func twoVolumes(t *testing.T, from, to string) {
	t.Helper()
	d, err := disk.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	p, err := d.NTFS()
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sectors := uint32(p.Size / 512)
	mbr := make([]byte, 512)
	mbr[510], mbr[511] = 0x55, 0xaa
	for i := range uint32(2) {
		e := mbr[446+16*i:]
		e[4] = 7
		put32(e[8:], 2048+i*sectors)
		put32(e[12:], sectors)
		w := io.NewOffsetWriter(f, int64(2048+i*sectors)*512)
		if _, err := io.Copy(w, d.Section(p)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.WriteAt(mbr, 0); err != nil {
		t.Fatal(err)
	}
}

func put32(b []byte, v uint32) {
	b[0], b[1], b[2], b[3] = byte(v), byte(v>>8), byte(v>>16), byte(v>>24)
}

// TestCopiedLayer: of two WIMs with one GUID it is not known which one a disk will find.
func TestCopiedLayer(t *testing.T) {
	s, _ := pointed(t, "d.vhd")
	b, err := os.ReadFile(filepath.Join(s.Dir, "wimboot.wim"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.Dir, "wimboot - copy.wim"), b, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := s.load(); err != nil {
		t.Fatal(err)
	}
	if len(s.Points()) != 1 {
		t.Errorf("points %v", s.Points())
	}
	stays(t, s, "copied")
}

// TestReplacedLayer: a WIM with another GUID at the place of a layer is what Windows will find there.
func TestReplacedLayer(t *testing.T) {
	s, _ := pointed(t, "d.vhd")
	name := filepath.Join(s.Dir, "wimboot.wim")
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[24] ^= 0xff // of the GUID
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, b, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := s.load(); err != nil {
		t.Fatal(err)
	}
	stays(t, s, "another GUID")
	r, err := s.Check(context.Background(), &CheckOptions{})
	if err != nil || !strings.Contains(strings.Join(r.Notes, "\n"), "no layer of this store") {
		t.Errorf("%v, notes %q", err, r.Notes)
	}
}

// TestClashingID: an image that took over the id of a point, and was changed, hides that point from nobody.
func TestClashingID(t *testing.T) {
	s := newStore(t)
	src := filepath.Join(t.TempDir(), "src")
	tinySystem(t, src, 0)
	a := add(t, s, src, AddOptions{System: "x64", Name: "a"})
	id := a.Point.ID
	old := filepath.Join(t.TempDir(), "old")
	if err := os.CopyFS(old, os.DirFS(src)); err != nil {
		t.Fatal(err)
	}
	tinySystem(t, src, 6)
	b := add(t, s, src, AddOptions{System: "x64", Name: "b"})
	if err := s.setTexts(map[*Point]map[string]string{b.Point: {"NOTE": "x"}}); err != nil {
		t.Fatal(err)
	}
	p, err := s.Point("b")
	if err != nil {
		t.Fatal(err)
	}
	f, err := s.files.Change(p.Layer.Path)
	if err != nil {
		t.Fatal(err)
	}
	size, err := sizeOf(f)
	if err == nil {
		err = wim.SetProperties(f, size, map[int]map[string]string{1: {propPoint: id}})
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.load(); err != nil {
		t.Fatal(err)
	}
	stays(t, s, "one id twice")
	if len(s.Points()) != 2 || len(s.Warnings) == 0 {
		t.Errorf("points %v, warnings %q", s.Points(), s.Warnings)
	}
	samePointBut(t, s, "a", old, tree.DiffCreated|tree.DiffWritten)
	samePoint(t, s, "b", src)
	if _, err := s.Merge(context.Background(), &MergeOptions{}); err != nil {
		t.Fatal(err)
	}
	mustCheck(t, s)
	samePointBut(t, s, "a", old, tree.DiffCreated|tree.DiffWritten)
	samePoint(t, s, "b", src)
}

// TestSharedLayer: a layer that two stores have is changed in neither.
func TestSharedLayer(t *testing.T) {
	ctx := context.Background()
	for what, link := range map[string]func(string, string) error{"hard link": os.Link, "symbolic link": os.Symlink} {
		s := newStore(t)
		src := filepath.Join(t.TempDir(), "src")
		tinySystem(t, src, 0)
		add(t, s, src, AddOptions{System: "x64"})
		other := filepath.Join(t.TempDir(), "other")
		if err := os.Mkdir(other, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := link(filepath.Join(s.Dir, "wimboot.wim"), filepath.Join(other, "wimboot.wim")); err != nil {
			t.Logf("no %s here: %v", what, err)
			continue
		}
		o, err := Create(other, &CreateOptions{UI: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		if err := o.Lock(ctx, nil); err != nil {
			t.Fatal(err)
		}
		if err := o.Drop(o.Points()[0]); err == nil {
			t.Errorf("%s: a point of two stores was dropped", what)
		}
		if len(o.Points()) != 1 {
			t.Errorf("%s: points %v", what, o.Points())
		}
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
		if err := s.load(); err != nil {
			t.Fatal(err)
		}
		samePoint(t, s, "x64", src)
	}
}

// TestUndropWithout: a dropped point whose contents are gone does not come back.
func TestUndropWithout(t *testing.T) {
	s := newStore(t)
	src := filepath.Join(t.TempDir(), "src")
	tinySystem(t, src, 0)
	add(t, s, src, AddOptions{System: "x64", Name: "a"})
	tinySystem(t, src, 3)
	add(t, s, src, AddOptions{System: "x64", Name: "b"})
	if err := s.Drop(s.Points()...); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(s.Dir, "wimboot.wim")); err != nil { // as a sweep that a disk let have only this one
		t.Fatal(err)
	}
	if err := s.load(); err != nil {
		t.Fatal(err)
	}
	if len(s.Dropped()) != 1 {
		t.Fatalf("dropped %v", s.Dropped())
	}
	if err := s.Undrop(s.Dropped()[0]); err == nil || !strings.Contains(err.Error(), "cannot come back") {
		t.Errorf("got %v", err)
	}
	if len(s.Points()) != 0 {
		t.Errorf("points %v", s.Points())
	}
}

// TestUnfinishedConversion: a conversion that was cut off may have made pointers that nobody knows of.
func TestUnfinishedConversion(t *testing.T) {
	for _, name := range []string{"wimboot.wim", "d.vhd"} {
		s, path := pointed(t, "d.vhd")
		if err := os.WriteFile(filepath.Join(s.Dir, name+conversionMark), []byte("{}\n"), 0o666); err != nil {
			t.Fatal(err)
		}
		if err := s.AddDisk(context.Background(), path, "x64", nil); err != nil {
			t.Fatal(err)
		}
		stays(t, s, name)
		if err := s.ForgetDisk(path); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		stays(t, s, name+" is not there")
		if err := os.Remove(filepath.Join(s.Dir, name+conversionMark)); err != nil {
			t.Fatal(err)
		}
		if r, err := s.Sweep(context.Background()); err != nil || len(r.Removed) != 1 {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

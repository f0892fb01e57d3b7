package tree

import (
	"encoding/binary"
	"strings"
	"testing"

	"husk/winfile"
)

func TestHostLink(t *testing.T) {
	roots := []string{"/srv/image", "/real/image"}
	for _, tt := range []struct{ target, subst string }{
		{"a", `a`}, {"../x/y", `..\x\y`}, {"dir/", `dir\`}, {"a/./b//c", `a\.\b\\c`}, {"中文", `中文`},
		{"/etc/x", `\??\C:\etc\x`}, {"/", `\??\C:\`}, {"/srv/image2", `\??\C:\srv\image2`},
		{"/srv/image/../x", `\??\C:\srv\image\..\x`},
		{"/srv/image", `\??\C:`}, {"/srv/image/", `\??\C:\`}, {"/srv/image/dir/x", `\??\C:\dir\x`},
	} {
		r, err := fixLink(tt.target, roots)
		if err == nil && r == nil {
			r, err = symlinkReparse(tt.target)
		}
		if err != nil {
			t.Fatal(err)
		}
		subst, relative, err := reparseTarget(r)
		if err != nil || subst != tt.subst || relative == strings.HasPrefix(tt.target, "/") {
			t.Errorf("%s became %q, %v, %v; want %q", tt.target, subst, relative, err, tt.subst)
		}
		if inside := strings.HasPrefix(tt.target, "/srv/image") && !strings.HasPrefix(tt.target, "/srv/image2") &&
			!strings.Contains(tt.target, ".."); r.NotFixed == inside {
			t.Errorf("%s: not fixed %v", tt.target, r.NotFixed)
		}
		if back, ok := hostLink(r, "/srv/image"); !ok || back != tt.target {
			t.Errorf("%s came back as %q, %v", tt.target, back, ok)
		}
	}
	if r, err := fixLink("/real/image/x", roots); err != nil || r == nil || r.NotFixed {
		t.Errorf("the other name of the root: %+v, %v", r, err)
	}
	if _, err := symlinkReparse(strings.Repeat("x", 9000)); err == nil {
		t.Error("a target too long for a reparse point was accepted")
	}
}

// What no link of the host gives back exactly is not made one.
func TestHostLinkRefuses(t *testing.T) {
	ok, err := symlinkReparse("/a")
	if err != nil {
		t.Fatal(err)
	}
	change := func(f func(r *winfile.Reparse)) *winfile.Reparse {
		r := *ok
		r.Data = append([]byte(nil), ok.Data...)
		f(&r)
		return &r
	}
	root := rootReparse()
	root.NotFixed = true
	for name, r := range map[string]*winfile.Reparse{
		"junction":          change(func(r *winfile.Reparse) { r.Tag = winfile.TagMountPoint }),
		"reserved field":    change(func(r *winfile.Reparse) { r.Reserved = 1 }),
		"cut":               change(func(r *winfile.Reparse) { r.Data = r.Data[:len(r.Data)-1] }),
		"no names":          change(func(r *winfile.Reparse) { r.Data = r.Data[:12] }),
		"too short":         change(func(r *winfile.Reparse) { r.Data = r.Data[:11] }),
		"length 0xffff":     change(func(r *winfile.Reparse) { binary.LittleEndian.PutUint16(r.Data[2:], 0xffff) }),
		"offset 0xffff":     change(func(r *winfile.Reparse) { binary.LittleEndian.PutUint16(r.Data, 0xffff) }),
		"drive D":           change(func(r *winfile.Reparse) { r.Data[12+8] = 'D' }),
		"flag 2":            change(func(r *winfile.Reparse) { r.Data[8] = 2 }),
		"NUL in the target": change(func(r *winfile.Reparse) { r.Data[12+14] = 0 }),
		"drive alone":       root,
	} {
		if to, ok := hostLink(r, "/r"); ok {
			t.Errorf("%s: a link to %q", name, to)
		}
	}
}

func TestFixPointAndRetarget(t *testing.T) {
	for _, tag := range []uint32{winfile.TagMountPoint, winfile.TagSymlink} {
		r := &winfile.Reparse{Tag: tag, NotFixed: true}
		setTarget(r, `E:\Image\Users\x`)
		fixPoint(r, []string{`E:\other`, `e:\image`})
		if to, _, err := reparseTarget(r); err != nil || to != `\??\C:\Users\x` || r.NotFixed {
			t.Errorf("fixed to %q, %v", to, err)
		}
		retarget(r, `D:\new`)
		if to, _, err := reparseTarget(r); err != nil || to != `\??\D:\new\Users\x` {
			t.Errorf("retargeted to %q, %v", to, err)
		}
		setTarget(r, `E:\Imagery`)
		r.NotFixed = true
		fixPoint(r, []string{`E:\Image`})
		if to, _, _ := reparseTarget(r); to != `\??\E:\Imagery` || !r.NotFixed {
			t.Errorf("a target outside became %q", to)
		}
		retarget(r, `D:\`)
		if to, _, _ := reparseTarget(r); to != `\??\E:\Imagery` {
			t.Errorf("a target that is not fixed became %q", to)
		}
	}
}

func FuzzReparseTarget(f *testing.F) {
	r, err := symlinkReparse("/a/b")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(r.Data, false, true)
	f.Add(junction(`\??\C:\Users`), true, false)
	f.Add(rootReparse().Data, false, false)
	f.Fuzz(func(t *testing.T, data []byte, mount, notFixed bool) {
		r := &winfile.Reparse{Tag: winfile.TagSymlink, NotFixed: notFixed, Data: data}
		if mount {
			r.Tag = winfile.TagMountPoint
		}
		_ = reparseText(r)
		to, ok := hostLink(r, "/root")
		if ok { // then a scan must give the same point back
			back, err := fixLink(to, []string{"/root"})
			if notFixed || err == nil && back == nil {
				back, err = symlinkReparse(to)
			}
			if err != nil || string(back.Data) != string(data) {
				t.Fatalf("link %q gives %+v, %v; want %x", to, back, err, data)
			}
		}
		fixPoint(r, []string{`C:\`})
		retarget(r, `D:\x`)
	})
}

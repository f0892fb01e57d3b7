package store

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

const catalogueText = `# by hand
version = 1
compress = 'lzx'

[boot]
disk = 'mbr:1a2b3c4d:1048576'
path = '\wimboot'

[[disk]]
path = 'x64/win7.vhd'
system = 'x64'
layers = ['a5b04cf5-06a3-4c4b-a1ae-ca3ddbd0bb80']

[[layer]]
file = 'wimboot.wim'
guid = 'a5b04cf5-06a3-4c4b-a1ae-ca3ddbd0bb80'

[[point]]
system = 'x64'
name = '补丁'
date = 2026-05-31T18:00:00Z
note = """two
lines"""
layer = 'wimboot.wim'
image = 1
`

func TestCatalogue(t *testing.T) {
	c, err := parseCatalogue([]byte(catalogueText))
	if err != nil {
		t.Fatal(err)
	}
	want := &catalogue{
		Version: 1, Compress: "lzx", Boot: &BootPlace{"mbr:1a2b3c4d:1048576", `\wimboot`},
		Disks:  []diskEntry{{"x64/win7.vhd", "x64", "", []string{"a5b04cf5-06a3-4c4b-a1ae-ca3ddbd0bb80"}, nil}},
		Layers: []layerEntry{{"wimboot.wim", "a5b04cf5-06a3-4c4b-a1ae-ca3ddbd0bb80"}},
		Points: []pointEntry{{"x64", "补丁", time.Date(2026, 5, 31, 18, 0, 0, 0, time.UTC), "two\nlines", "wimboot.wim", 1}},
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("read %+v, want %+v", c, want)
	}
	for text, wrong := range map[string]string{
		"version = 2": "version 2, want 1", "version = 1\nversion = 1": "line 2", "version = 'x'": "line 1", "[[point]": "line 1", "": "version 0",
		"version = 1\n[[point]]\nimage = 99999999999999999999": "line 3",
	} {
		if _, err := parseCatalogue([]byte(text)); err == nil || !strings.Contains(err.Error(), wrong) {
			t.Errorf("%q: %v, want an error with %q", text, err, wrong)
		}
	}
}

// FuzzCatalogue: what is read is written and read again as it was.
func FuzzCatalogue(f *testing.F) {
	f.Add([]byte(catalogueText))
	f.Add([]byte("version = 1"))
	f.Add([]byte("version = 1\n[[disk]]\npath='''\n'''\n[[point]]\ndate=1601-01-01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseCatalogue(b)
		if err != nil {
			return
		}
		text, err := c.marshal()
		if err != nil {
			return // a time of a year that TOML cannot have
		}
		again, err := parseCatalogue(text)
		if err != nil {
			t.Fatalf("%v:\n%s", err, text)
		}
		if a, err := again.marshal(); err != nil || string(a) != string(text) {
			t.Errorf("%v: written again:\n%s\nwas\n%s", err, a, text)
		}
	})
}

package find

import (
	"strings"
	"testing"
	"time"

	"husk/internal/sample"
	"husk/winfile"
)

func TestWildcard(t *testing.T) {
	for _, tt := range []struct {
		pattern, name string
		want          bool
	}{
		{"*", "", true}, {"", "", true}, {"", "a", false}, {"*.dll", "NTDLL.DLL", true}, {"nt*.dll", "ntdll.exe", false},
		{"?", "", false}, {"?", "中", true}, {"a*b*c", "aXbYbZc", true}, {"a*b*c", "aXbYbZ", false}, {"**", "x", true},
		{"*a", "aaa", true}, {"?*?", "a", false}, {"*张*", "用户张三", true},
		{strings.Repeat("*a", 50) + "b", strings.Repeat("a", 200), false}, // no exponential search
	} {
		if got := Wildcard(tt.pattern, tt.name); got != tt.want {
			t.Errorf("%q matches %q: %t", tt.pattern, tt.name, got)
		}
	}
}

// A pattern that is a name without wildcards matches that name, and * any.
func FuzzWildcard(f *testing.F) {
	f.Add("*.d?l", "a.dll")
	f.Add("a*b?c*", "aXbYcZ")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		got := Wildcard(pattern, name)
		if !HasWildcard(pattern) && got != winfile.EqualFold(pattern, name) {
			t.Errorf("%q matches %q: %t", pattern, name, got)
		}
		if !Wildcard("*", name) || !Wildcard(pattern+"*", pattern) {
			t.Errorf("* does not match %q", name)
		}
		if got && !Wildcard("*"+pattern+"*", "x"+name+"y") {
			t.Errorf("%q matches %q, but not inside", pattern, name)
		}
	})
}

func TestGlob(t *testing.T) {
	tree, err := sample.Tree(sample.Options{Programs: 8})
	if err != nil {
		t.Fatal(err)
	}
	for pattern, want := range map[string]int{
		"/": 1, "": 1, "/bootmgr": 1, `\BOOTMGR`: 1, "/boot*": 2, "/PROGRA~1": 1, "/nothing": 0, "/Users/*/NTUSER.DAT": 2, "/*/*/nothing": 0, "/./bootmgr": 1,
	} {
		got := Glob(tree, pattern)
		if len(got) != want {
			t.Errorf("%s finds %v", pattern, got)
		}
		for _, f := range got {
			if tree.Lookup(f.Path) != f.Entry {
				t.Errorf("%s is at %s, where something else is", pattern, f.Path)
			}
		}
	}
}

func TestParsing(t *testing.T) {
	for s, want := range map[string][2]int64{"+1K": {1025, -1}, "-1K": {0, 1023}, "7": {7, 7}, "0": {0, 0}} {
		var q Query
		if err := q.ParseSize(s); err != nil || !q.Sized || q.Min != want[0] || q.Max != want[1] {
			t.Errorf("size %s: %+v, %v", s, q, err)
		}
	}
	for _, s := range []string{"", "+", "-0", "++1", "x"} {
		if err := new(Query).ParseSize(s); err == nil {
			t.Errorf("size %q is accepted", s)
		}
	}
	now := time.Date(2026, 1, 10, 12, 0, 0, 0, time.UTC)
	for s, want := range map[string]time.Time{
		"2011-04-01": time.Date(2011, 4, 1, 0, 0, 0, 0, time.UTC), "7d": now.AddDate(0, 0, -7), "90m": now.Add(-90 * time.Minute),
		"2011-04-01T12:00:00+02:00": time.Date(2011, 4, 1, 10, 0, 0, 0, time.UTC), "2011-04-01 01:02:03": time.Date(2011, 4, 1, 1, 2, 3, 0, time.UTC),
	} {
		if got, err := ParseTime(s, now); err != nil || !got.Equal(want) {
			t.Errorf("time %s: %v, %v, want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"", "soon", "-3h", "7dd", "-1d"} {
		if _, err := ParseTime(s, now); err == nil {
			t.Errorf("time %q is accepted", s)
		}
	}
	var q Query
	if err := q.ParseAttributes("hs-r+a"); err != nil || q.Set != winfile.AttrHidden|winfile.AttrSystem|winfile.AttrArchive || q.Clear != winfile.AttrReadOnly {
		t.Errorf("attributes: %+v, %v", q, err)
	}
	if err := q.ParseAttributes("q"); err == nil {
		t.Error("attribute q is accepted")
	}
}

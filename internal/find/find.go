// Package find picks entries out of a tree: by wildcards in a path, and by what they are.
package find

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"husk/internal/place"
	"husk/internal/ui"
	"husk/winfile"
)

// Query says which entries are wanted; each field narrows, and its zero value does not.
type Query struct {
	Name         string // wildcard for the last name of the path, or its short name
	Type         byte   // 'f' file, 'd' directory, 'l' symbolic link or junction
	Min, Max     int64  // bytes of the unnamed data; Max -1 means no limit
	Sized        bool   // Min and Max count
	Newer, Older time.Time
	Set, Clear   winfile.Attributes
	Where        place.Kind
	SHA1         winfile.SHA1 // of the unnamed data, which is read where that is not known
}

// Match reports whether an entry is wanted. An error means that content had to be read for it and cannot be.
func (q *Query) Match(m *place.Map, e *winfile.Entry) (bool, error) {
	i := e.Info
	switch {
	case q.Name != "" && !Wildcard(q.Name, e.Name) && (e.ShortName == "" || !Wildcard(q.Name, e.ShortName)),
		q.Type != 0 && q.Type != TypeOf(i),
		i.Attributes&q.Set != q.Set, i.Attributes&q.Clear != 0,
		!q.Newer.IsZero() && !i.Written.Time().After(q.Newer),
		!q.Older.IsZero() && !i.Written.Time().Before(q.Older),
		q.Where != "" && (q.Where != m.KindOf(i) || i.Attributes&winfile.AttrDirectory != 0):
		return false, nil
	}
	if !q.Sized && q.SHA1 == (winfile.SHA1{}) {
		return true, nil
	}
	if i.Attributes&winfile.AttrDirectory != 0 {
		return false, nil
	}
	if n := i.Size(); q.Sized && (n < q.Min || q.Max >= 0 && n > q.Max) {
		return false, nil
	}
	if q.SHA1 == (winfile.SHA1{}) {
		return true, nil
	}
	h, err := Hash(m, i)
	return h == q.SHA1, err
}

// TypeOf is the letter of what a file is.
func TypeOf(i *winfile.Info) byte {
	switch {
	case i.Reparse != nil && (i.Reparse.Tag == winfile.TagSymlink || i.Reparse.Tag == winfile.TagMountPoint || i.Reparse.Tag == winfile.TagLXSymlink):
		return 'l'
	case i.Attributes&winfile.AttrDirectory != 0:
		return 'd'
	}
	return 'f'
}

// Hash returns the SHA-1 of the unnamed data: as the image or the pointer has it, or else by reading. A file without data has that of
// nothing.
func Hash(m *place.Map, i *winfile.Info) (winfile.SHA1, error) {
	p, err := m.File(i)
	if err != nil {
		return winfile.SHA1{}, err
	}
	if p.SHA1 != (winfile.SHA1{}) {
		return p.SHA1, nil
	}
	if p.Kind == place.None {
		return sha1.Sum(nil), nil
	}
	if i, err = m.Expand(i); err != nil {
		return winfile.SHA1{}, err
	}
	if i.Data == nil {
		return sha1.Sum(nil), nil
	}
	r, err := i.Data.Content.OpenBlob(i.Data)
	if err != nil {
		return winfile.SHA1{}, err
	}
	defer r.Close()
	h := sha1.New()
	if _, err := io.Copy(h, r); err != nil {
		return winfile.SHA1{}, err
	}
	return winfile.SHA1(h.Sum(nil)), nil
}

// Wildcard reports whether a name matches a pattern of * and ?, ignoring case as Windows does. A ? is one UTF-16 unit.
func Wildcard(pattern, name string) bool {
	p, n := winfile.UTF16FromName(winfile.Fold(pattern)), winfile.UTF16FromName(winfile.Fold(name))
	star, mark, i := -1, 0, 0
	for k := 0; k < len(n); {
		switch {
		case i < len(p) && p[i] == '*':
			star, mark = i, k
			i++
		case i < len(p) && (p[i] == '?' || p[i] == n[k]):
			i, k = i+1, k+1
		case star >= 0: // let the star take one more
			mark++
			i, k = star+1, mark
		default:
			return false
		}
	}
	for i < len(p) && p[i] == '*' {
		i++
	}
	return i == len(p)
}

// HasWildcard reports whether a path has * or ?, which no name of Windows can have.
func HasWildcard(name string) bool { return strings.ContainsAny(name, "*?") }

// Found is an entry and its path from the root, with slashes.
type Found struct {
	Path  string
	Entry *winfile.Entry
}

// Glob finds the entries that a path with wildcards names, in the order of the tree. Without wildcards it is a lookup.
func Glob(t *winfile.Tree, pattern string) []Found {
	level := []Found{{"/", t.Root}}
	for part := range strings.FieldsFuncSeq(pattern, func(r rune) bool { return r == '/' || r == '\\' }) {
		var next []Found
		for _, f := range level {
			if part == "." {
				next = append(next, f)
				continue
			}
			if !HasWildcard(part) {
				if c := f.Entry.Child(part); c != nil {
					next = append(next, Found{path.Join(f.Path, c.Name), c})
				}
				continue
			}
			for _, c := range f.Entry.Children {
				if Wildcard(part, c.Name) || c.ShortName != "" && Wildcard(part, c.ShortName) {
					next = append(next, Found{path.Join(f.Path, c.Name), c})
				}
			}
		}
		level = next
	}
	return level
}

// ParseSize reads a size to compare with: "+1M" more than, "-1M" less than, "1M" exactly.
func (q *Query) ParseSize(s string) error {
	sign := byte(0)
	number := s
	if s != "" && (s[0] == '+' || s[0] == '-') {
		sign, number = s[0], s[1:]
	}
	if number == "" || number[0] < '0' || number[0] > '9' {
		return fmt.Errorf("size %q, want a number with K, M, G or T and at most one sign", s)
	}
	n, err := ui.ParseSize(number)
	if err != nil {
		return err
	}
	q.Sized, q.Min, q.Max = true, n, n
	switch sign {
	case '+':
		q.Min, q.Max = n+1, -1
	case '-':
		if n == 0 {
			return fmt.Errorf("size %q: nothing is smaller than 0", s)
		}
		q.Min, q.Max = 0, n-1
	}
	return nil
}

// attributeLetters are those of attrib.exe, and L for reparse points.
var attributeLetters = map[byte]winfile.Attributes{
	'D': winfile.AttrDirectory, 'R': winfile.AttrReadOnly, 'H': winfile.AttrHidden, 'S': winfile.AttrSystem, 'A': winfile.AttrArchive,
	'C': winfile.AttrCompressed, 'E': winfile.AttrEncrypted, 'P': winfile.AttrSparse, 'L': winfile.AttrReparse, 'O': winfile.AttrOffline,
	'I': winfile.AttrNotIndexed, 'T': winfile.AttrTemporary,
}

// ParseAttributes reads letters of attributes: "HS" both set, "H-R" hidden and not read-only.
func (q *Query) ParseAttributes(s string) error {
	to := &q.Set
	for _, c := range []byte(strings.ToUpper(s)) {
		switch bit := attributeLetters[c]; {
		case c == '+':
			to = &q.Set
		case c == '-':
			to = &q.Clear
		case bit == 0:
			return fmt.Errorf("attribute %q in %q, want letters of DRHSACEPLOIT with + or - before them", c, s)
		default:
			*to |= bit
		}
	}
	return nil
}

// ParseTime reads a day or a moment, UTC unless it says otherwise, or an age such as 7d or 12h before now.
func ParseTime(s string, now time.Time) (time.Time, error) {
	for _, layout := range []string{time.DateOnly, time.DateTime, "2006-01-02T15:04:05", time.RFC3339} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	text := s
	var days int
	if n, err := fmt.Sscanf(s, "%dd", &days); n == 1 && err == nil && fmt.Sprintf("%dd", days) == s && days >= 0 {
		return now.AddDate(0, 0, -days), nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return time.Time{}, fmt.Errorf("time %q, want 2011-04-01, 2011-04-01T12:00:00Z, or an age such as 7d or 12h", s)
	}
	return now.Add(-d), nil
}

// ParseSHA1 reads 40 hex digits.
func ParseSHA1(s string) (winfile.SHA1, error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != sha1.Size {
		return winfile.SHA1{}, fmt.Errorf("SHA-1 %q, want 40 hex digits", s)
	}
	return winfile.SHA1(b), nil
}

package capconf

import (
	"errors"
	"fmt"
	"strings"
)

// Pattern names files. The zero value matches nothing.
type Pattern struct {
	text string // `\a\b*` from the root, or `*.tmp` for base names; one backslash between names, none at the end
	line int
}

// String returns the pattern with backslashes, without quotes, drive letter or slash at the end.
func (p Pattern) String() string { return p.text }

// Line is the 1-based line that the pattern stood in; 0 if it is not from a file.
func (p Pattern) Line() int { return p.line }

// Anchored reports whether the pattern is a path from the root, not a base name.
func (p Pattern) Anchored() bool { return strings.HasPrefix(p.text, `\`) }

// NewPattern reads one pattern. hint, if not empty, is what the writer of the pattern should be told.
func NewPattern(s string) (p Pattern, hint string, err error) {
	if s, err = unquote(s); err != nil {
		return Pattern{}, "", err
	}
	if strings.ContainsRune(s, 0) {
		return Pattern{}, "", fmt.Errorf("pattern %q has a NUL character", s)
	}
	if len(s) >= 2 && s[1] == ':' && letter(s[0]) {
		if len(s) == 2 || !slash(rune(s[2])) {
			return Pattern{}, "", fmt.Errorf("pattern %q, want a slash after the drive letter", s)
		}
		hint = fmt.Sprintf("drive letter of %q ignored: patterns start at the root of the image", s)
		s = s[2:]
	}
	names := strings.FieldsFunc(s, slash)
	if len(names) == 0 {
		return Pattern{}, "", errors.New("pattern names nothing below the root")
	}
	text := strings.Join(names, `\`)
	switch {
	case slash(rune(s[0])):
		text = `\` + text
	case len(names) > 1:
		return Pattern{}, "", fmt.Errorf(`pattern %q has a folder, want a slash at its start`, s)
	}
	return Pattern{text: text}, hint, nil
}

// MustPatterns reads patterns that are known to be good, one to a line. It panics if one is not.
func MustPatterns(lines string) []Pattern {
	var list []Pattern
	for line := range strings.Lines(lines) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		p, _, err := NewPattern(line)
		if err != nil {
			panic("capconf: internal error: " + err.Error())
		}
		list = append(list, p)
	}
	return list
}

// unquote takes one pair of quotes off.
func unquote(s string) (string, error) {
	if s == "" || s[0] != '"' && s[0] != '\'' {
		return s, nil
	}
	if len(s) < 2 || s[len(s)-1] != s[0] {
		if s[0] == '\'' {
			return s, nil // may start a file name
		}
		return "", fmt.Errorf("pattern %s, want a quote at its end", s)
	}
	return s[1 : len(s)-1], nil
}

func slash(r rune) bool { return r == '/' || r == '\\' }

func letter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

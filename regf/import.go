package regf

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"husk/winfile"
)

// RegKey is a section of a .reg file.
type RegKey struct {
	Line   int
	Path   string // as written: HKEY_LOCAL_MACHINE\SYSTEM\Setup
	Delete bool   // [-…]: the key and all below it go
	Values []RegValue
}

// RegValue is a value of a section.
type RegValue struct {
	Line   int
	Delete bool // "name"=-
	Value
}

// A RegError reports a line of a .reg file that cannot be understood.
type RegError struct {
	Line int // 1-based
	Err  error
}

func (e *RegError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }
func (e *RegError) Unwrap() error { return e.Err }

// ErrCodePage says that a .reg file has bytes of an unknown code page.
var ErrCodePage = errors.New("text in an unknown code page")

// ParseReg reads a .reg file: version 5.00 as UTF-16LE or UTF-8, or REGEDIT4, whose text and whose bytes of REG_SZ, REG_EXPAND_SZ
// and REG_MULTI_SZ are of a code page. ansi decodes that; with nil, text that is not UTF-8 is ErrCodePage. Nothing is skipped: a
// line that is not understood is a [RegError].
func ParseReg(data []byte, ansi func([]byte) (string, error)) ([]RegKey, error) {
	p := &regParser{ansi: ansi, line: 1}
	if err := p.decode(data); err != nil {
		return nil, err
	}
	if err := p.header(); err != nil {
		return nil, &RegError{p.line, err}
	}
	for {
		p.skipBlank()
		if p.rest == "" {
			return p.keys, nil
		}
		line := p.line
		if err := p.entry(); err != nil {
			return nil, &RegError{line, err}
		}
	}
}

type regParser struct {
	ansi func([]byte) (string, error)
	rest string
	line int
	old  bool // REGEDIT4
	keys []RegKey
}

// decode makes text of the file.
func (p *regParser) decode(data []byte) error {
	if b, ok := bytes.CutPrefix(data, []byte("\xff\xfe")); ok {
		if len(b)%2 != 0 {
			return fmt.Errorf("UTF-16 of %d bytes, want an even number", len(b))
		}
		p.rest = winfile.NameFromUTF16LE(b)
		return nil
	}
	var err error
	p.rest, err = p.text(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")))
	return err
}

// text decodes bytes of the file's code page.
func (p *regParser) text(b []byte) (string, error) {
	if p.ansi != nil {
		return p.ansi(b)
	}
	if !utf8.Valid(b) {
		return "", ErrCodePage
	}
	return string(b), nil
}

func (p *regParser) header() error {
	switch first := strings.TrimSpace(p.takeLine()); first {
	case regHeader5:
	case regHeader4:
		p.old = true
	default:
		p.line = 1
		return fmt.Errorf("%.40q, want %q or %s", first, regHeader5, regHeader4)
	}
	return nil
}

// takeLine returns the rest of the line and goes to the next.
func (p *regParser) takeLine() string {
	line, rest, _ := strings.Cut(p.rest, "\n")
	p.rest = rest
	p.line++
	return strings.TrimSuffix(line, "\r")
}

// skipBlank skips blank lines and comments.
func (p *regParser) skipBlank() {
	for p.rest != "" {
		p.skipSpace()
		if p.rest != "" && !strings.ContainsRune(";\r\n", rune(p.rest[0])) {
			return
		}
		p.takeLine()
	}
}

func (p *regParser) skipSpace() { p.rest = strings.TrimLeft(p.rest, " \t") }

// endLine wants nothing but a comment up to the end of the line.
func (p *regParser) endLine() error {
	if s := strings.TrimSpace(p.takeLine()); s != "" && s[0] != ';' {
		return fmt.Errorf("%.40q behind the end, want a new line", s)
	}
	return nil
}

func (p *regParser) entry() error {
	switch p.rest[0] {
	case '[':
		return p.key()
	case '@', '"':
		return p.value()
	}
	return fmt.Errorf("%.40q, want [key], \"name\"=value, @=value or a comment after ;", p.takeLine())
}

func (p *regParser) key() error {
	k := RegKey{Line: p.line}
	s := p.takeLine()
	end := strings.LastIndexByte(s, ']')
	if end < 0 {
		return fmt.Errorf("%.40q, want a ] at its end", s)
	}
	if tail := strings.TrimSpace(s[end+1:]); tail != "" && tail[0] != ';' {
		return fmt.Errorf("%.40q behind ], want a new line", tail)
	}
	k.Path, k.Delete = strings.CutPrefix(s[1:end], "-")
	if k.Path == "" {
		return errors.New("a key without a name")
	}
	p.keys = append(p.keys, k)
	return nil
}

func (p *regParser) value() error {
	if len(p.keys) == 0 {
		return errors.New("a value before the first [key]")
	}
	key := &p.keys[len(p.keys)-1]
	if key.Delete {
		return fmt.Errorf("a value below [-%s], which is deleted", key.Path)
	}
	v := RegValue{Line: p.line}
	var err error
	if p.rest[0] == '@' {
		p.rest = p.rest[1:]
	} else if v.Name, err = p.quoted(); err != nil {
		return err
	}
	p.skipSpace()
	var ok bool
	if p.rest, ok = strings.CutPrefix(p.rest, "="); !ok {
		return fmt.Errorf("%.40q behind the name %q, want =", p.takeLine(), v.Name)
	}
	p.skipSpace()
	if err := p.data(&v); err != nil {
		return err
	}
	key.Values = append(key.Values, v)
	return p.endLine()
}

// quoted reads a string in quotes, which may go over several lines.
func (p *regParser) quoted() (string, error) {
	var b strings.Builder
	for i := 1; i < len(p.rest); i++ {
		switch c := p.rest[i]; c {
		case '"':
			p.rest = p.rest[i+1:]
			return b.String(), nil
		case '\\':
			i++
			if i >= len(p.rest) || p.rest[i] != '\\' && p.rest[i] != '"' {
				return "", errors.New(`a backslash in quotes, want \\ or \"`)
			}
			b.WriteByte(p.rest[i])
		default:
			if c == '\n' {
				p.line++
			}
			b.WriteByte(c)
		}
	}
	return "", errors.New("no closing quote")
}

// data reads what is behind the = of a value.
func (p *regParser) data(v *RegValue) error {
	if strings.HasPrefix(p.rest, `"`) {
		s, err := p.quoted()
		v.Type, v.Data = SZ, SZData(s)
		return err
	}
	if strings.HasPrefix(p.rest, "-") {
		p.rest, v.Delete = p.rest[1:], true
		return nil
	}
	word := p.rest
	if i := strings.IndexAny(word, ":\r\n"); i >= 0 {
		word = word[:i]
	}
	if !strings.HasPrefix(p.rest[len(word):], ":") {
		return fmt.Errorf("%.40q, want \"text\", dword:, hex:, hex(type): or -", word)
	}
	p.rest = p.rest[len(word)+1:]
	switch word = strings.ToLower(word); {
	case word == "dword":
		return p.dword(v)
	case word == "hex":
		v.Type = Binary
	case strings.HasPrefix(word, "hex(") && strings.HasSuffix(word, ")"):
		n, err := strconv.ParseUint(strings.TrimPrefix(word[4:len(word)-1], "0x"), 16, 32)
		if err != nil {
			return fmt.Errorf("%q, want a type in hex", word)
		}
		v.Type = Type(n)
	default:
		return fmt.Errorf("%q, want dword, hex or hex(type)", word)
	}
	var err error
	if v.Data, err = p.hex(); err != nil || !p.old {
		return err
	}
	return p.widen(v)
}

func (p *regParser) dword(v *RegValue) error {
	p.skipSpace()
	n := 0
	for n < len(p.rest) && isHex(p.rest[n]) {
		n++
	}
	u, err := strconv.ParseUint(p.rest[:n], 16, 32)
	if err != nil {
		return fmt.Errorf("dword:%.20q, want up to 8 hex digits", p.rest[:n])
	}
	v.Type, v.Data = DWord, le.AppendUint32(nil, uint32(u))
	p.rest = p.rest[n:]
	return nil
}

func isHex(c byte) bool { return c-'0' < 10 || c|0x20-'a' < 6 }

// hex reads bytes with commas between them; a backslash at the end of a line continues them on the next.
func (p *regParser) hex() ([]byte, error) {
	data := []byte{}
	comma := true // a byte may follow
	for {
		p.skipSpace()
		switch {
		case strings.HasPrefix(p.rest, `\`):
			p.rest = p.rest[1:]
			if err := p.endLine(); err != nil {
				return nil, err
			}
			p.skipSpace()
			for strings.HasPrefix(p.rest, ";") {
				p.takeLine()
				p.skipSpace()
			}
		case len(p.rest) > 0 && isHex(p.rest[0]) && comma:
			n := 1
			if len(p.rest) > 1 && isHex(p.rest[1]) {
				n = 2
			}
			b, err := strconv.ParseUint(p.rest[:n], 16, 8)
			if err != nil {
				return nil, err
			}
			data = append(data, byte(b))
			p.rest, comma = p.rest[n:], false
		case strings.HasPrefix(p.rest, ",") && !comma:
			p.rest, comma = p.rest[1:], true
		default:
			return data, nil
		}
	}
}

// widen makes UTF-16 of the bytes of a string in a REGEDIT4 file.
func (p *regParser) widen(v *RegValue) error {
	switch v.Type {
	case SZ, ExpandSZ, MultiSZ:
		s, err := p.text(v.Data)
		v.Data = winfile.AppendUTF16LE(nil, s)
		return err
	}
	return nil
}

// Merged counts what a merge has done.
type Merged struct {
	KeysMade, KeysDeleted, ValuesSet, ValuesDeleted int
}

// Merge makes the changes of a .reg file below root. place turns the path of a section into one below root; its error ends the
// merge, as any does, with what was done before it done. Deleting what is not there is no error.
func Merge(root *Key, keys []RegKey, place func(path string) (string, error)) (m Merged, err error) {
	for _, r := range keys {
		path, err := place(r.Path)
		if err == nil {
			err = m.section(root, path, r)
		}
		if err != nil {
			var line *RegError
			if !errors.As(err, &line) {
				err = &RegError{r.Line, err}
			}
			return m, err
		}
	}
	return m, nil
}

func (m *Merged) section(root *Key, path string, r RegKey) error {
	names := slices.Collect(parts(path))
	if r.Delete {
		if len(names) == 0 {
			return errors.New("the root key cannot be deleted")
		}
		parent, err := root.Lookup(strings.Join(names[:len(names)-1], `\`))
		if err == nil {
			err = parent.Delete(names[len(names)-1])
		}
		switch {
		case err == nil:
			m.KeysDeleted++
		case errors.Is(err, fs.ErrNotExist):
			return nil
		}
		return err
	}
	k := root
	for _, name := range names {
		c, err := k.Subkey(name)
		if errors.Is(err, fs.ErrNotExist) {
			m.KeysMade++
			c, err = k.Create(name)
		}
		if err != nil {
			return err
		}
		k = c
	}
	for _, v := range r.Values {
		if err := m.value(k, v); err != nil {
			return &RegError{v.Line, err}
		}
	}
	return nil
}

func (m *Merged) value(k *Key, v RegValue) error {
	if v.Delete {
		err := k.DeleteValue(v.Name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		m.ValuesDeleted++
		return err
	}
	m.ValuesSet++
	return k.Set(v.Name, v.Type, v.Data)
}

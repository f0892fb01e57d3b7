package capconf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"husk/winfile"
)

// MaxSize is the largest file that Parse takes, in bytes; those of Windows have some 5,000. The time to match a path against
// wildcards grows with it.
const MaxSize = 64 << 10

// A SyntaxError is a line that cannot be understood.
type SyntaxError struct {
	Line int // 1-based; 0 for the file as a whole
	Err  error
}

func (e *SyntaxError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("capconf: %v", e.Err)
	}
	return fmt.Sprintf("capconf: line %d: %v", e.Line, e.Err)
}

func (e *SyntaxError) Unwrap() error { return e.Err }

// A Warning is something in the file that does not do what its writer may think.
type Warning struct {
	Line int // 1-based
	Text string
}

func (w Warning) String() string { return fmt.Sprintf("line %d: %s", w.Line, w.Text) }

// Parse reads a configuration file. Sections it does not know are skipped with a warning. Errors are *SyntaxError.
func Parse(b []byte) (*Config, []Warning, error) {
	if len(b) > MaxSize {
		return nil, nil, &SyntaxError{0, fmt.Errorf("%d bytes, want at most %d", len(b), MaxSize)}
	}
	b, err := toUTF8(b)
	if err != nil {
		return nil, nil, &SyntaxError{0, err}
	}
	p := parser{config: new(Config)}
	for line := range bytes.Lines(b) {
		p.line++
		if err := p.readLine(bytes.Trim(line, " \t\r\n\v\f")); err != nil {
			return nil, nil, &SyntaxError{p.line, err}
		}
	}
	return p.config, p.warnings, nil
}

type parser struct {
	config   *Config
	warnings []Warning
	line     int
	section  string     // empty before the first
	list     *[]Pattern // nil in a section that is skipped
}

func (p *parser) readLine(line []byte) error {
	if len(line) == 0 || line[0] == ';' || line[0] == '#' { // comments may be in any code page
		return nil
	}
	if !winfile.ValidName(string(line)) {
		return fmt.Errorf("text %q is not UTF-8; save the file as UTF-8 or Unicode", line)
	}
	if line[0] == '[' {
		return p.readSection(string(line))
	}
	if p.section == "" {
		return fmt.Errorf("pattern %q before the first section", line)
	}
	if p.list == nil {
		return nil
	}
	pattern, hint, err := NewPattern(string(line))
	if err != nil {
		return err
	}
	if hint != "" {
		p.warn(hint)
	}
	pattern.line = p.line
	*p.list = append(*p.list, pattern)
	return nil
}

func (p *parser) readSection(line string) error {
	name, ok := strings.CutSuffix(line[1:], "]")
	if name = strings.Trim(name, " \t"); !ok || name == "" {
		return fmt.Errorf("section %q, want [name]", line)
	}
	p.section = name
	if p.list = p.config.list(winfile.Fold(name)); p.list == nil {
		p.warn(fmt.Sprintf("section [%s] is not known and skipped", name))
	}
	return nil
}

func (p *parser) warn(text string) { p.warnings = append(p.warnings, Warning{p.line, text}) }

// toUTF8 finds out the encoding, by byte order mark or by a zero byte after the first character, and takes the mark off.
func toUTF8(b []byte) ([]byte, error) {
	switch {
	case bytes.HasPrefix(b, []byte{0xef, 0xbb, 0xbf}):
		return b[3:], nil
	case bytes.HasPrefix(b, []byte{0xfe, 0xff}):
		return nil, errors.New("text is big-endian UTF-16, want UTF-8 or little-endian UTF-16")
	case bytes.HasPrefix(b, []byte{0xff, 0xfe}):
		b = b[2:]
	case len(b) < 2 || b[0] == 0 || b[0] >= utf8.RuneSelf || b[1] != 0:
		return b, nil
	}
	if len(b)%2 != 0 {
		return nil, errors.New("text is UTF-16 with half a character at its end")
	}
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(b[2*i:])
	}
	return []byte(winfile.NameFromUTF16(units)), nil
}

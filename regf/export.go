package regf

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"

	"husk/winfile"
)

const (
	regHeader5 = "Windows Registry Editor Version 5.00"
	regHeader4 = "REGEDIT4"
	hexWidth   = 77 // of a line with bytes, before the backslash
)

// Export writes k and all below it as a .reg file of version 5.00, UTF-16LE with a byte order mark, as regedit does; name is what k
// is called there, such as HKEY_LOCAL_MACHINE\SYSTEM\Setup. Strings that a reader could not give back exactly (without a NUL at the
// end, with one inside, with line ends) are written as bytes. A .reg file has no place for class names, security, flags and times.
// A key name with a line end, which it cannot hold either, is an error.
func Export(w io.Writer, k *Key, name string) error {
	b := bufio.NewWriterSize(w, 1<<16)
	e := &exporter{w: b}
	e.buf = append(e.buf, 0xff, 0xfe)
	e.line(regHeader5)
	e.line("")
	if err := e.key(k, name); err != nil {
		return err
	}
	return b.Flush()
}

type exporter struct {
	w   *bufio.Writer
	buf []byte
}

func (e *exporter) line(s string) {
	e.buf = winfile.AppendUTF16LE(e.buf, s)
	e.buf = append(e.buf, '\r', 0, '\n', 0)
}

func (e *exporter) flush() error {
	_, err := e.w.Write(e.buf)
	e.buf = e.buf[:0]
	return err
}

func (e *exporter) key(k *Key, name string) error {
	if strings.ContainsAny(k.name, "\r\n") && k.parent != nil {
		return fmt.Errorf("key %q: a .reg file cannot hold a name with a line end", k.Path())
	}
	values, err := k.Values()
	if err != nil {
		return err
	}
	keys, err := k.Subkeys()
	if err != nil {
		return err
	}
	e.line("[" + name + "]")
	for _, v := range values {
		e.line(FormatReg(v))
	}
	e.line("")
	if err := e.flush(); err != nil {
		return err
	}
	for _, c := range keys {
		if err := e.key(c, name+`\`+c.name); err != nil {
			return err
		}
	}
	return nil
}

var regEscape = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// FormatReg is a value as it stands in a .reg file: "name"=dword:00000001. Long ones have several lines.
func FormatReg(v Value) string {
	var b strings.Builder
	if v.Name == "" {
		b.WriteString("@=")
	} else {
		b.WriteString(`"` + regEscape.Replace(v.Name) + `"=`)
	}
	switch {
	case v.Type == SZ && isCleanText(v.Data):
		b.WriteString(`"` + regEscape.Replace(text(v.Data)) + `"`)
		return b.String()
	case v.Type == DWord && len(v.Data) == 4:
		fmt.Fprintf(&b, "dword:%08x", le.Uint32(v.Data))
		return b.String()
	case v.Type == Binary:
		b.WriteString("hex:")
	default:
		b.WriteString("hex(" + strconv.FormatUint(uint64(v.Type), 16) + "):")
	}
	column := nameUnits(b.String())
	const digits = "0123456789abcdef"
	for i, c := range v.Data {
		if i > 0 {
			b.WriteByte(',')
			column++
			if column+3 > hexWidth {
				b.WriteString("\\\r\n  ")
				column = 2
			}
		}
		b.WriteByte(digits[c>>4])
		b.WriteByte(digits[c&15])
		column += 2
	}
	return b.String()
}

// isCleanText reports whether data is UTF-16LE of one line with one NUL, at its end.
func isCleanText(data []byte) bool {
	n := len(data)
	if n < 2 || n%2 != 0 || data[n-1] != 0 || data[n-2] != 0 {
		return false
	}
	for i := 0; i < n-2; i += 2 {
		if data[i+1] == 0 && data[i] < ' ' {
			return false
		}
	}
	return true
}

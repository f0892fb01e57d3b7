package wim

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"

	"husk/winfile"
)

// element is an XML element of any kind, so that what husk does not know survives a rewrite.
type element struct {
	name     string // with its prefix
	attrs    []xml.Attr
	children []*element
	chars    string // text between the children, put together
}

// maxXMLDepth and maxXMLElements bound what hostile data makes.
const (
	maxXMLDepth    = 64
	maxXMLElements = 1 << 22
)

// parseXML reads the XML data: UTF-16LE with or without a BOM, leniently.
func parseXML(b []byte) (*element, error) {
	b = bytes.TrimPrefix(b, []byte{0xff, 0xfe})
	units := make([]uint16, 0, len(b)/2)
	for ; len(b) >= 2; b = b[2:] {
		units = append(units, le.Uint16(b))
	}
	text := strings.TrimRight(string(utf16.Decode(units)), "\x00")
	dec := xml.NewDecoder(strings.NewReader(text))
	dec.Strict = false
	dec.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil } // decoded already
	type open struct {
		*element
		text []byte
	}
	top := &element{}
	stack := []*open{{element: top}}
	for count := 0; ; {
		tok, err := dec.RawToken()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		e := stack[len(stack)-1]
		switch tok := tok.(type) {
		case xml.StartElement:
			if count++; len(stack) > maxXMLDepth || count > maxXMLElements {
				return nil, fmt.Errorf("more than %d elements, or %d inside each other", maxXMLElements, maxXMLDepth)
			}
			child := &element{name: rawName(tok.Name), attrs: slices.Clone(tok.Attr)}
			e.children = append(e.children, child)
			stack = append(stack, &open{element: child})
		case xml.EndElement:
			if len(stack) == 1 || rawName(tok.Name) != e.name {
				return nil, fmt.Errorf("</%s> closes <%s>", rawName(tok.Name), e.name)
			}
			e.chars = string(e.text)
			stack = stack[:len(stack)-1]
		case xml.CharData:
			e.text = append(e.text, tok...)
		}
	}
	if len(stack) > 1 {
		return nil, fmt.Errorf("<%s> is not closed", stack[len(stack)-1].name)
	}
	root := top.find("WIM")
	if root == nil {
		return nil, errors.New("no <WIM> element")
	}
	return root, nil
}

func rawName(n xml.Name) string {
	if n.Space != "" {
		return n.Space + ":" + n.Local
	}
	return n.Local
}

// encodeXML is the inverse of parseXML: UTF-16LE with BOM, no declaration, no white space between elements.
func encodeXML(root *element) []byte {
	var b bytes.Buffer
	root.write(&b)
	out := []byte{0xff, 0xfe}
	for _, u := range utf16.Encode([]rune(b.String())) {
		out = le.AppendUint16(out, u)
	}
	return out
}

func (e *element) write(b *bytes.Buffer) {
	b.WriteString("<" + e.name)
	for _, a := range e.attrs {
		b.WriteString(" " + rawName(a.Name) + `="`)
		xml.EscapeText(b, []byte(a.Value)) // a bytes.Buffer does not fail
		b.WriteString(`"`)
	}
	b.WriteString(">")
	if len(e.children) == 0 {
		xml.EscapeText(b, []byte(e.chars))
	} else if text := strings.TrimSpace(e.chars); text != "" {
		xml.EscapeText(b, []byte(text))
	}
	for _, c := range e.children {
		c.write(b)
	}
	b.WriteString("</" + e.name + ">")
}

// find returns the first descendant along a path of names, or nil.
func (e *element) find(path ...string) *element {
	for _, name := range path {
		if e == nil {
			return nil
		}
		i := slices.IndexFunc(e.children, func(c *element) bool { return c.name == name })
		if i < 0 {
			return nil
		}
		e = e.children[i]
	}
	return e
}

// text returns the text of the element at path, "" if there is none.
func (e *element) text(path ...string) string {
	if e = e.find(path...); e == nil {
		return ""
	}
	return e.chars
}

// number returns a decimal or 0x number, 0 if there is none.
func (e *element) number(path ...string) int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(e.text(path...)), 0, 64)
	if err != nil {
		return 0
	}
	return n
}

func (e *element) attr(name string) string {
	for _, a := range e.attrs {
		if rawName(a.Name) == name {
			return a.Value
		}
	}
	return ""
}

// setAttr sets an attribute.
func (e *element) setAttr(name, value string) {
	for i, a := range e.attrs {
		if rawName(a.Name) == name {
			e.attrs[i].Value = value
			return
		}
	}
	e.attrs = append(e.attrs, xml.Attr{Name: xml.Name{Local: name}, Value: value})
}

// clone copies e and all below it.
func (e *element) clone() *element {
	c := *e
	c.attrs = slices.Clone(e.attrs)
	c.children = make([]*element, len(e.children))
	for i, child := range e.children {
		c.children[i] = child.clone()
	}
	return &c
}

// without is a copy of e that lacks the children with a name and shares the others.
func (e *element) without(name string) *element {
	c := *e
	c.children = slices.DeleteFunc(slices.Clone(e.children), func(e *element) bool { return e.name == name })
	return &c
}

// images returns the n IMAGE elements in the order of their INDEX.
func (e *element) images(n int) ([]*element, error) {
	list := make([]*element, n)
	count := 0
	for _, c := range e.children {
		if c.name != "IMAGE" {
			continue
		}
		count++
		index, err := strconv.Atoi(strings.TrimSpace(c.attr("INDEX")))
		if err != nil || index < 1 || index > n || list[index-1] != nil {
			return nil, fmt.Errorf("image index %q, want each of 1 to %d once", c.attr("INDEX"), n)
		}
		list[index-1] = c
	}
	if count != n {
		return nil, fmt.Errorf("%d images, want %d", count, n)
	}
	return list, nil
}

// add appends a child with text, unless the text is empty.
func (e *element) add(name, text string) {
	if text != "" {
		e.children = append(e.children, &element{name: name, chars: text})
	}
}

func (e *element) addNumber(name string, n int64) { e.add(name, strconv.FormatInt(n, 10)) }

// addGroup appends a child with children, unless f adds none.
func (e *element) addGroup(name string, f func(*element)) {
	child := &element{name: name}
	if f(child); len(child.children) > 0 {
		e.children = append(e.children, child)
	}
}

func (e *element) addTime(name string, t winfile.Filetime) {
	e.addGroup(name, func(e *element) {
		e.add("HIGHPART", fmt.Sprintf("0x%08X", uint32(t>>32)))
		e.add("LOWPART", fmt.Sprintf("0x%08X", uint32(t)))
	})
}

// setTime replaces a time, or appends one.
func (e *element) setTime(name string, t winfile.Filetime) {
	fresh := &element{}
	fresh.addTime(name, t)
	if c := e.find(name); c != nil {
		*c = *fresh.children[0]
		return
	}
	e.children = append(e.children, fresh.children...)
}

func (e *element) time(name string) winfile.Filetime {
	high, low := e.number(name, "HIGHPART"), e.number(name, "LOWPART")
	return winfile.Filetime(uint64(uint32(high))<<32 | uint64(uint32(low)))
}

// set replaces the text of a child, or appends one.
func (e *element) set(name, text string) {
	if c := e.find(name); c != nil {
		c.chars, c.children = text, nil
		return
	}
	e.children = append(e.children, &element{name: name, chars: text})
}

// ImageInfo is what the XML data tells about an image.
type ImageInfo struct {
	Name               string       `json:"name"`
	Description        string       `json:"description,omitempty"`
	Flags              string       `json:"flags,omitempty"` // edition: "Professional"; Windows Setup needs it
	DisplayName        string       `json:"displayName,omitempty"`
	DisplayDescription string       `json:"displayDescription,omitempty"`
	WIMBoot            bool         `json:"wimboot,omitempty"` // meant to back a volume with pointer files
	Windows            *WindowsInfo `json:"windows,omitempty"` // nil if the image is no Windows system

	Created  time.Time `json:"created"`  // writing: zero means the writer's time
	Modified time.Time `json:"modified"` // writing: zero means Created

	// Counts. A writer makes its own.
	Dirs          int64 `json:"dirs"`          // the root included
	Files         int64 `json:"files"`         // names that are not directories
	TotalBytes    int64 `json:"totalBytes"`    // of all streams of all names
	HardLinkBytes int64 `json:"hardLinkBytes"` // of those, what names beyond the first of a file add

	// Properties are elements that are none of the above: their text by their path below IMAGE, as in "HUSK/SYSTEM".
	Properties map[string]string `json:"properties,omitempty"`
}

// WindowsInfo is the WINDOWS element.
type WindowsInfo struct {
	Arch             int      `json:"arch"` // PROCESSOR_ARCHITECTURE: 0 x86, 5 ARM, 6 IA-64, 9 x64, 12 ARM64
	ProductName      string   `json:"productName,omitempty"`
	EditionID        string   `json:"editionId,omitempty"`
	InstallationType string   `json:"installationType,omitempty"`
	HAL              string   `json:"hal,omitempty"`
	ProductType      string   `json:"productType,omitempty"`
	ProductSuite     string   `json:"productSuite,omitempty"`
	Languages        []string `json:"languages,omitempty"`
	DefaultLanguage  string   `json:"defaultLanguage,omitempty"`
	Major            int      `json:"major"`
	Minor            int      `json:"minor"`
	Build            int      `json:"build"`
	SPBuild          int      `json:"spBuild"`
	SPLevel          int      `json:"spLevel"`
	Branch           string   `json:"branch,omitempty"`
	SystemRoot       string   `json:"systemRoot,omitempty"`

	// SERVICINGDATA
	GDRDURevision     string `json:"gdrDuRevision,omitempty"`
	PKeyConfigVersion string `json:"pkeyConfigVersion,omitempty"`
	ImageState        string `json:"imageState,omitempty"`
}

func imageInfo(e *element) ImageInfo {
	i := ImageInfo{
		Name: e.text("NAME"), Description: e.text("DESCRIPTION"), Flags: e.text("FLAGS"),
		DisplayName: e.text("DISPLAYNAME"), DisplayDescription: e.text("DISPLAYDESCRIPTION"),
		WIMBoot: e.number("WIMBOOT") == 1,
		Created: e.time("CREATIONTIME").Time(), Modified: e.time("LASTMODIFICATIONTIME").Time(),
		Dirs: e.number("DIRCOUNT"), Files: e.number("FILECOUNT"),
		TotalBytes: e.number("TOTALBYTES"), HardLinkBytes: e.number("HARDLINKBYTES"),
	}
	if w := e.find("WINDOWS"); w != nil {
		i.Windows = windowsInfo(w)
	}
	i.Properties = properties(e)
	return i
}

func windowsInfo(e *element) *WindowsInfo {
	w := &WindowsInfo{
		Arch: int(e.number("ARCH")), ProductName: e.text("PRODUCTNAME"), EditionID: e.text("EDITIONID"),
		InstallationType: e.text("INSTALLATIONTYPE"), HAL: e.text("HAL"), ProductType: e.text("PRODUCTTYPE"),
		ProductSuite: e.text("PRODUCTSUITE"), DefaultLanguage: e.text("LANGUAGES", "DEFAULT"),
		Major: int(e.number("VERSION", "MAJOR")), Minor: int(e.number("VERSION", "MINOR")),
		Build: int(e.number("VERSION", "BUILD")), SPBuild: int(e.number("VERSION", "SPBUILD")),
		SPLevel: int(e.number("VERSION", "SPLEVEL")), Branch: e.text("VERSION", "BRANCH"), SystemRoot: e.text("SYSTEMROOT"),
		GDRDURevision:     e.text("SERVICINGDATA", "GDRDUREVISION"),
		PKeyConfigVersion: e.text("SERVICINGDATA", "PKEYCONFIGVERSION"),
		ImageState:        e.text("SERVICINGDATA", "IMAGESTATE"),
	}
	if l := e.find("LANGUAGES"); l != nil {
		for _, c := range l.children {
			if c.name == "LANGUAGE" {
				w.Languages = append(w.Languages, c.chars)
			}
		}
	}
	return w
}

// element makes the IMAGE element in Microsoft's order.
func (i *ImageInfo) element(index int) *element {
	e := &element{name: "IMAGE", attrs: []xml.Attr{{Name: xml.Name{Local: "INDEX"}, Value: strconv.Itoa(index)}}}
	e.addNumber("DIRCOUNT", i.Dirs)
	e.addNumber("FILECOUNT", i.Files)
	e.addNumber("TOTALBYTES", i.TotalBytes)
	e.addNumber("HARDLINKBYTES", i.HardLinkBytes)
	e.addTime("CREATIONTIME", winfile.FiletimeOf(i.Created))
	e.addTime("LASTMODIFICATIONTIME", winfile.FiletimeOf(i.Modified))
	if i.WIMBoot {
		e.add("WIMBOOT", "1")
	} else {
		e.add("WIMBOOT", "0")
	}
	if i.Windows != nil {
		e.addGroup("WINDOWS", i.Windows.fill)
	}
	e.children = append(e.children, &element{name: "NAME", chars: i.Name})
	e.add("DESCRIPTION", i.Description)
	e.add("FLAGS", i.Flags)
	e.add("DISPLAYNAME", i.DisplayName)
	e.add("DISPLAYDESCRIPTION", i.DisplayDescription)
	for _, path := range slices.Sorted(maps.Keys(i.Properties)) {
		e.setPath(strings.Split(path, "/"), i.Properties[path])
	}
	return e
}

func (w *WindowsInfo) fill(e *element) {
	e.addNumber("ARCH", int64(w.Arch))
	e.add("PRODUCTNAME", w.ProductName)
	e.add("EDITIONID", w.EditionID)
	e.add("INSTALLATIONTYPE", w.InstallationType)
	e.addGroup("SERVICINGDATA", func(e *element) {
		e.add("GDRDUREVISION", w.GDRDURevision)
		e.add("PKEYCONFIGVERSION", w.PKeyConfigVersion)
		e.add("IMAGESTATE", w.ImageState)
	})
	e.add("HAL", w.HAL)
	e.add("PRODUCTTYPE", w.ProductType)
	e.add("PRODUCTSUITE", w.ProductSuite)
	e.addGroup("LANGUAGES", func(e *element) {
		for _, l := range w.Languages {
			e.add("LANGUAGE", l)
		}
		e.add("DEFAULT", w.DefaultLanguage)
	})
	e.addGroup("VERSION", func(e *element) {
		e.addNumber("MAJOR", int64(w.Major))
		e.addNumber("MINOR", int64(w.Minor))
		e.addNumber("BUILD", int64(w.Build))
		e.addNumber("SPBUILD", int64(w.SPBuild))
		e.addNumber("SPLEVEL", int64(w.SPLevel))
		e.add("BRANCH", w.Branch)
	})
	e.add("SYSTEMROOT", w.SystemRoot)
}

// XML returns the XML data as UTF-8 text.
func (r *Reader) XML() string {
	var b bytes.Buffer
	r.xml.write(&b)
	return b.String()
}

package wim

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"husk/internal/ondisk"
)

// ownElements are the children of IMAGE that ImageInfo has fields for.
var ownElements = []string{
	"DIRCOUNT", "FILECOUNT", "TOTALBYTES", "HARDLINKBYTES", "CREATIONTIME", "LASTMODIFICATIONTIME", "WIMBOOT", "WINDOWS", "NAME", "DESCRIPTION",
	"FLAGS", "DISPLAYNAME", "DISPLAYDESCRIPTION",
}

// properties lists the elements with text below an IMAGE that ImageInfo has no fields for. Of several with one path the first counts.
func properties(e *element) map[string]string {
	var found map[string]string
	var walk func(e *element, path string)
	walk = func(e *element, path string) {
		if len(e.children) > 0 {
			for _, c := range e.children {
				walk(c, path+"/"+c.name)
			}
			return
		}
		if _, ok := found[path]; ok || e.chars == "" {
			return
		}
		if found == nil {
			found = make(map[string]string)
		}
		found[path] = e.chars
	}
	for _, c := range e.children {
		if !slices.Contains(ownElements, c.name) {
			walk(c, c.name)
		}
	}
	return found
}

// setPath sets the text of a descendant, which is made if it is missing; an empty text removes it.
func (e *element) setPath(path []string, text string) {
	for _, name := range path[:len(path)-1] {
		next := e.find(name)
		if next == nil {
			if text == "" {
				return
			}
			next = &element{name: name}
			e.children = append(e.children, next)
		}
		e = next
	}
	name := path[len(path)-1]
	if text == "" {
		e.children = slices.DeleteFunc(e.children, func(c *element) bool { return c.name == name })
		return
	}
	e.set(name, text)
}

// checkProperty refuses paths and texts that XML cannot have.
func checkProperty(path, text string) error {
	for name := range strings.SplitSeq(path, "/") {
		ok := name != ""
		for i, r := range name {
			letter := r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || r == '_'
			ok = ok && (letter || i > 0 && (r >= '0' && r <= '9' || r == '-' || r == '.'))
		}
		if !ok {
			return fmt.Errorf("wim: property %q, want names of letters and digits with / between them", path)
		}
	}
	for _, r := range text {
		if r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xfffe || r == 0xffff {
			return fmt.Errorf("wim: property %s has the character %U, which XML cannot have", path, r)
		}
	}
	return nil
}

// SetProperties changes elements of the XML data of a WIM of size bytes: for each image by its number, 1 is the first, the texts of paths
// below its IMAGE element ("NAME", "HUSK/NOTE"); an empty text removes the element, NAME apart, which stays with no text. Nothing else of
// the file changes: blobs, blob table and metadata keep their places and their hashes, so that pointer files into it stay right.
//
// The new XML data is written behind the end of the file and synced, and then made valid by one write of the header: whatever interrupts
// it, the file has the old texts or the new ones.
func SetProperties(f WriteTarget, size int64, images map[int]map[string]string) error {
	r, err := NewReader(f, size)
	if err != nil {
		return err
	}
	if r.ReadOnly() {
		return errors.New("wim: the file is marked read-only")
	}
	for n, texts := range images {
		if n < 1 || n > len(r.images) {
			return fmt.Errorf("wim: no image %d among %d", n, len(r.images))
		}
		for path, text := range texts {
			if err := checkProperty(path, text); err != nil {
				return err
			}
			e := r.images[n-1].xml
			if path == "NAME" {
				e.set(path, text)
				continue
			}
			e.setPath(strings.Split(path, "/"), text)
		}
	}
	old, err := ondisk.ReadAt(f, 0, headerSize, headerSize)
	if err != nil {
		return err
	}
	at := max(size, headerSize)
	r.xml.setFirst("TOTALBYTES", fmt.Sprint(at))
	text := encodeXML(r.xml)
	w := &Writer{f: f, hdr: r.hdr}
	w.hdr.XML = newResourceHeader(at, int64(len(text)), int64(len(text)), resMetadata)
	if int64(len(text)) > maxXML {
		return fmt.Errorf("wim: XML data of %d bytes, want at most %d", len(text), maxXML)
	}
	undo := func(err error) error { return errors.Join(err, f.Truncate(size)) }
	if _, err := f.WriteAt(text, at); err != nil {
		return undo(err)
	}
	if err := f.Sync(); err != nil {
		return undo(err)
	}
	if err := w.writeHeader(); err != nil {
		if _, again := f.WriteAt(old, 0); again != nil { // the header on the disk may be the new one: nothing is cut off
			return errors.Join(err, again)
		}
		return undo(err)
	}
	return f.Sync()
}

// setFirst sets a child that stands before all others.
func (e *element) setFirst(name, text string) {
	if e.find(name) == nil {
		e.children = slices.Insert(e.children, 0, &element{name: name})
	}
	e.set(name, text)
}

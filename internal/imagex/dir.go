package imagex

import (
	"bufio"
	"fmt"
	"slices"
	"strings"

	"husk/wim"
	"husk/winfile"
)

// runDir is dir.
func runDir(k *call) error {
	name := k.args[0]
	r, err := k.open(name)
	if err != nil {
		return err
	}
	list, err := k.images(r, name, k.arg(1), len(k.args) > 1, true)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(k.env.Stdout, 64<<10)
	for _, i := range list {
		if err := k.dirImage(out, r, i); err != nil {
			return err
		}
	}
	return coded(out.Flush(), codeWrite)
}

func (k *call) dirImage(out *bufio.Writer, r *wim.Reader, i *wim.Image) error {
	t, err := k.tree(i)
	if err != nil {
		return err
	}
	path := k.value("path")
	e := lookup(t.Root, path)
	if e == nil {
		return fail(codePath, "the image has no %q", cleanPath(path))
	}
	d := &lister{out: out, r: r, detailed: k.has("detailed"), groups: make(map[*winfile.Info]uint64)}
	d.part, _ = r.Part()
	d.number(t)
	d.list(realPathIn(t.Root, path), e, !k.has("one-file-only"))
	return nil
}

// tree decodes an image; blobs that are not at hand are for whoever reads them.
func (k *call) tree(i *wim.Image) (*winfile.Tree, error) {
	t, err := i.Tree()
	if t == nil {
		return nil, coded(err, codeMetadata)
	}
	for _, w := range i.Warnings() {
		k.warn("image %d: %s", i.Index, w)
	}
	return t, nil
}

// realPathIn is a path as the image spells it.
func realPathIn(root *winfile.Entry, path string) string {
	e, fold, names := root, foldCase(), []string(nil)
	for _, name := range splitPath(path) {
		e = child(e, name, fold)
		names = append(names, e.Name)
	}
	return "/" + strings.Join(names, "/")
}

// lister prints the entries of an image.
type lister struct {
	out      *bufio.Writer
	r        *wim.Reader
	part     int
	detailed bool
	groups   map[*winfile.Info]uint64 // of files with several names
}

// number gives hard-linked files the numbers that dir shows.
func (d *lister) number(t *winfile.Tree) {
	if !d.detailed {
		return
	}
	for _, e := range t.All() {
		if e.Info.Links > 1 && d.groups[e.Info] == 0 {
			id := e.Info.ID
			if id == 0 {
				id = uint64(len(d.groups) + 1)
			}
			d.groups[e.Info] = id
		}
	}
}

// list prints an entry and what is below it, names in order.
func (d *lister) list(path string, e *winfile.Entry, below bool) {
	if d.detailed {
		d.detail(path, e)
	} else {
		fmt.Fprintln(d.out, path)
	}
	if !below {
		return
	}
	children := slices.Clone(e.Children)
	slices.SortStableFunc(children, func(a, b *winfile.Entry) int {
		return winfile.CompareFold(winfile.UTF16FromName(a.Name), winfile.UTF16FromName(b.Name))
	})
	for _, c := range children {
		d.list(strings.TrimSuffix(path, "/")+"/"+c.Name, c, true)
	}
}

// attributeNames are the names that Windows gives the bits of attributes.
var attributeNames = []struct {
	bit  winfile.Attributes
	name string
}{
	{0x1, "READONLY"}, {0x2, "HIDDEN"}, {0x4, "SYSTEM"}, {0x10, "DIRECTORY"}, {0x20, "ARCHIVE"}, {0x40, "DEVICE"}, {0x80, "NORMAL"},
	{0x100, "TEMPORARY"}, {0x200, "SPARSE_FILE"}, {0x400, "REPARSE_POINT"}, {0x800, "COMPRESSED"}, {0x1000, "OFFLINE"},
	{0x2000, "NOT_CONTENT_INDEXED"}, {0x4000, "ENCRYPTED"}, {0x10000, "VIRTUAL"},
}

// detail prints all that is known of an entry.
func (d *lister) detail(path string, e *winfile.Entry) {
	i := e.Info
	fmt.Fprintln(d.out, strings.Repeat("-", 76))
	line := func(name, format string, args ...any) {
		fmt.Fprintf(d.out, "%-19s = %s\n", name, fmt.Sprintf(format, args...))
	}
	line("Full Path", `"%s"`, path)
	line("Short Name", `"%s"`, e.ShortName)
	line("Attributes", "0x%08x", uint32(i.Attributes))
	for _, a := range attributeNames {
		if i.Attributes&a.bit != 0 {
			fmt.Fprintf(d.out, "    FILE_ATTRIBUTE_%s is set\n", a.name)
		}
	}
	if i.Security != nil {
		line("Security Descriptor", "%x", i.Security)
	}
	line("Creation Time", "%s", filetimeOf(i.Created))
	line("Last Write Time", "%s", filetimeOf(i.Written))
	line("Last Access Time", "%s", filetimeOf(i.Accessed))
	if i.Reparse != nil {
		line("Reparse Tag", "0x%x", i.Reparse.Tag)
	}
	line("Link Group ID", "0x%016x", d.groups[i])
	line("Link Count", "%d", max(i.Links, 1))
	if x := i.Extra; x != nil {
		d.extra(line, x)
	}
	d.streams(i)
}

func (d *lister) extra(line func(name, format string, args ...any), x *winfile.Extra) {
	if u := x.Unix; u != nil {
		line("UNIX Data", "uid:%d gid:%d mode:0%o rdev:0x%x", u.UID, u.GID, u.Mode, u.Rdev)
	}
	for n, name := range []string{"Object ID", "Birth Volume ID", "Birth Object ID", "Domain ID"} {
		if id := x.ObjectID; len(id) >= 16*(n+1) && (n == 0 || strings.Trim(string(id[16:]), "\x00") != "") {
			line(name, "0x%x", id[16*n:16*n+16])
		}
	}
}

// streams prints the streams of a file, and what they are in the WIM.
func (d *lister) streams(i *winfile.Info) {
	switch {
	case i.Extra != nil && i.Extra.EFS != nil:
		fmt.Fprintf(d.out, "\tRaw encrypted data stream:\n")
		d.blob(i.Extra.EFS.SHA1)
	case i.Reparse != nil:
		fmt.Fprintf(d.out, "\tReparse point stream:\n")
		d.blob(hashOf(i.Reparse.Data))
		if i.Data != nil {
			fmt.Fprintf(d.out, "\tUnnamed data stream:\n")
			d.blob(i.Data.SHA1)
		}
	default:
		fmt.Fprintf(d.out, "\tUnnamed data stream:\n")
		d.dataBlob(i.Data)
	}
	for _, s := range i.Streams {
		fmt.Fprintf(d.out, "\tNamed data stream \"%s\":\n", s.Name)
		d.dataBlob(s.Data)
	}
}

func (d *lister) dataBlob(b *winfile.Blob) {
	if b == nil {
		printBlob(d.out, winfile.SHA1{}, wim.BlobInfo{}, 0, false)
		return
	}
	d.blob(b.SHA1)
}

// blob prints a blob as the WIM, or one of those that it refers to, has it.
func (d *lister) blob(h winfile.SHA1) {
	for _, r := range append([]*wim.Reader{d.r}, d.r.References()...) {
		if info, ok := r.Lookup(h); ok {
			part, _ := r.Part()
			printBlob(d.out, h, info, part, false)
			return
		}
	}
	fmt.Fprintf(d.out, "Hash              = 0x%x\n\n", h[:]) // in another WIM
}

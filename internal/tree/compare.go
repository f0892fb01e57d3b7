package tree

import (
	"bytes"
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"

	"husk/winfile"
)

// Kind is what two trees can differ in. Kinds are bits, so that some can be ignored.
type Kind uint32

const (
	DiffExistence Kind = 1 << iota // a path is in one tree only
	DiffType                       // file, directory or reparse point; nothing else of the path is compared then
	DiffAttributes
	DiffCreated
	DiffWritten
	DiffAccessed
	DiffChanged // only if both trees know it
	DiffSecurity
	DiffReparse // tag, reserved field and data; not whether a WIM marks the target as fixed
	DiffShortName
	DiffStreams // a named stream is in one tree only
	DiffObjectID
	DiffEAs
	DiffLinks   // which names are one file
	DiffContent // of data, named streams and encrypted data
	DiffRead    // content that cannot be read, or does not have the SHA-1 that its tree claims
	DiffUnix    // UNIX owner and mode
	DiffItems   // tagged items of a WIM
	diffEnd
)

var kindNames = []string{"existence", "type", "attributes", "created", "written", "accessed", "changed", "security", "reparse",
	"short name", "streams", "object id", "extended attributes", "hard links", "content", "unreadable", "unix data", "tagged items"}

// String lists the kinds.
func (k Kind) String() string {
	var names []string
	for i, n := range kindNames {
		if k&(1<<i) != 0 {
			names = append(names, n)
		}
	}
	return strings.Join(names, "+")
}

// CompareOptions tunes Compare. The zero value compares everything, and reads only content whose SHA-1 is not known.
type CompareOptions struct {
	Ignore           Kind               // kinds of difference that do not count
	IgnoreAttributes winfile.Attributes // attribute bits that may differ
	DefaultSecurity  bool               // a file without a descriptor equals one with any: a volume gives every file one
	ReadBoth         bool               // read and hash all content of both trees, known or not
	Limit            int                // differences listed; 0 means 1000. All are counted
	Workers          int                // blobs hashed at once; 0 means GOMAXPROCS
	Progress         func(bytes int64)  // called with the bytes read since the last call, from several goroutines; may be nil
}

// Difference is one thing that differs, with its values in both trees as text.
type Difference struct {
	Path string
	Kind Kind
	What string // the kind, and of which stream
	A, B string
}

func (d Difference) String() string { return fmt.Sprintf("%s: %s: %s, %s", d.Path, d.What, d.A, d.B) }

// Diff is the result of a comparison.
type Diff struct {
	List   []Difference // by path of the first tree, then content; cut at the limit
	Total  int
	Counts map[Kind]int
	Paths  int   // paths compared: those in both trees
	Blobs  int   // pairs of contents compared, by hash or by reading
	Bytes  int64 // read and hashed
}

// Equal reports whether nothing differs.
func (d *Diff) Equal() bool { return d.Total == 0 }

// Compare compares two trees path by path, names in their exact case. Content is compared by SHA-1, and read where that is
// not known; content that cannot be read is a difference. The error is for a comparison that was not finished.
func Compare(ctx context.Context, a, b *winfile.Tree, opts *CompareOptions) (*Diff, error) {
	c := &comparer{
		diff:   &Diff{Counts: make(map[Kind]int)},
		ab:     make(map[*winfile.Info]*winfile.Info),
		ba:     make(map[*winfile.Info]*winfile.Info),
		hashes: make(map[*winfile.Blob]*blobHash),
	}
	if opts != nil {
		c.opts = *opts
	}
	if c.opts.Limit == 0 {
		c.opts.Limit = 1000
	}
	if err := c.trees(ctx, a.Root, b.Root); err != nil {
		return nil, err
	}
	if err := c.readAll(ctx); err != nil {
		return nil, err
	}
	c.contents()
	return c.diff, nil
}

// comparer is one run of Compare.
type comparer struct {
	opts   CompareOptions
	diff   *Diff
	ab, ba map[*winfile.Info]*winfile.Info // the file of the other tree that a file was first seen with
	pairs  []blobPair
	hashes map[*winfile.Blob]*blobHash
	blobs  []*winfile.Blob // to read, in the order they were met
}

// blobPair is content to compare once all hashes are known.
type blobPair struct {
	path, what string
	a, b       *winfile.Blob // equal in size
}

// blobHash is a blob being read. One goroutine at a time has it.
type blobHash struct {
	path string // where it was met first
	inB  bool   // in the second tree
	h    hash.Hash
	n    int64
	sum  winfile.SHA1
	done bool
	err  error
}

func (c *comparer) add(path string, kind Kind, what, a, b string) {
	if c.opts.Ignore&kind != 0 {
		return
	}
	if what == "" {
		what = kind.String()
	}
	c.diff.Total++
	c.diff.Counts[kind]++
	if len(c.diff.List) < c.opts.Limit {
		c.diff.List = append(c.diff.List, Difference{path, kind, what, a, b})
	}
}

// trees walks both trees at once.
func (c *comparer) trees(ctx context.Context, a, b *winfile.Entry) error {
	type pair struct {
		path string
		a, b *winfile.Entry
	}
	c.entries(".", a, b)
	for todo := []pair{{".", a, b}}; len(todo) > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		first := len(todo)
		theirs := make(map[string][]*winfile.Entry, len(p.b.Children))
		for _, e := range p.b.Children {
			theirs[e.Name] = append(theirs[e.Name], e)
		}
		for _, e := range p.a.Children {
			path := join(p.path, e.Name)
			match := theirs[e.Name]
			if len(match) == 0 {
				c.add(path, DiffExistence, "", typeText(e.Info), "absent")
				continue
			}
			theirs[e.Name] = match[1:]
			if c.entries(path, e, match[0]) && len(e.Children)+len(match[0].Children) > 0 {
				todo = append(todo, pair{path, e, match[0]})
			}
		}
		for _, e := range p.b.Children { // those left over, in their order
			if rest := theirs[e.Name]; len(rest) > 0 && rest[0] == e {
				theirs[e.Name] = rest[1:]
				c.add(join(p.path, e.Name), DiffExistence, "", "absent", typeText(e.Info))
			}
		}
		slices.Reverse(todo[first:])
	}
	return nil
}

// entries compares two entries of one path, and returns whether to go on below them.
func (c *comparer) entries(path string, a, b *winfile.Entry) bool {
	c.diff.Paths++
	if x, y := typeText(a.Info), typeText(b.Info); x != y {
		c.add(path, DiffType, "", x, y)
		return false
	}
	if a.ShortName != b.ShortName {
		c.add(path, DiffShortName, "", nameText(a.ShortName), nameText(b.ShortName))
	}
	x, seenA := c.ab[a.Info]
	y, seenB := c.ba[b.Info]
	switch {
	case !seenA && !seenB:
		c.ab[a.Info], c.ba[b.Info] = b.Info, a.Info
		c.infos(path, a.Info, b.Info)
	case x == b.Info && y == a.Info: // a further name of what has been compared
	default:
		c.add(path, DiffLinks, "", linkText(seenA), linkText(seenB))
		if !seenA {
			c.ab[a.Info] = b.Info
		}
		if !seenB {
			c.ba[b.Info] = a.Info
		}
		c.infos(path, a.Info, b.Info)
	}
	return true
}

func typeText(i *winfile.Info) string {
	kind := "file"
	if i.Attributes&winfile.AttrDirectory != 0 {
		kind = "directory"
	}
	if i.Attributes&winfile.AttrReparse != 0 {
		kind += " reparse point"
	}
	return kind
}

func nameText(s string) string {
	if s == "" {
		return "none"
	}
	return fmt.Sprintf("%q", s)
}

func linkText(seen bool) string {
	if seen {
		return "a further name of a file"
	}
	return "another file"
}

// infos compares two files.
func (c *comparer) infos(path string, a, b *winfile.Info) {
	if x, y := a.Attributes&^c.opts.IgnoreAttributes, b.Attributes&^c.opts.IgnoreAttributes; x != y {
		c.add(path, DiffAttributes, "", attrText(a.Attributes), attrText(b.Attributes))
	}
	for _, t := range []struct {
		kind Kind
		a, b winfile.Filetime
	}{{DiffCreated, a.Created, b.Created}, {DiffWritten, a.Written, b.Written}, {DiffAccessed, a.Accessed, b.Accessed}} {
		if t.a != t.b {
			c.add(path, t.kind, "", timeText(t.a), timeText(t.b))
		}
	}
	if a.Changed != b.Changed && a.Changed != 0 && b.Changed != 0 {
		c.add(path, DiffChanged, "", timeText(a.Changed), timeText(b.Changed))
	}
	given := a.Security != nil && b.Security != nil
	if !bytes.Equal(a.Security, b.Security) && (given || !c.opts.DefaultSecurity) {
		c.add(path, DiffSecurity, "", bytesText(a.Security), bytesText(b.Security))
	}
	c.reparse(path, a.Reparse, b.Reparse)
	c.extra(path, a.Extra, b.Extra)
	c.blob(path, "content", a.Data, b.Data)
	c.streams(path, a.Streams, b.Streams)
}

func attrText(a winfile.Attributes) string { return fmt.Sprintf("%#x %v", uint32(a), a) }

func timeText(f winfile.Filetime) string {
	if f == 0 {
		return "unknown"
	}
	return f.Time().Format("2006-01-02T15:04:05.0000000Z07:00")
}

func bytesText(b []byte) string {
	if b == nil {
		return "none"
	}
	if len(b) <= 64 {
		return fmt.Sprintf("%x", b)
	}
	return fmt.Sprintf("%d bytes, SHA-1 %x", len(b), sha1.Sum(b))
}

func (c *comparer) reparse(path string, a, b *winfile.Reparse) {
	if a == nil && b == nil {
		return
	}
	if a == nil || b == nil || a.Tag != b.Tag || a.Reserved != b.Reserved || !bytes.Equal(a.Data, b.Data) {
		c.add(path, DiffReparse, "", reparseText(a), reparseText(b))
	}
}

func reparseText(r *winfile.Reparse) string {
	if r == nil {
		return "none"
	}
	s := fmt.Sprintf("tag %#08x", r.Tag)
	if r.Reserved != 0 {
		s += fmt.Sprintf(", reserved %#x", r.Reserved)
	}
	if target, _, err := reparseTarget(r); err == nil {
		return fmt.Sprintf("%s, to %q, %d bytes", s, target, len(r.Data))
	}
	return s + ", " + bytesText(r.Data)
}

func (c *comparer) extra(path string, a, b *winfile.Extra) {
	if a == nil && b == nil {
		return
	}
	var none winfile.Extra
	if a == nil {
		a = &none
	}
	if b == nil {
		b = &none
	}
	if !bytes.Equal(a.ObjectID, b.ObjectID) {
		c.add(path, DiffObjectID, "", bytesText(a.ObjectID), bytesText(b.ObjectID))
	}
	if !slices.EqualFunc(a.EAs, b.EAs, func(x, y winfile.EA) bool {
		return x.Flags == y.Flags && x.Name == y.Name && bytes.Equal(x.Value, y.Value)
	}) {
		c.add(path, DiffEAs, "", easText(a.EAs), easText(b.EAs))
	}
	if unixText(a.Unix) != unixText(b.Unix) {
		c.add(path, DiffUnix, "", unixText(a.Unix), unixText(b.Unix))
	}
	if !slices.EqualFunc(a.Items, b.Items, func(x, y winfile.TaggedItem) bool {
		return x.Tag == y.Tag && bytes.Equal(x.Data, y.Data)
	}) {
		c.add(path, DiffItems, "", itemsText(a.Items), itemsText(b.Items))
	}
	c.blob(path, "encrypted data", a.EFS, b.EFS)
}

func easText(eas []winfile.EA) string {
	var list []string
	for _, ea := range eas {
		list = append(list, fmt.Sprintf("%q flags %#x %s", ea.Name, ea.Flags, bytesText(ea.Value)))
	}
	return listText(list)
}

func itemsText(items []winfile.TaggedItem) string {
	var list []string
	for _, x := range items {
		list = append(list, fmt.Sprintf("%#x %s", x.Tag, bytesText(x.Data)))
	}
	return listText(list)
}

func listText(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}

func unixText(u *winfile.Unix) string {
	if u == nil {
		return "none"
	}
	return fmt.Sprintf("uid %d gid %d mode %#o rdev %#x", u.UID, u.GID, u.Mode, u.Rdev)
}

// streams compares named streams, whose order does not count.
func (c *comparer) streams(path string, a, b []winfile.Stream) {
	if len(a) == 0 && len(b) == 0 {
		return
	}
	theirs := make(map[string]*winfile.Blob, len(b))
	left := make(map[string]bool, len(b))
	for _, s := range b {
		theirs[s.Name], left[s.Name] = s.Data, true
	}
	for _, s := range a {
		if !left[s.Name] {
			c.add(path, DiffStreams, fmt.Sprintf("stream %q", s.Name), sizeText(s.Data), "absent")
			continue
		}
		delete(left, s.Name)
		c.blob(path, fmt.Sprintf("content of stream %q", s.Name), s.Data, theirs[s.Name])
	}
	for _, s := range b {
		if left[s.Name] {
			c.add(path, DiffStreams, fmt.Sprintf("stream %q", s.Name), "absent", sizeText(s.Data))
			delete(left, s.Name)
		}
	}
}

func sizeText(b *winfile.Blob) string {
	if b == nil {
		return "0 bytes"
	}
	return fmt.Sprintf("%d bytes", b.Size)
}

// blob compares sizes, and notes what remains to be compared.
func (c *comparer) blob(path, what string, a, b *winfile.Blob) {
	if a == nil && b == nil {
		return
	}
	if c.opts.ReadBoth {
		c.wantHash(path, a, false)
		c.wantHash(path, b, true)
	}
	if a == nil || b == nil || a.Size != b.Size {
		c.add(path, DiffContent, what, sizeText(a), sizeText(b))
		return
	}
	c.diff.Blobs++
	if a == b {
		return
	}
	known := a.SHA1 != winfile.SHA1{} && b.SHA1 != winfile.SHA1{}
	if known && !c.opts.ReadBoth {
		if a.SHA1 != b.SHA1 {
			c.add(path, DiffContent, what, "SHA-1 "+a.SHA1.String(), "SHA-1 "+b.SHA1.String())
		}
		return
	}
	c.pairs = append(c.pairs, blobPair{path, what, a, b})
	if a.SHA1 == (winfile.SHA1{}) {
		c.wantHash(path, a, false)
	}
	if b.SHA1 == (winfile.SHA1{}) {
		c.wantHash(path, b, true)
	}
}

func (c *comparer) wantHash(path string, b *winfile.Blob, inB bool) {
	if b == nil || c.hashes[b] != nil {
		return
	}
	h := &blobHash{path: path, inB: inB}
	c.hashes[b] = h
	c.blobs = append(c.blobs, b)
	if b.Content == nil {
		h.err = errors.New("there is nothing to read it from")
	}
}

// readAll hashes what must be read. If a content fails, the blobs it did not deliver are read one by one, to tell which of them
// are damaged.
func (c *comparer) readAll(ctx context.Context) error {
	readable := make([]*winfile.Blob, 0, len(c.blobs))
	for _, b := range c.blobs {
		if c.hashes[b].err == nil {
			readable = append(readable, b)
		}
	}
	err := winfile.ReadBlobs(ctx, readable, c.opts.Workers, func(b *winfile.Blob, off int64, p []byte) error {
		c.hashes[b].take(b, p)
		if c.opts.Progress != nil {
			c.opts.Progress(int64(len(p)))
		}
		return nil
	})
	if err != nil && ctx.Err() == nil {
		c.readAlone(ctx, readable)
	}
	for _, h := range c.hashes {
		c.diff.Bytes += h.n
	}
	return ctx.Err()
}

func (h *blobHash) take(b *winfile.Blob, p []byte) {
	h.n += int64(len(p))
	switch {
	case h.n == b.Size && h.h == nil:
		h.sum, h.done = sha1.Sum(p), true
		return
	case h.h == nil:
		h.h = sha1.New()
	}
	h.h.Write(p)
	if h.n == b.Size {
		h.h.Sum(h.sum[:0])
		h.h, h.done = nil, true
	}
}

// maxAlone ends the search for damaged blobs on a disk that is damaged everywhere.
const maxAlone = 1000

func (c *comparer) readAlone(ctx context.Context, blobs []*winfile.Blob) {
	failed, buf := 0, make([]byte, 1<<18)
	for _, b := range blobs {
		h := c.hashes[b]
		switch {
		case h.done:
			continue
		case ctx.Err() != nil:
			return
		case failed >= maxAlone:
			h.err = fmt.Errorf("not read after %d other contents failed", failed)
			continue
		}
		h.h, h.n = nil, 0
		if h.err = h.read(b, buf, c.opts.Progress); h.err != nil {
			failed++
		}
	}
}

func (h *blobHash) read(b *winfile.Blob, buf []byte, progress func(int64)) (err error) {
	r, err := b.Content.OpenBlob(b)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	for h.n < b.Size {
		p := buf[:min(b.Size-h.n, int64(len(buf)))]
		if _, err := io.ReadFull(r, p); err != nil {
			return err
		}
		h.take(b, p)
		if progress != nil {
			progress(int64(len(p)))
		}
	}
	return nil
}

// contents compares what has been read.
func (c *comparer) contents() {
	for _, b := range c.blobs {
		h := c.hashes[b]
		text := [2]string{"not concerned", "not concerned"}
		side := &text[0]
		if h.inB {
			side = &text[1]
		}
		switch {
		case h.err != nil:
			*side = h.err.Error()
		case b.SHA1 != winfile.SHA1{} && b.SHA1 != h.sum:
			*side = fmt.Sprintf("SHA-1 %v claimed, %v read", b.SHA1, h.sum)
		default:
			continue
		}
		c.add(h.path, DiffRead, "", text[0], text[1])
	}
	for _, p := range c.pairs {
		x, okA := c.sumOf(p.a)
		y, okB := c.sumOf(p.b)
		if okA && okB && x != y {
			c.add(p.path, DiffContent, p.what, "SHA-1 "+x.String(), "SHA-1 "+y.String())
		}
	}
}

// sumOf is what a blob was read to be, or else what its tree claims; not ok if it should have been read and was not.
func (c *comparer) sumOf(b *winfile.Blob) (winfile.SHA1, bool) {
	if h := c.hashes[b]; h != nil {
		return h.sum, h.err == nil
	}
	return b.SHA1, true
}

package imagex

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"husk/internal/tree"
	"husk/wim"
	"husk/winfile"
)

// runApply is apply.
func runApply(k *call) error {
	name, target := k.args[0], k.args[len(k.args)-1]
	if err := k.notOnThisSystem(); err != nil {
		return err
	}
	r, err := k.source(name)
	if err != nil {
		return err
	}
	list, err := k.images(r, name, k.arg(1), len(k.args) == 3, true)
	if err != nil {
		return err
	}
	shown, err := filepath.Abs(name)
	if err != nil {
		shown = name
	}
	if volume, err := isDevice(target); err == nil && volume {
		if len(list) > 1 {
			return fail(codeUnsupported, "several images cannot be applied to one NTFS volume")
		}
		return k.applyOne(r, list[0], shown, target, true)
	}
	every := len(k.args) == 3 && strings.EqualFold(k.args[1], "all")
	for _, i := range list {
		dir := target
		if every {
			dir = filepath.Join(target, folderOf(i))
			if err := os.MkdirAll(dir, 0o777); err != nil {
				return coded(err, codeWrite)
			}
		}
		if err := k.applyOne(r, i, shown, dir, false); err != nil {
			return err
		}
	}
	k.say("Done applying WIM image.\n")
	return nil
}

// notOnThisSystem refuses the options that make pointer files and compact files of a folder of Windows.
func (k *call) notOnThisSystem() error {
	for _, o := range []string{"wimboot", "compact"} {
		if k.has(o) {
			return fail(codeUnsupported, "--%s is for volumes of a running Windows; 'husk apply --%s' makes disks of such files", o, o)
		}
	}
	return nil
}

// folderOf is the directory of an image when all are applied: its name if that can be one, else its number.
func folderOf(i *wim.Image) string {
	n := i.Name()
	if n == "" || n == "." || n == ".." || strings.ContainsAny(n, `/\:*?"<>|`+"\x00") || len(n) > 127 {
		return strconv.Itoa(i.Index)
	}
	return n
}

// applyOne applies an image to a folder or a volume.
func (k *call) applyOne(r *wim.Reader, i *wim.Image, shown, target string, volume bool) error {
	t, err := k.tree(i)
	if err != nil {
		return err
	}
	what := "directory"
	if volume {
		what = "NTFS volume"
	}
	k.say("Applying image %d (%q) from %q to %s %q\n", i.Index, i.Name(), shown, what, target)
	rpfix := k.has("rpfix") || r.ReparseFix() && !k.has("norpfix")
	bar := newProgress(k.out, "Extracting file data", bytesOf(t))
	if volume {
		k.strip(t)
		err = k.recovered(t)
		if err == nil {
			err = k.applyVolume(t, target, bar)
		}
		bar.finish(err == nil)
		if err == nil {
			k.say("Done applying WIM image.\n")
		}
		return err
	}
	return k.applyFolder(t, target, rpfix, bar)
}

// bytesOf is what a tree has to read: each blob once.
func bytesOf(t *winfile.Tree) (n int64) {
	seen := make(map[*winfile.Blob]struct{})
	for _, e := range t.All() {
		for b := range e.Info.Blobs() {
			if _, ok := seen[b]; !ok {
				seen[b] = struct{}{}
				n += b.Size
			}
		}
	}
	return n
}

// strip takes away what the options say is not to be restored.
func (k *call) strip(t *winfile.Tree) {
	for _, e := range t.All() {
		i := e.Info
		if k.has("no-acls") {
			i.Security = nil
		}
		if k.has("no-attributes") {
			keep := i.Attributes & (winfile.AttrDirectory | winfile.AttrReparse | winfile.AttrSparse | winfile.AttrEncrypted)
			if i.Attributes&winfile.AttrDirectory == 0 && i.Reparse == nil {
				keep |= winfile.AttrArchive
			}
			i.Attributes = keep
		}
		if i.Extra != nil && i.Extra.EFS != nil {
			continue
		}
	}
}

// applyFolder applies a tree to a folder of the host, over what is there.
func (k *call) applyFolder(t *winfile.Tree, dir string, rpfix bool, bar *progress) error {
	k.strip(t)
	for _, e := range t.All() {
		if e.Info.Reparse != nil && !rpfix {
			e.Info.Reparse.NotFixed = true
		}
	}
	k.dropUnmakable(t)
	if err := k.recovered(t); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o777); err != nil {
		return coded(err, codeWrite)
	}
	report, err := tree.ApplyFolder(k.ctx, t, dir, &tree.ApplyOptions{
		Into: true, Replace: true, Unix: k.has("unix-data"), Links: true, Progress: bar.add,
	})
	bar.finish(err == nil)
	if err != nil {
		return coded(err, codeWrite)
	}
	for _, l := range report.Lost {
		if l.Kind == tree.LostUnix && k.has("unix-data") && k.has("strict-acls") {
			return fail(codeWrite, "UNIX owner and mode of %d files, such as %s", l.Count, l.List[0].Error())
		}
		k.warn("Ignoring %s of %d files, such as %s", l.Kind, l.Count, l.List[0].Path)
	}
	return nil
}

// dropUnmakable takes away names that no file of the host can have: with a slash, a NUL, or longer than the host allows. With
// --include-invalid-names they get others.
func (k *call) dropUnmakable(t *winfile.Tree) {
	var walk func(dir *winfile.Entry, path string)
	walk = func(dir *winfile.Entry, path string) {
		kept := dir.Children[:0]
		for n, c := range dir.Children {
			if bad := c.Name == "." || c.Name == ".." || c.Name == "" || strings.ContainsAny(c.Name, "/\x00") || !winfile.ValidName(c.Name); bad {
				if !k.has("include-invalid-names") {
					k.warn("%s/%q: not a name that can be made; left out", path, c.Name)
					continue
				}
				c.Name = strings.NewReplacer("/", "\ufffd", "\x00", "\ufffd").Replace(c.Name) + fmt.Sprintf(" (invalid filename #%d)", n+1)
			}
			kept = append(kept, c)
			if len(c.Children) > 0 {
				walk(c, path+"/"+c.Name)
			}
		}
		dir.Children = kept
	}
	walk(t.Root, "")
	recount(t)
}

// recovered lets damaged contents be read as far as they can be, if --recover-data asks for that.
func (k *call) recovered(t *winfile.Tree) error {
	if !k.has("recover-data") {
		return nil
	}
	blobs, paths := make(map[*winfile.Blob]string), make(map[string]*winfile.Blob)
	var list []*winfile.Blob
	for p, e := range t.All() {
		for b := range e.Info.Blobs() {
			if _, ok := blobs[b]; !ok && b.Content != nil {
				blobs[b] = p
				paths[p] = b
				list = append(list, b)
			}
		}
	}
	for _, b := range list {
		if err := readThrough(k.ctx, b); err == nil {
			continue
		} else if k.ctx.Err() != nil {
			return err
		} else {
			k.warn("%s: damaged; extracting what can be read: %v", blobs[b], err)
			s := salvage{}
			if c, ok := b.Content.(anyPlace); ok {
				s.r, _ = c.BlobReaderAt(b) // nothing of it can be read otherwise
			}
			b.Content = s
		}
	}
	return nil
}

func readThrough(ctx context.Context, b *winfile.Blob) error {
	return winfile.ReadBlobs(ctx, []*winfile.Blob{b}, 1, func(*winfile.Blob, int64, []byte) error { return nil })
}

// salvage reads a damaged content: pieces that cannot be read are zeros, and its SHA-1 does not count.
type salvage struct{ r io.ReaderAt }

// anyPlace is a content that reads its blobs in any order, without checking them as a whole.
type anyPlace interface {
	BlobReaderAt(b *winfile.Blob) (io.ReaderAt, error)
}

func (s salvage) OpenBlob(b *winfile.Blob) (io.ReadCloser, error) {
	return &salvaged{r: s.r, size: b.Size}, nil
}

// salvageStep is how much is given up with one damaged place: the smallest chunk of a WIM.
const salvageStep = 4096

type salvaged struct {
	r         io.ReaderAt
	pos, size int64
}

func (s *salvaged) Read(p []byte) (int, error) {
	if s.pos == s.size {
		return 0, io.EOF
	}
	step := salvageStep - s.pos%salvageStep
	p = p[:min(int64(len(p)), step, s.size-s.pos)]
	n := 0
	if s.r != nil {
		n, _ = s.r.ReadAt(p, s.pos)
	}
	clear(p[n:])
	s.pos += int64(len(p))
	return len(p), nil
}

func (s *salvaged) Close() error { return nil }

// source opens the WIM of apply and extract.
func (k *call) source(name string) (*wim.Reader, error) {
	if name != "-" {
		return k.open(name)
	}
	return k.fromPipe()
}

// runExtract is extract.
func runExtract(k *call) error {
	name := k.args[0]
	if err := k.notOnThisSystem(); err != nil {
		return err
	}
	r, err := k.source(name)
	if err != nil {
		return err
	}
	i, err := k.oneImage(r, name, k.arg(1), len(k.args) > 1)
	if err != nil {
		return err
	}
	t, err := k.tree(i)
	if err != nil {
		return err
	}
	dir := k.value("dest-dir")
	if dir == "" {
		dir = "."
	}
	if !k.has("to-stdout") {
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return coded(err, codeWrite)
		}
	}
	picked := &picks{k: k, from: t.Root, root: newDirectory("")}
	picked.root.Info = &winfile.Info{Attributes: winfile.AttrDirectory, Links: 1}
	if len(k.args) < 3 {
		picked.root = t.Root
	}
	for _, a := range k.args[min(2, len(k.args)):] {
		if err := picked.add(a); err != nil {
			return err
		}
	}
	if k.has("to-stdout") {
		return k.toStdout(picked)
	}
	out := &winfile.Tree{Root: picked.root}
	recount(out)
	if len(picked.root.Children) > 0 || len(k.args) < 3 {
		bar := newProgress(k.out, "Extracting file data", bytesOf(out))
		if err := k.applyFolder(out, dir, false, bar); err != nil {
			return err
		}
	}
	k.say("Done extracting files.\n")
	return nil
}

// picks gathers what extract is told to take.
type picks struct {
	k     *call
	from  *winfile.Entry
	root  *winfile.Entry // what goes into the destination
	files []found        // in order, for --to-stdout
}

// add takes an argument: a path, or @ and a list of paths.
func (p *picks) add(word string) error {
	list, ok := strings.CutPrefix(word, "@")
	if !ok {
		return p.path(word, p.k.has("preserve-dir-structure"))
	}
	text, err := p.k.readText(list)
	if err != nil {
		return err
	}
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == ';' || line[0] == '#' {
			continue
		}
		if len(line) > 1 && (line[0] == '"' || line[0] == '\'') && line[len(line)-1] == line[0] {
			line = line[1 : len(line)-1]
		}
		if err := p.path(line, true); err != nil {
			return err
		}
	}
	return nil
}

// path takes the entries that one path means, in their directories if keep is set.
func (p *picks) path(path string, keep bool) error {
	var list []found
	if p.k.has("no-globs") {
		if e := lookup(p.from, path); e != nil {
			list = []found{{splitPath(realPathIn(p.from, path)), e}}
		}
	} else {
		list = glob(p.from, path)
	}
	if len(list) == 0 {
		if p.k.has("nullglob") && !p.k.has("no-globs") {
			p.k.warn("No matches for path pattern %q", cleanPath(path))
			return nil
		}
		return fail(codePath, "No matches for path pattern %q\n       --nullglob goes on without it; '%s dir' lists what is in the image.", cleanPath(path), programName)
	}
	for _, f := range list {
		p.files = append(p.files, f)
		if len(f.names) == 0 {
			p.root = f.entry
			continue
		}
		to := p.root
		if keep {
			to = p.parents(f.names[:len(f.names)-1])
		}
		if c := child(to, f.entry.Name, false); c != nil && c != f.entry {
			*c = *f.entry
		} else if c == nil {
			to.Children = append(to.Children, f.entry)
		}
	}
	return nil
}

// parents makes the directories that lead to an entry.
func (p *picks) parents(names []string) *winfile.Entry {
	to, from := p.root, p.from
	for _, name := range names {
		from = child(from, name, false)
		next := child(to, name, false)
		if next == nil {
			next = &winfile.Entry{Name: name, Info: from.Info}
			to.Children = append(to.Children, next)
		}
		to = next
	}
	return to
}

// toStdout writes the data of files to the standard output, one after the other.
func (k *call) toStdout(p *picks) error {
	k.out = k.env.Stderr
	for _, f := range p.files {
		i := f.entry.Info
		if i.IsDir() || i.Reparse != nil || i.Attributes&(winfile.AttrDirectory|winfile.AttrEncrypted) != 0 {
			return fail(codeNotRegular, "%q is not a regular file and therefore cannot be extracted to standard output", "/"+strings.Join(f.names, "/"))
		}
		if i.Data == nil {
			continue
		}
		if i.Data.Content == nil {
			return fail(codeMissing, "%q: its data is not in the WIM", f.entry.Name)
		}
		r, err := i.Data.Content.OpenBlob(i.Data)
		if err != nil {
			return coded(err, codeRead)
		}
		_, err = io.Copy(k.env.Stdout, r)
		if err = errors.Join(err, r.Close()); err != nil {
			return coded(err, codeWrite)
		}
	}
	return nil
}

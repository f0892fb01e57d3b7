package ntfs

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"husk/winfile"
)

// file is one base record.
type file struct {
	info     *winfile.Info // nil for system files but the root
	record   uint32
	exts     uint16 // extension records; they follow the base, but see Layout.rootExt
	names    uint16 // links, DOS names included
	link     int32  // the first in Layout.links; none for records 12 to 15
	dir      int32  // in Layout.dirs, or none
	place    int32  // the first in Layout.places, one for each attribute
	security uint32
	pointer  int32 // offset of its reparse buffer in Layout.pointers, or none
	stream   int32 // of a pointer: in Layout.streams, or none
	flags    fileFlags
}

type fileFlags uint8

const (
	fileHasDOSName   fileFlags = 1 << iota
	fileDataResident           // unnamed data
	fileHasObjectID            // that is unique
	fileHasList                // $ATTRIBUTE_LIST
)

// link is one $FILE_NAME and one entry of an $I30.
type link struct {
	name  string
	file  int32
	dir   int32 // in Layout.dirs
	next  int32 // of the same file, or none
	units uint8 // length of the name in UTF-16
	space uint8 // namespace
}

// directory is an $I30.
type directory struct {
	file  int32
	link  int32 // its own name; none for the root
	first int32 // in Layout.links
	count int32
	shape indexShape
}

// systemFile is what is known about a system file beforehand.
type systemFile struct {
	record uint32
	name   string // in the root, or in $Extend from recQuota on
}

var systemFiles = []systemFile{
	{recMFT, "$MFT"}, {recMFTMirr, "$MFTMirr"}, {recLogFile, "$LogFile"}, {recVolume, "$Volume"}, {recAttrDef, "$AttrDef"},
	{recRoot, "."}, {recBitmap, "$Bitmap"}, {recBoot, "$Boot"}, {recBadClus, "$BadClus"}, {recSecure, "$Secure"},
	{recUpCase, "$UpCase"}, {recExtend, "$Extend"}, {recReserved, ""}, {recReserved + 1, ""}, {recReserved + 2, ""}, {recReserved + 3, ""},
	{recQuota, "$Quota"}, {recObjID, "$ObjId"}, {recReparse, "$Reparse"},
}

const (
	rootDir   = 0 // in Layout.dirs
	extendDir = 1
)

// maxFiles keeps file, link and place numbers inside an int32.
const maxFiles = 1 << 28

// takeTree numbers the files, names and directories of the tree and sorts each directory.
func (l *Layout) takeTree(t *winfile.Tree) error {
	if t == nil || t.Root == nil || t.Root.Info == nil || !t.Root.Info.IsDir() {
		return errors.New("the root of the tree is not a directory")
	}
	if l.opt.Time == 0 {
		l.opt.Time = t.Root.Info.Written
	}
	w := treeWalk{Layout: l, linked: make(map[*winfile.Info]int32), objects: make(map[[16]byte]int32)}
	for i := range l.systems {
		l.systems[i] = none
	}
	for _, s := range systemFiles {
		l.systems[s.record] = int32(len(l.files))
		l.files = append(l.files, file{record: s.record, link: none, dir: none, pointer: none, stream: none, security: systemRead})
	}
	for _, record := range []int32{recVolume, recSecure, recExtend, recQuota, recObjID, recReparse} {
		l.files[l.systems[record]].security = systemWrite
	}
	root := l.systems[recRoot]
	l.files[root].info = t.Root.Info
	w.addDir(root)
	w.addDir(l.systems[recExtend])
	if err := w.describe(root, t.Root.Info); err != nil {
		return fmt.Errorf(".: %w", err)
	}

	l.dirs[rootDir].link = none
	if err := w.takeDir(rootDir, t.Root); err != nil {
		return err
	}
	if err := w.takeDir(extendDir, &winfile.Entry{}); err != nil {
		return err
	}
	for len(w.pending) > 0 {
		p := w.pending[len(w.pending)-1]
		w.pending = w.pending[:len(w.pending)-1]
		if err := w.takeDir(p.dir, p.entry); err != nil {
			return err
		}
	}
	for i := len(l.links) - 1; i >= 0; i-- {
		f := &l.files[l.links[i].file]
		l.links[i].next = f.link
		f.link = int32(i)
		f.names++
	}
	l.sortReparse()
	l.sortObjects()
	return nil
}

// treeWalk is the state of takeTree.
type treeWalk struct {
	*Layout
	linked  map[*winfile.Info]int32 // files that may have more names
	skipped map[*winfile.Info]bool
	objects map[[16]byte]int32
	pending []pendingDir // the next one last
	sorter  linkSorter
}

type pendingDir struct {
	entry *winfile.Entry
	dir   int32
}

func (w *treeWalk) addDir(file int32) {
	w.files[file].dir = int32(len(w.dirs))
	w.dirs = append(w.dirs, directory{file: file, link: none})
}

// path names an entry of a directory for messages.
func (l *Layout) path(dir int32, name string) string {
	parts := []string{name}
	for dir > extendDir {
		n := &l.links[l.dirs[dir].link]
		parts = append(parts, n.name)
		dir = n.dir
	}
	if dir == extendDir {
		parts = append(parts, "$Extend")
	}
	slices.Reverse(parts)
	return strings.Join(parts, "/")
}

// filePath is the path of a file's first name.
func (l *Layout) filePath(f int32) string {
	if l.files[f].link == none {
		return fmt.Sprintf("record %d", l.files[f].record)
	}
	n := &l.links[l.files[f].link]
	return l.path(n.dir, n.name)
}

func (l *Layout) note(path, format string, args ...any) {
	l.notes = append(l.notes, Note{path, fmt.Sprintf(format, args...)})
}

// takeDir takes the children of a directory.
func (w *treeWalk) takeDir(dir int32, e *winfile.Entry) error {
	first := len(w.links)
	if dir <= extendDir {
		w.addSystemNames(dir)
	}
	before := len(w.pending)
	for _, c := range e.Children {
		if err := w.takeEntry(dir, c); err != nil {
			return fmt.Errorf("%q: %w", w.path(dir, c.Name), err)
		}
		if len(w.links) > maxFiles {
			return fmt.Errorf("more than %d names", maxFiles)
		}
	}
	slices.Reverse(w.pending[before:])
	w.sorter.sort(w.links[first:])
	if err := w.resolveConflicts(dir, first); err != nil {
		return err
	}
	w.dirs[dir].first, w.dirs[dir].count = int32(first), int32(len(w.links)-first)
	for i := first; i < len(w.links); i++ {
		if d := w.files[w.links[i].file].dir; d > extendDir && w.links[i].space != nameDOS {
			w.dirs[d].link = int32(i)
		}
	}
	return nil
}

func (w *treeWalk) addSystemNames(dir int32) {
	for i, s := range systemFiles {
		if s.name != "" && (s.record >= recQuota) == (dir == extendDir) {
			w.links = append(w.links, link{s.name, int32(i), dir, none, uint8(len(s.name)), nameWin32DOS})
		}
	}
}

// takeEntry takes one name, and the file behind it if this is its first.
func (w *treeWalk) takeEntry(dir int32, e *winfile.Entry) error {
	units, err := checkName(e.Name)
	if err != nil {
		return err
	}
	info := e.Info
	if info == nil {
		return errors.New("entry without a file")
	}
	isDir := info.Attributes&winfile.AttrDirectory != 0
	if !isDir && len(e.Children) > 0 {
		return errors.New("file with children")
	}
	if w.skipped[info] {
		return nil
	}
	f, known := w.linked[info]
	if known && isDir {
		return errors.New("directory with several names")
	}
	if !known {
		if !isDir && (info.Attributes&winfile.AttrEncrypted != 0 || info.Extra != nil && info.Extra.EFS != nil) {
			return w.skipEncrypted(dir, e)
		}
		f = int32(len(w.files))
		w.files = append(w.files, file{info: info, link: none, dir: none, pointer: none, stream: none})
		if info.Links != 1 {
			w.linked[info] = f
		}
		if isDir {
			w.addDir(f)
			w.pending = append(w.pending, pendingDir{e, w.files[f].dir})
		}
		if err := w.describeAt(dir, e.Name, f, info); err != nil {
			return err
		}
	}
	if strings.ContainsAny(e.Name, windowsIllegal) {
		w.note(w.path(dir, e.Name), "Windows cannot open this name")
	}
	w.addNames(dir, f, e, uint8(units))
	return nil
}

// skipEncrypted leaves a file out, or says why it cannot be made.
func (w *treeWalk) skipEncrypted(dir int32, e *winfile.Entry) error {
	if !w.opt.SkipUnsupported {
		return fmt.Errorf("encrypted file: %w", errors.ErrUnsupported)
	}
	w.note(w.path(dir, e.Name), "left out: encrypted file")
	if w.skipped == nil {
		w.skipped = make(map[*winfile.Info]bool)
	}
	w.skipped[e.Info] = true
	return nil
}

// windowsIllegal are the characters that Win32 has in no name.
const windowsIllegal = "\"*:<>?\\|" +
	"\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f"

// checkName refuses names that no namespace holds. It returns the length in UTF-16 units.
func checkName(name string) (int, error) {
	switch {
	case name == "" || name == "." || name == "..":
		return 0, errors.New("not a name")
	case strings.ContainsAny(name, "/\x00"):
		return 0, errors.New("name with a slash or a NUL")
	case !winfile.ValidName(name):
		return 0, errors.New("name is not valid WTF-8")
	}
	n := utf16Length(name)
	if n > maxName {
		return 0, fmt.Errorf("name of %d UTF-16 units, want at most %d", n, maxName)
	}
	return n, nil
}

// addNames adds the long name and, if it has a good one, the short name.
func (w *treeWalk) addNames(dir, f int32, e *winfile.Entry, units uint8) {
	short := e.ShortName
	switch {
	case short == "" || winfile.EqualFold(short, e.Name):
		short = ""
	case !legal83(short):
		w.note(w.path(dir, e.Name), "short name %q is left out: not an 8.3 name", short)
		short = ""
	case w.files[f].flags&fileHasDOSName != 0:
		w.note(w.path(dir, e.Name), "short name %q is left out: another link of the file has one", short)
		short = ""
	}
	space := uint8(namePOSIX)
	if short != "" {
		space = nameWin32
		w.files[f].flags |= fileHasDOSName
		w.links = append(w.links, link{short, f, dir, none, uint8(utf16Length(short)), nameDOS})
	} else {
		space = singleNamespace(e.Name, e.Info)
	}
	w.links = append(w.links, link{e.Name, f, dir, none, units, space})
}

// singleNamespace is that of a name without a short name: both long and short if it is the file's only one and has the 8.3 form in
// every code page.
func singleNamespace(name string, info *winfile.Info) uint8 {
	if info.Links != 1 || !legal83(name) {
		return namePOSIX
	}
	for i := range len(name) {
		if name[i] >= 0x80 {
			return namePOSIX
		}
	}
	return nameWin32DOS
}

// linkSorter sorts links in the order of $I30. It keeps its memory between directories.
type linkSorter struct {
	units  []uint16 // upper-cased names
	keys   []linkKey
	sorted []link
}

type linkKey struct {
	off uint32
	n   uint8
	idx int32
}

func (s *linkSorter) sort(links []link) {
	up := winfile.UpCase()
	s.units, s.keys = s.units[:0], s.keys[:0]
	for i := range links {
		off := len(s.units)
		s.units = winfile.AppendUTF16(s.units, links[i].name)
		for j := off; j < len(s.units); j++ {
			s.units[j] = up[s.units[j]]
		}
		s.keys = append(s.keys, linkKey{uint32(off), links[i].units, int32(i)})
	}
	slices.SortStableFunc(s.keys, func(a, b linkKey) int {
		if c := slices.Compare(s.units[a.off:a.off+uint32(a.n)], s.units[b.off:b.off+uint32(b.n)]); c != 0 {
			return c
		}
		return slices.Compare(winfile.UTF16FromName(links[a.idx].name), winfile.UTF16FromName(links[b.idx].name))
	})
	s.sorted = s.sorted[:0]
	for _, k := range s.keys {
		s.sorted = append(s.sorted, links[k.idx])
	}
	copy(links, s.sorted)
}

// equal reports whether the sorted links i and j have the same name but for case.
func (s *linkSorter) equal(i, j int) bool {
	a, b := s.keys[i], s.keys[j]
	return slices.Equal(s.units[a.off:a.off+uint32(a.n)], s.units[b.off:b.off+uint32(b.n)])
}

// resolveConflicts looks at names of the sorted directory that are the same to Windows. Long names that differ in case are kept,
// all but one outside the Windows namespace; a short name that is in the way is dropped.
func (w *treeWalk) resolveConflicts(dir int32, first int) error {
	links := w.links[first:]
	var dropped map[int32]bool // files whose short name goes
	drop := func(i int) {
		if dropped == nil {
			dropped = make(map[int32]bool)
		}
		dropped[links[i].file] = true
	}
	for i := 0; i < len(links); {
		j := i + 1
		for j < len(links) && w.sorter.equal(i, j) {
			j++
		}
		if j-i > 1 {
			if err := w.resolveGroup(dir, links[i:j], func(k int) { drop(i + k) }); err != nil {
				return err
			}
		}
		i = j
	}
	if dropped == nil {
		return nil
	}
	kept := links[:0]
	for _, n := range links {
		switch {
		case !dropped[n.file]:
		case n.space == nameDOS:
			continue
		case n.space == nameWin32:
			w.note(w.path(dir, n.name), "short name is left out: another name in the directory is the same")
			w.files[n.file].flags &^= fileHasDOSName
			n.space = namePOSIX
		}
		kept = append(kept, n)
	}
	w.links = w.links[:first+len(kept)]
	return nil
}

// resolveGroup looks at names that are the same but for case.
func (w *treeWalk) resolveGroup(dir int32, group []link, drop func(int)) error {
	long := 0 // names that are not short
	for i := range group {
		n := &group[i]
		if n.file < int32(len(systemFiles)) {
			for _, m := range group {
				if m.file != n.file && m.space != nameDOS {
					return fmt.Errorf("%q: the name is that of a system file", w.path(dir, m.name))
				}
			}
		}
		if n.space != nameDOS {
			long++
		}
	}
	pairs := 0 // names that keep their short name and so stay in the Windows namespace
	shorts := 0
	for i := range group {
		n := &group[i]
		switch {
		case n.space == nameDOS:
			if shorts++; shorts > 1 || long > 0 {
				drop(i)
			}
			continue
		case i > 0 && group[i-1].space != nameDOS && group[i-1].name == n.name:
			return fmt.Errorf("%q: two entries with this name", w.path(dir, n.name))
		case n.space == nameWin32:
			if pairs++; pairs > 1 {
				drop(i)
			}
		case long > 1:
			n.space = namePOSIX
		}
	}
	return nil
}

// sortReparse orders the files with reparse points as $R has them: by tag, then record.
func (l *Layout) sortReparse() {
	for i := range l.files {
		if l.files[i].pointer >= 0 || l.files[i].info != nil && l.files[i].info.Reparse != nil {
			l.reparse = append(l.reparse, int32(i))
		}
	}
	slices.SortStableFunc(l.reparse, func(a, b int32) int { return cmp.Compare(l.reparseTag(a), l.reparseTag(b)) })
}

// reparseTag is the tag of a file that has a reparse point.
func (l *Layout) reparseTag(f int32) uint32 {
	if p := l.files[f].pointer; p >= 0 {
		return le.Uint32(l.pointers[p:])
	}
	return l.files[f].info.Reparse.Tag
}

// sortObjects orders the files with object ids as $O has them.
func (l *Layout) sortObjects() {
	for i := range l.files {
		if l.files[i].flags&fileHasObjectID != 0 {
			l.objects = append(l.objects, int32(i))
		}
	}
	slices.SortFunc(l.objects, func(a, b int32) int {
		return compareViewKeys(collateULongs, l.files[a].info.Extra.ObjectID[:16], l.files[b].info.Extra.ObjectID[:16])
	})
}

// describeAt is describe; for a file that is not linked yet, errors and notes take the path from its place.
func (w *treeWalk) describeAt(dir int32, name string, f int32, info *winfile.Info) error {
	before := len(w.notes)
	err := w.describe(f, info)
	for i := before; i < len(w.notes); i++ {
		w.notes[i].Path = w.path(dir, name)
	}
	return err
}

// describe checks what a file has and takes what is known once for the whole volume: security id, object id, reparse buffer.
func (w *treeWalk) describe(f int32, info *winfile.Info) error {
	isDir := info.Attributes&winfile.AttrDirectory != 0
	fl := &w.files[f]
	var err error
	if fl.security, err = w.security.id(info); err != nil {
		return err
	}
	if isDir && info.Data != nil {
		return errors.New("directory with unnamed data")
	}
	if isDir && info.Attributes&winfile.AttrEncrypted != 0 {
		w.note(".", "the attribute that encrypts new files is left out")
	}
	if err := checkReparse(info); err != nil {
		return err
	}
	if err := w.checkStreams(info.Streams, info.Data); err != nil {
		return err
	}
	if x := info.Extra; x != nil {
		if err := checkEAs(x.EAs); err != nil {
			return err
		}
		if err := w.takeObjectID(f, x.ObjectID); err != nil {
			return err
		}
	}
	if w.clustersFor(info.Size()) > maxClusters {
		return fmt.Errorf("data of %d bytes, want at most %d clusters: take larger clusters", info.Size(), int64(maxClusters))
	}
	if w.opt.Backing == nil || isDir || info.Data == nil || info.Reparse != nil {
		return nil
	}
	if buf := w.opt.Backing(info); buf != nil {
		if _, err := winfile.ParseReparse(buf); err != nil {
			return fmt.Errorf("pointer: %w", err)
		}
		if len(w.pointers) > 1<<31-1-4-winfile.MaxReparse {
			return errors.New("more than 2 GiB of pointers")
		}
		fl.pointer = int32(len(w.pointers))
		w.pointers = append(w.pointers, buf[:pointerSize(buf)]...)
		if w.opt.BackingStream != nil {
			return w.takeBackingStream(f, info)
		}
	}
	return nil
}

// takeBackingStream asks for one more stream of a pointer.
func (w *treeWalk) takeBackingStream(f int32, info *winfile.Info) error {
	s := w.opt.BackingStream(info)
	if s == nil {
		return nil
	}
	if err := w.checkStreams(append(slices.Clone(info.Streams), *s), nil); err != nil {
		return err
	}
	w.files[f].stream = int32(len(w.streams))
	w.streams = append(w.streams, *s)
	return nil
}

func checkReparse(info *winfile.Info) error {
	r := info.Reparse
	if r == nil {
		return nil
	}
	if n := len(r.Data) + 8; n > winfile.MaxReparse {
		return fmt.Errorf("reparse point of %d bytes, want at most %d", n, winfile.MaxReparse)
	}
	return nil
}

// checkStreams checks the named streams of a file and its unnamed data.
func (w *treeWalk) checkStreams(streams []winfile.Stream, data *winfile.Blob) error {
	if data != nil {
		if err := checkBlob(data); err != nil {
			return err
		}
	}
	for i := range streams {
		s := &streams[i]
		if s.Name == "" || strings.ContainsAny(s.Name, ":/\x00") || !winfile.ValidName(s.Name) || utf16Length(s.Name) > maxName {
			return fmt.Errorf("stream name %q, want 1 to %d UTF-16 units without a colon, slash or NUL", s.Name, maxName)
		}
		if s.Data != nil {
			if err := checkBlob(s.Data); err != nil {
				return fmt.Errorf("stream %q: %w", s.Name, err)
			}
		}
	}
	if len(streams) < 2 {
		return nil
	}
	names := make([]string, len(streams))
	for i := range names {
		names[i] = winfile.Fold(streams[i].Name)
	}
	slices.Sort(names)
	for i := range names[1:] {
		if names[i] == names[i+1] {
			return fmt.Errorf("two streams are named %q", names[i])
		}
	}
	return nil
}

func checkBlob(b *winfile.Blob) error {
	if b.Size < 1 || b.Size > 1<<60 {
		return fmt.Errorf("content of %d bytes", b.Size)
	}
	return nil
}

// takeObjectID keeps the first of equal ids.
func (w *treeWalk) takeObjectID(f int32, id []byte) error {
	switch len(id) {
	case 0:
		return nil
	case 16, 64:
	default:
		return fmt.Errorf("object id of %d bytes, want 16 or 64", len(id))
	}
	key := [16]byte(id)
	if key == [16]byte{} {
		return nil
	}
	if _, ok := w.objects[key]; ok {
		w.note(".", "object id %x is left out: another file has it", key)
		return nil
	}
	w.objects[key] = f
	w.files[f].flags |= fileHasObjectID
	return nil
}

func checkEAs(eas []winfile.EA) error {
	size := 0
	for _, ea := range eas {
		if len(ea.Name) < 1 || len(ea.Name) > 254 || strings.Contains(ea.Name, "\x00") || len(ea.Value) > 65535 {
			return fmt.Errorf("extended attribute %q with a value of %d bytes, want a name of 1 to 254 bytes and at most 65535", ea.Name, len(ea.Value))
		}
		size += eaSize(&ea)
	}
	if size > maxEASize {
		return fmt.Errorf("extended attributes of %d bytes, want at most %d", size, maxEASize)
	}
	return nil
}

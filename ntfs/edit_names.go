package ntfs

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"husk/winfile"
)

// Add makes a new file or directory in a directory that exists. What info has is what it gets: times (0 means now), attributes, contents,
// streams, reparse point, security (nil means that of the directory), object id and extended attributes. It has one name and no
// short one.
func (e *Editor) Add(path string, info *winfile.Info) error {
	return e.do("add", path, func() error { return e.add(path, info) })
}

// Mkdir makes a directory in one that exists.
func (e *Editor) Mkdir(path string) error {
	return e.Add(path, &winfile.Info{Attributes: winfile.AttrDirectory, Links: 1})
}

func (e *Editor) add(path string, info *winfile.Info) error {
	dir, name, err := splitDir(path)
	if err != nil {
		return err
	}
	if _, err := checkName(name); err != nil {
		return err
	}
	if strings.ContainsAny(name, windowsIllegal) {
		return errors.New("a name that Windows cannot open")
	}
	d, err := e.loadDir(dir)
	if err != nil {
		return err
	}
	if d.n < firstUserFile && d.n != recRoot {
		return errors.New("a system directory")
	}
	switch _, err := e.lookup(d, name); {
	case err == nil:
		return fs.ErrExist
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if e.removed[dirName{d.n, winfile.Fold(name)}] {
		return errCommitFirst // else a cut could leave an index with neither the old file nor the new one
	}
	if err := e.checkInfo(info); err != nil {
		return err
	}
	id, err := e.securityID(d, info)
	if err != nil {
		return err
	}
	var flags uint16
	if info.Attributes&winfile.AttrDirectory != 0 {
		flags = recordDirectory
	}
	f, err := e.newFile(flags)
	if err != nil {
		return err
	}
	// Making it may have changed the directory's record: the $MFT has an entry in the root.
	if d, err = e.load(d.n); err != nil {
		return err
	}
	if err := e.fill(f, d, name, info, id); err != nil {
		return err
	}
	if err := e.settle(f); err != nil {
		return err
	}
	if err := e.save(f, rankNew); err != nil {
		return err
	}
	key := e.attr(f, typeFileName, "").value()
	if err := e.link(d, f.ref(), key); err != nil {
		return err
	}
	return e.indexNew(f, info)
}

// checkInfo refuses what NTFS cannot hold.
func (e *Editor) checkInfo(info *winfile.Info) error {
	if info == nil {
		return errors.New("entry without a file")
	}
	dir := info.Attributes&winfile.AttrDirectory != 0
	if dir && info.Data != nil {
		return errors.New("directory with unnamed data")
	}
	if info.Attributes&winfile.AttrEncrypted != 0 || info.Extra != nil && info.Extra.EFS != nil {
		return fmt.Errorf("encrypted file: %w", errors.ErrUnsupported)
	}
	if err := checkReparse(info); err != nil {
		return err
	}
	if info.Security != nil {
		if err := checkDescriptor(info.Security); err != nil {
			return err
		}
	}
	if info.Extra != nil {
		if n := len(info.Extra.ObjectID); n != 0 && n != 16 && n != 64 {
			return fmt.Errorf("object id of %d bytes, want 16 or 64", n)
		}
		if err := checkEAs(info.Extra.EAs); err != nil {
			return err
		}
	}
	return new(treeWalk).checkStreams(info.Streams, info.Data)
}

// fill gives a new file its attributes.
func (e *Editor) fill(f, d *editFile, name string, info *winfile.Info, id uint32) error {
	std := make([]byte, stdInfoSize)
	changed := info.Changed
	if changed == 0 {
		changed = info.Written
	}
	for i, t := range []winfile.Filetime{info.Created, info.Written, changed, info.Accessed} {
		if t == 0 {
			t = e.now()
		}
		le.PutUint64(std[8*i:], uint64(t))
	}
	dir := info.Attributes&winfile.AttrDirectory != 0
	bits := info.Attributes &^ computed
	if !dir {
		bits &^= winfile.AttrCompressed
	}
	le.PutUint32(std[0x20:], uint32(bits))
	le.PutUint32(std[0x34:], id)
	e.replace(f, typeStandardInformation, "", residentAttr(typeStandardInformation, "", 0, std))

	key := nameKey(winfile.AppendUTF16LE(nil, name))
	le.PutUint64(key, uint64(d.ref()))
	key[0x41] = singleNamespace(name, &winfile.Info{Links: 1})
	e.replace(f, typeFileName, "", residentAttr(typeFileName, "", 0, key))
	le.PutUint16(f.header[0x12:], 1)

	if x := info.Extra; x != nil {
		if len(x.ObjectID) > 0 {
			e.replace(f, typeObjectID, "", residentAttr(typeObjectID, "", 0, x.ObjectID[:16]))
		}
		if len(x.EAs) > 0 {
			e.replace(f, typeEAInformation, "", residentAttr(typeEAInformation, "", 0, appendEAInformation(nil, x.EAs)))
			e.replace(f, typeEA, "", residentAttr(typeEA, "", 0, appendEAs(nil, x.EAs)))
		}
	}
	if info.Reparse != nil {
		e.replace(f, typeReparsePoint, "", residentAttr(typeReparsePoint, "", 0, info.Reparse.Buffer()))
	}
	if dir {
		var flags uint16
		if info.Attributes&winfile.AttrCompressed != 0 {
			flags = attrFlagCompressed
		}
		x := index{name: "$I30", typ: typeFileName, order: collateFileName, shape: &indexShape{}}
		e.replace(f, typeIndexRoot, "$I30", residentAttr(typeIndexRoot, "$I30", flags, x.appendRoot(nil, e.v.ClusterSize)))
	} else if err := e.setStream(f, "", info.Data); err != nil {
		return err
	}
	for _, s := range info.Streams {
		if err := e.setStream(f, s.Name, s.Data); err != nil {
			return fmt.Errorf("stream %q: %w", s.Name, err)
		}
	}
	return nil
}

// link adds a name to a directory.
func (e *Editor) link(d *editFile, ref fileRef, key []byte) error {
	x, err := e.openEditIndex(d, "$I30")
	if err != nil {
		return err
	}
	b := le.AppendUint64(nil, uint64(ref))
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0)
	b = append(b, key...)
	le.PutUint16(b[10:], uint16(len(key)))
	b = append(b, make([]byte, align(len(b), 8)-len(b))...)
	le.PutUint16(b[8:], uint16(len(b)))
	if err := x.insert(b); err != nil {
		return err
	}
	return e.saveDir(d)
}

// saveDir puts a directory back whose entries have changed.
func (e *Editor) saveDir(d *editFile) error {
	if s := e.standard(d); s != nil {
		le.PutUint64(s[0x08:], uint64(e.now()))
		le.PutUint64(s[0x10:], uint64(e.now()))
	}
	return e.save(d, rankIndex)
}

// indexNew adds a new file to the indexes of reparse points and object ids.
func (e *Editor) indexNew(f *editFile, info *winfile.Info) error {
	if info.Reparse != nil {
		if err := e.indexReparse(f, info.Reparse.Tag, true); err != nil {
			return err
		}
	}
	if info.Extra == nil || len(info.Extra.ObjectID) == 0 {
		return nil
	}
	n, err := e.find("$Extend/$ObjId")
	if err != nil {
		return fmt.Errorf("$Extend\\$ObjId: %w", err)
	}
	data := le.AppendUint64(nil, uint64(f.ref()))
	data = append(data, info.Extra.ObjectID[16:]...)
	return e.changeView(n, "$O", info.Extra.ObjectID[:16], append(data, make([]byte, 56-len(data))...), true, false)
}

// Remove takes a name away, and the file with it if it was the last. A directory must be empty. A short name goes with its long one.
func (e *Editor) Remove(path string) error {
	return e.do("remove", path, func() error { return e.removePath(path) })
}

func (e *Editor) removePath(path string) error {
	dir, name, err := splitDir(path)
	if err != nil {
		return err
	}
	d, err := e.loadDir(dir)
	if err != nil {
		return err
	}
	entry, err := e.lookup(d, name)
	if err != nil {
		return err
	}
	f, err := e.loadEntry(entry)
	if err != nil {
		return err
	}
	gone := namesTogether(f, d.ref(), fileName(entry.key()))
	if len(gone) == 0 {
		return fmt.Errorf("record %d has no such name: the volume is damaged", f.n)
	}
	left := 0
	for _, a := range f.attrs {
		if a.typ() == typeFileName {
			left++
		}
	}
	if left > len(gone) {
		err = e.unname(f, gone)
	} else {
		err = e.destroy(f)
	}
	if err != nil {
		return err
	}
	clear(e.dirs)
	for _, key := range gone {
		e.removed[dirName{d.n, winfile.Fold(winfile.NameFromUTF16LE(key.name()))}] = true
		// Each removal may lay the index out anew.
		if d, err = e.load(d.n); err != nil {
			return err
		}
		x, err := e.openEditIndex(d, "$I30")
		if err != nil {
			return err
		}
		if err := x.remove(key); err != nil {
			return err
		}
		if err := e.saveDir(d); err != nil {
			return err
		}
	}
	return nil
}

// namesTogether are the values of the $FILE_NAMEs that go with one: itself and its partner in the other namespace. Which of several Win32
// names in one directory a DOS name belongs to, nothing tells: there it stays as long as one of them does.
func namesTogether(f *editFile, dir fileRef, key fileName) []fileName {
	var list []fileName
	long := 0
	for _, a := range f.attrs {
		if a.typ() != typeFileName || a.nonResident() {
			continue
		}
		if k := fileName(a.value()); k.check() == nil && k.parent() == dir && k.namespace() == nameWin32 {
			long++
		}
	}
	for _, a := range f.attrs {
		if a.typ() != typeFileName || a.nonResident() {
			continue
		}
		k := fileName(a.value())
		if k.check() != nil || k.parent() != dir {
			continue
		}
		partner := long == 1 && k.namespace() != key.namespace() && (k.namespace() == nameDOS || key.namespace() == nameDOS) &&
			(k.namespace() == nameWin32 || key.namespace() == nameWin32)
		if partner || k.namespace() == key.namespace() && string(k.name()) == string(key.name()) {
			list = append(list, slices.Clone(k))
		}
	}
	return list
}

// unname takes names away from a file that has others.
func (e *Editor) unname(f *editFile, gone []fileName) error {
	f.attrs = slices.DeleteFunc(f.attrs, func(a editAttr) bool {
		return a.typ() == typeFileName && !a.nonResident() && slices.ContainsFunc(gone, func(k fileName) bool { return string(k) == string(a.value()) })
	})
	f.resize = true
	links := int(f.header.links()) - len(gone)
	if links < 1 {
		return fmt.Errorf("record %d has a link count of %d and more names: the volume is damaged", f.n, f.header.links())
	}
	le.PutUint16(f.header[0x12:], uint16(links))
	le.PutUint64(e.standard(f)[0x10:], uint64(e.now()))
	return e.save(f, rankFile)
}

// destroy frees a file: its clusters, records and places in the indexes of the volume.
func (e *Editor) destroy(f *editFile) error {
	if e.attr(f, typeIndexRoot, "$I30") != nil {
		x, err := e.openEditIndex(f, "$I30")
		if err != nil {
			return err
		}
		if list, err := x.all(); err != nil || len(list) > 0 {
			return cmp.Or(err, fmt.Errorf("the directory has %d entries", len(list)))
		}
	}
	b, err := e.reparseOf(f)
	if err != nil {
		return err
	}
	if len(b) >= 4 {
		if err := e.indexReparse(f, le.Uint32(b), false); err != nil {
			return err
		}
	}
	if a := e.attr(f, typeObjectID, ""); a != nil && !a.nonResident() && a.valueLength() >= 16 {
		n, err := e.find("$Extend/$ObjId")
		if err == nil {
			err = e.changeView(n, "$O", slices.Clone(a.value()[:16]), nil, false, true)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for _, a := range f.attrs {
		runs, err := e.runsOf(a.attribute)
		if err != nil {
			return err
		}
		if err := e.release(runs); err != nil {
			return err
		}
	}
	if err := e.release(f.list); err != nil {
		return err
	}
	for _, n := range f.exts {
		if err := e.freeRecord(n, rankFreeExt); err != nil {
			return err
		}
	}
	return e.freeRecord(f.n, rankFree)
}

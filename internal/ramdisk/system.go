package ramdisk

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"husk/bcd"
	"husk/internal/bootset"
	"husk/internal/disk"
	"husk/internal/driver"
	"husk/internal/source"
	"husk/internal/winsys"
	"husk/regf"
	"husk/winfile"
)

var le = binary.LittleEndian

// system is the tree that goes into memory, while it is made ready.
type system struct {
	tree     *winfile.Tree
	resolved *winfile.Tree // the same with the contents of pointer files; nil if the WIM is not at hand
	absent   error         // why there is none
	facts    *winsys.Facts
	hive     *regf.Hive
	hivePath string
	backing  map[*winfile.Info][]byte // reparse points of the files that stay pointers
}

// dropped are files of the volume's root that a disk in memory has no use for: they hold memory, or what is in memory.
var dropped = []string{"pagefile.sys", "hiberfil.sys", "swapfile.sys"}

// drop takes out what only takes room, shadow copies too, and returns the paths.
func (s *system) drop() (list []string) {
	filter := func(dir *winfile.Entry, path string, out func(name string) bool) {
		var kept []*winfile.Entry
		for _, e := range dir.Children {
			if !e.Info.IsDir() && out(e.Name) {
				e.Info.Links--
				list = append(list, path+e.Name)
				continue
			}
			kept = append(kept, e)
		}
		dir.Children = kept
	}
	filter(s.tree.Root, "", func(name string) bool {
		for _, d := range dropped {
			if winfile.EqualFold(name, d) {
				return true
			}
		}
		return false
	})
	if info := s.tree.Root.Child("System Volume Information"); info != nil {
		filter(info, "System Volume Information/", func(name string) bool { return strings.HasPrefix(name, "{") })
	}
	return list
}

// keepPointers takes the reparse points of pointer and compact files off the tree: the volume gets them back as it is laid out, so
// that their data is a hole. Those that are read before the overlay driver get their content instead.
func (s *system) keepPointers(early bool) (plain int, problem error) {
	must := make(map[*winfile.Info]bool)
	if early {
		look := s.tree
		if s.resolved != nil {
			look = s.resolved
		}
		set, err := bootset.Find(look)
		if err != nil && s.resolved != nil {
			return 0, err
		}
		for _, f := range set.Files {
			if e := s.tree.Lookup(f.Path); e != nil && isOverlay(e.Info) {
				must[e.Info] = true
			}
		}
	}
	s.backing = make(map[*winfile.Info][]byte)
	done := make(map[*winfile.Info]bool)
	var without []string
	for path, e := range s.tree.All() {
		i := e.Info
		if done[i] || !isOverlay(i) {
			continue
		}
		done[i] = true
		buffer := i.Reparse.Buffer()
		i.Reparse = nil
		i.Attributes &^= winfile.AttrReparse | winfile.AttrSparse
		if !must[i] {
			if i.Data != nil {
				s.backing[i] = buffer
			}
			continue
		}
		content := s.content(path)
		if content == nil {
			without = append(without, path)
			s.backing[i] = buffer
			continue
		}
		i.Data = content.Info.Data
		i.Streams = content.Info.Streams
		plain++
	}
	if len(without) > 0 {
		problem = fmt.Errorf("%d files that are read before the overlay driver are pointers, %s for one, and their WIM is not at hand: %w", len(without), without[0], s.absent)
	}
	return plain, problem
}

// content is a file with its content: that of the pointer, too.
func (s *system) content(path string) *winfile.Entry {
	if s.resolved == nil {
		return nil
	}
	e := s.resolved.Lookup(path)
	if e == nil || e.Info.IsDir() || isOverlay(e.Info) {
		return nil
	}
	return e
}

func isOverlay(i *winfile.Info) bool { return i.Reparse != nil && i.Reparse.Tag == winfile.TagWOF }

// identity is how Windows knows a volume: an entry of MountedDevices.
func identity(d *disk.Disk, p *disk.Partition) []byte {
	switch d.Scheme {
	case disk.MBR:
		return mbrIdentity(d.Signature, p.Offset)
	case disk.GPT:
		return append([]byte("DMIO:ID:"), p.GUID[:]...)
	}
	return nil
}

func mbrIdentity(signature uint32, offset int64) []byte {
	return le.AppendUint64(le.AppendUint32(nil, signature), uint64(offset))
}

const systemDrive = `\DosDevices\C:`

// moveLetters gives the drive letters of the old volume to the new one. If it had none, as in a system that was never started from it,
// the new one is C:.
func (s *system) moveLetters(old, now []byte) error {
	k, err := s.hive.Root().Create("MountedDevices")
	if err != nil {
		return err
	}
	values, err := k.Values()
	if err != nil {
		return err
	}
	var moved []string
	for _, v := range values {
		if len(old) > 0 && bytes.Equal(v.Data, old) {
			moved = append(moved, v.Name)
		}
	}
	if len(moved) == 0 {
		moved = append(moved, systemDrive)
	}
	for _, name := range moved {
		if err := k.SetBinary(name, now); err != nil {
			return err
		}
	}
	return nil
}

// noPaging has the system keep no page file and not hibernate: both would fill the disk in memory with memory.
func (s *system) noPaging() error {
	keys, err := s.hive.Root().Subkeys()
	if err != nil {
		return err
	}
	var sets []string
	for _, k := range keys {
		if n := k.Name(); len(n) == len("ControlSet001") && strings.EqualFold(n[:len("ControlSet")], "ControlSet") {
			sets = append(sets, n)
		}
	}
	for _, set := range sets {
		memory, err := s.hive.Root().Create(set + `\Control\Session Manager\Memory Management`)
		if err != nil {
			return err
		}
		if err := memory.SetMultiSZ("PagingFiles"); err != nil {
			return err
		}
		power, err := s.hive.Root().Create(set + `\Control\Power`)
		if err != nil {
			return err
		}
		if err := power.SetDWord("HibernateEnabled", 0); err != nil {
			return err
		}
	}
	return nil
}

// saveHive puts the changed hive into the tree, and empties its logs.
func (s *system) saveHive() error {
	b, err := s.hive.Bytes()
	if err != nil {
		return err
	}
	e := s.tree.Lookup(s.hivePath)
	e.Info = withData(e.Info, b)
	for _, ext := range regf.LogNames {
		if log := s.tree.Lookup(s.hivePath + ext); log != nil && !log.Info.IsDir() {
			log.Info = withData(log.Info, nil)
		}
	}
	return nil
}

// withData is one name of a file with new content; other names keep the old.
func withData(old *winfile.Info, b []byte) *winfile.Info {
	info := *old
	old.Links--
	info.Links, info.Data, info.Reparse = 1, winfile.NewBlob(b), nil
	info.Attributes &^= winfile.AttrSparse | winfile.AttrCompressed | winfile.AttrReparse
	return &info
}

// bootFolders are what a boot manager on a BIOS has beside it, and where an image has it.
var bootFolders = [][2]string{{"Boot/PCAT", "Boot"}, {"Boot/Fonts", "Boot/Fonts"}, {"Boot/Resources", "Boot/Resources"}}

// addBootFiles puts the boot manager that the system brings into its volume's root, or leaves the one there where it brings none, and a
// boot store with the system as its one entry.
func (s *system) addBootFiles(title string) error {
	if err := s.copyBootFiles(); err != nil {
		if e := s.tree.Root.Child("bootmgr"); e == nil || s.backing[e.Info] != nil {
			return err
		}
	}
	store, err := s.newStore(title)
	if err != nil {
		return err
	}
	b, err := store.Bytes()
	if err != nil {
		return err
	}
	s.put("Boot/BCD", &winfile.Info{Links: 1, Data: winfile.NewBlob(b), Attributes: winfile.AttrArchive})
	for _, ext := range regf.LogNames {
		if log := s.tree.Lookup("Boot/BCD" + ext); log != nil && !log.Info.IsDir() {
			log.Info = withData(log.Info, nil)
		}
	}
	for _, hidden := range []string{"bootmgr", "BOOTNXT", "Boot"} {
		if e := s.tree.Root.Child(hidden); e != nil {
			e.Info.Attributes |= winfile.AttrHidden | winfile.AttrSystem
		}
	}
	return nil
}

// copyBootFiles copies the boot manager and all that it has beside it, or nothing.
func (s *system) copyBootFiles() error {
	top := s.facts.Folder + "/"
	manager := s.bootFile(top + "Boot/PCAT/bootmgr")
	if manager == nil {
		return &fs.PathError{Op: "boot manager", Path: top + "Boot/PCAT/bootmgr", Err: fs.ErrNotExist}
	}
	files := map[string]*winfile.Info{"bootmgr": manager}
	order := []string{"bootmgr"}
	for _, f := range bootFolders {
		dir := s.tree.Lookup(top + f[0])
		if dir == nil {
			continue
		}
		for path, e := range (&winfile.Tree{Root: dir}).All() {
			if e.Info.IsDir() || f[0] == "Boot/PCAT" && winfile.EqualFold(path, "bootmgr") {
				continue
			}
			info := s.bootFile(top + f[0] + "/" + path)
			if info == nil {
				return fmt.Errorf("%s is a pointer, and its WIM is not at hand", top+f[0]+"/"+path)
			}
			to := f[1] + "/" + path
			if f[0] == "Boot/PCAT" && winfile.EqualFold(path, "bootnxt") {
				to = "BOOTNXT"
			}
			files[to] = info
			order = append(order, to)
		}
	}
	for _, to := range order {
		s.put(to, files[to])
	}
	return nil
}

// bootFile is a plain copy of a file; nil if it is not there or its content cannot be had.
func (s *system) bootFile(path string) *winfile.Info {
	e := s.tree.Lookup(path)
	if e == nil || e.Info.IsDir() {
		return nil
	}
	i := e.Info
	data := i.Data
	if s.backing[i] != nil || isOverlay(i) {
		c := s.content(path)
		if c == nil {
			return nil
		}
		data = c.Info.Data
	}
	return &winfile.Info{
		Attributes: i.Attributes &^ (winfile.AttrReparse | winfile.AttrSparse | winfile.AttrCompressed),
		Created:    i.Created, Written: i.Written, Accessed: i.Accessed, Changed: i.Changed, Links: 1, Data: data,
	}
}

// put makes or replaces a file, with the security of its folder. Folders on the way are made.
func (s *system) put(path string, info *winfile.Info) {
	dir := s.tree.Root
	names := strings.Split(path, "/")
	if info.Written == 0 {
		now := winfile.FiletimeOf(time.Now())
		info.Created, info.Written, info.Accessed, info.Changed = now, now, now, now
	}
	for _, name := range names[:len(names)-1] {
		next := dir.Child(name)
		if next == nil {
			made := &winfile.Info{
				Attributes: winfile.AttrDirectory, Created: info.Created, Written: info.Written, Accessed: info.Accessed,
				Changed: info.Changed, Links: 1, Security: dir.Info.Security,
			}
			next = &winfile.Entry{Name: name, Info: made}
			dir.Children = append(dir.Children, next)
		}
		dir = next
	}
	info.Security = dir.Info.Security
	base := names[len(names)-1]
	if e := dir.Child(base); e != nil {
		e.Info.Links--
		e.Info, e.Children = info, nil
		return
	}
	dir.Children = append(dir.Children, &winfile.Entry{Name: base, Info: info})
}

// newStore is a boot store that starts the system from the volume that the boot manager is on.
func (s *system) newStore(title string) (*bcd.Store, error) {
	release := s.release()
	store, err := bcd.NewMenu(bcd.Menu{Release: release, Locale: s.facts.DefaultLanguage})
	if err != nil {
		return nil, err
	}
	_, err = store.AddWindows(bcd.Windows{
		Release: release, X86: s.facts.Arch == 0, Device: bcd.Device{Where: bcd.Boot{}}, SystemRoot: `\` + s.facts.Folder,
		Description: title, DetectHAL: release == bcd.Windows7,
	}, nil)
	return store, err
}

func (s *system) release() bcd.Release {
	switch {
	case s.facts.Major >= 10:
		return bcd.Windows10
	case s.facts.Major == 6 && s.facts.Minor >= 2:
		return bcd.Windows8
	}
	return bcd.Windows7
}

// open reads facts and hive of the system.
func open(raw, resolved *source.Source, absent error) (*system, error) {
	s := &system{tree: raw.Tree, absent: absent}
	look := raw.Tree
	if resolved != nil {
		s.resolved, look = resolved.Tree, resolved.Tree
	}
	var err error
	if s.facts, err = winsys.Read(look); err != nil && resolved != nil {
		return nil, err // without contents of pointers, the hives must do
	}
	if s.facts == nil {
		return nil, errNoWindows
	}
	if s.facts.Arch < 0 {
		s.facts.Arch = driver.ArchOf(look, s.facts.Folder)
	}
	s.hivePath = s.facts.Folder + "/System32/config/SYSTEM"
	if s.hive, err = winsys.OpenHive(look, s.hivePath); err != nil {
		return nil, err
	}
	if r := s.hive.Recovery; r.Dirty && !r.Complete {
		return nil, fmt.Errorf("%s: %w", s.hivePath, regf.ErrDirty)
	}
	s.hive.Now = winfile.FiletimeOf(time.Now())
	return s, nil
}

package ntfs

import (
	"crypto/sha1"
	"fmt"
	"math/rand/v2"
	"strings"

	"husk/winfile"
)

// treeMaker makes trees for tests. All it makes follows from the seed.
type treeMaker struct {
	*rand.Rand
	clock winfile.Filetime
	sds   [][]byte
}

func newTreeMaker(seed uint64) *treeMaker {
	m := &treeMaker{Rand: rand.New(rand.NewPCG(seed, 1)), clock: 0x01d9f6d3e5b3a1c7}
	for i := range 5 {
		m.sds = append(m.sds, m.descriptor(i))
	}
	return m
}

// descriptor makes one that differs from others in the rights of a made-up user.
func (m *treeMaker) descriptor(i int) []byte {
	user := []byte{1, 5, 0, 0, 0, 0, 0, 5, 21, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}
	user = le.AppendUint32(user, uint32(1000+i))
	return descriptor(sidAdministrators, sidSystem, ace{0, accessFull, sidSystem}, ace{0, accessExec, user})
}

func (m *treeMaker) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(m.Uint32())
	}
	return b
}

func (m *treeMaker) blob(n int) *winfile.Blob { return winfile.NewBlob(m.bytes(n)) }

// info makes the metadata of a file or directory.
func (m *treeMaker) info(a winfile.Attributes) *winfile.Info {
	next := func() winfile.Filetime {
		m.clock += winfile.Filetime(m.Uint32())
		return m.clock
	}
	return &winfile.Info{Attributes: a, Created: next(), Written: next(), Accessed: next(), Changed: next(), Links: 1, Security: m.sds[m.IntN(len(m.sds))]}
}

func (m *treeMaker) file(name string, size int) *winfile.Entry {
	i := m.info(winfile.AttrArchive)
	i.Data = m.blob(size)
	return &winfile.Entry{Name: name, Info: i}
}

func (m *treeMaker) dir(name string, children ...*winfile.Entry) *winfile.Entry {
	return &winfile.Entry{Name: name, Info: m.info(winfile.AttrDirectory), Children: children}
}

// fullTree has everything that a volume can hold. Directories have up to large entries.
func (m *treeMaker) fullTree(large int) *winfile.Tree {
	root := m.dir("", m.names(), m.sizes(), m.streams(), m.links(), m.reparsePoints(), m.extras(), m.descriptors(), m.attributes())
	root.Info.Attributes |= winfile.AttrHidden | winfile.AttrSystem
	big := m.dir("many")
	for i := range large {
		e := m.file(fmt.Sprintf("a file with a long name %d.txt", i*7919%large), i%3)
		if i%2 == 0 {
			e.ShortName = fmt.Sprintf("F%06d.TXT", i)
		}
		big.Children = append(big.Children, e)
	}
	root.Children = append(root.Children, big)
	return &winfile.Tree{Root: root}
}

func (m *treeMaker) names() *winfile.Entry {
	d := m.dir("Names and more names")
	d.ShortName = "NAMESA~1"
	for _, n := range []string{
		"中文目录", "测试文件.txt", "lone\xed\xa0\x80high", "lone\xed\xb0\x80low", "😀.png", "ß", "SS", "ſ", "İ", "ı", "ÿ", "Ÿ", "a", "B", "c.d", "c.d.e", ".profile",
		"trailing.", "with space", "AUTOEXEC.BAT", "Mixed.Txt", "!$%&'()-", "a+b", "a,b;c=[d]", strings.Repeat("x", 255), strings.Repeat("中", 255),
		strings.Repeat("😀", 127) + "y", "CON", "~1", "ǆ", "ᾳ",
	} {
		d.Children = append(d.Children, m.file(n, 10))
	}
	for i, n := range []string{"Program Files", "Program Files (x86)", "新建 文本文档.txt", "long name.markdown"} {
		e := m.file(n, i)
		e.ShortName = []string{"PROGRA~1", "PROGRA~2", "新建文~1.TXT", "LONGNA~1.MAR"}[i]
		d.Children = append(d.Children, e)
	}
	d.Children = append(d.Children, m.dir("case", m.file("readme", 1), m.file("README", 2), m.file("ReadMe", 3), m.file("readmf", 4)), m.dir("empty"))
	return d
}

func (m *treeMaker) sizes() *winfile.Entry {
	d := m.dir("sizes")
	for n := 0; n <= 2000; n += 1 + n/300*13 {
		d.Children = append(d.Children, m.file(fmt.Sprintf("size%d", n), n))
	}
	for _, n := range []int{4095, 4096, 4097, 8192, 65535, 65536, 65537, 1 << 20, 3<<20 + 1} {
		d.Children = append(d.Children, m.file(fmt.Sprintf("size%d", n), n))
	}
	twin := m.file("twin", 5000) // the same blob twice, and once more as a stream
	other := m.file("twin too", 1)
	other.Info.Data = twin.Info.Data
	other.Info.Streams = []winfile.Stream{{Name: "copy", Data: twin.Info.Data}}
	small := m.file("small twin", 50)
	smallToo := m.file("small twin too", 1)
	smallToo.Info.Data = small.Info.Data
	d.Children = append(d.Children, twin, other, small, smallToo)
	return d
}

func (m *treeMaker) streams() *winfile.Entry {
	d := m.dir("streams")
	one := m.file("one", 100)
	one.Info.Streams = []winfile.Stream{{Name: "Zone.Identifier", Data: m.blob(26)}}
	some := m.file("some", 5000)
	some.Info.Streams = []winfile.Stream{{Name: "b", Data: m.blob(10)}, {Name: "A", Data: m.blob(9000)}, {Name: "中", Data: nil}, {Name: "ab", Data: m.blob(600)}}
	many := m.file("many", 30)
	for i := range 60 {
		many.Info.Streams = append(many.Info.Streams, winfile.Stream{Name: fmt.Sprintf("stream %d", i*7%60), Data: m.blob(i * i)})
	}
	long := m.file("long", 700)
	for i := range 9 {
		long.Info.Streams = append(long.Info.Streams, winfile.Stream{Name: strings.Repeat(string(rune('a'+i)), 255), Data: m.blob(200 * i)})
	}
	dir := m.dir("directory", m.file("child", 3))
	dir.Info.Streams = []winfile.Stream{{Name: "on a directory", Data: m.blob(800)}, {Name: "x", Data: m.blob(80)}}
	crowded := m.dir("crowded directory")
	for i := range 40 {
		crowded.Info.Streams = append(crowded.Info.Streams, winfile.Stream{Name: fmt.Sprintf("stream %d", i), Data: m.blob(i)})
		crowded.Children = append(crowded.Children, m.file(fmt.Sprintf("child %d", i), i))
	}
	d.Children = append(d.Children, one, some, many, long, dir, crowded)
	return d
}

// links has files with many names in several directories, one of them with a short name.
func (m *treeMaker) links() *winfile.Entry {
	a, b := m.dir("links a"), m.dir("links b")
	for i, n := range []int{2, 7, 15, 200} {
		info := m.info(winfile.AttrArchive)
		info.Data, info.Links = m.blob(10*i*i*i*i), int32(n)
		for k := range n {
			e := &winfile.Entry{Name: fmt.Sprintf("x86_a-rather-long-component-name_31bf3856ad364e35_6.1.7601.%d_none_%d", k, i), Info: info}
			if k == 1 {
				e.ShortName = fmt.Sprintf("LINK~%d.DLL", i)
			}
			if k%2 == 0 {
				a.Children = append(a.Children, e)
			} else {
				b.Children = append(b.Children, e)
			}
		}
	}
	return m.dir("links", a, b)
}

func (m *treeMaker) reparsePoints() *winfile.Entry {
	point := func(name string, a winfile.Attributes, tag uint32, data []byte) *winfile.Entry {
		e := &winfile.Entry{Name: name, Info: m.info(a | winfile.AttrReparse)}
		e.Info.Reparse = &winfile.Reparse{Tag: tag, Data: data}
		return e
	}
	target := func(extra int, s string) []byte {
		sub, print := winfile.AppendUTF16LE(nil, `\??\`+s), winfile.AppendUTF16LE(nil, s)
		b := le.AppendUint16(nil, 0)
		b = le.AppendUint16(b, uint16(len(sub)))
		b = le.AppendUint16(b, uint16(len(sub)+2))
		b = le.AppendUint16(b, uint16(len(print)))
		b = append(b, make([]byte, extra)...)
		return append(append(append(append(b, sub...), 0, 0), print...), 0, 0)
	}
	d := m.dir("points",
		point("Documents and Settings", winfile.AttrDirectory|winfile.AttrHidden|winfile.AttrSystem, winfile.TagMountPoint, target(0, `C:\Users`)),
		point("file link", winfile.AttrArchive, winfile.TagSymlink, target(4, `C:\a`)),
		point("directory link", winfile.AttrDirectory, winfile.TagSymlink, target(4, `C:\b`)),
		point("app", winfile.AttrArchive, winfile.TagAppExecLink, m.bytes(500)),
		point("large", winfile.AttrArchive, winfile.TagLXSymlink, m.bytes(8000)),
		point("vendor", winfile.AttrArchive, 0x1234, m.bytes(40)))
	for i := range 300 { // $R outgrows its record
		d.Children = append(d.Children, point(fmt.Sprintf("point %d", i), winfile.AttrDirectory, winfile.TagMountPoint, target(0, `C:\x`)))
	}
	return d
}

func (m *treeMaker) extras() *winfile.Entry {
	d := m.dir("extras")
	for i := range 100 { // $O outgrows its record
		e := m.file(fmt.Sprintf("object %d", i), i)
		e.Info.Extra = &winfile.Extra{ObjectID: m.bytes(16 + 48*(i%2))}
		d.Children = append(d.Children, e)
	}
	ea := m.file("ea", 20)
	ea.Info.Extra = &winfile.Extra{EAs: []winfile.EA{{Name: "FIRST", Value: []byte("value")}, {Flags: 0x80, Name: "$KERNEL.PURGE.X", Value: m.bytes(33)}}}
	large := m.file("large ea", 20)
	large.Info.Extra = &winfile.Extra{EAs: []winfile.EA{{Name: "BIG", Value: m.bytes(30000)}, {Name: "BIG2", Value: m.bytes(20000)}}}
	dir := m.dir("object directory", m.file("inside", 1))
	dir.Info.Extra = &winfile.Extra{ObjectID: m.bytes(64), EAs: []winfile.EA{{Name: "E", Value: m.bytes(500)}}}
	d.Children = append(d.Children, ea, large, dir)
	return d
}

// descriptors has so many of them that $SDS takes several blocks and its indexes outgrow their record.
func (m *treeMaker) descriptors() *winfile.Entry {
	d := m.dir("descriptors")
	for i := range 600 {
		e := m.file(fmt.Sprintf("d%d", i), 0)
		e.Info.Security = m.descriptor(100 + i)
		if i%100 == 7 { // a long one
			aces := make([]ace, 1500)
			for k := range aces {
				aces[k] = ace{0, uint32(k), sidAdministrators}
			}
			e.Info.Security = descriptor(sidSystem, sidUsers, append(aces, ace{0, uint32(i), sidUsers})...)
		}
		d.Children = append(d.Children, e)
	}
	without := m.file("none", 1)
	without.Info.Security = nil
	dir := m.dir("none too")
	dir.Info.Security = nil
	d.Children = append(d.Children, without, dir)
	return d
}

func (m *treeMaker) attributes() *winfile.Entry {
	d := m.dir("attributes")
	for i, a := range []winfile.Attributes{
		0, winfile.AttrReadOnly, winfile.AttrHidden | winfile.AttrSystem | winfile.AttrArchive, winfile.AttrNotIndexed, winfile.AttrTemporary,
		winfile.AttrOffline, winfile.AttrNormal, winfile.AttrSparse | winfile.AttrArchive, winfile.AttrCompressed, winfile.AttrPinned,
	} {
		e := m.file(fmt.Sprintf("file%d", i), 5000)
		e.Info.Attributes = a
		d.Children = append(d.Children, e)
	}
	packed := m.dir("compressed", m.file("inherits", 9))
	packed.Info.Attributes |= winfile.AttrCompressed
	unchanged := m.file("no change time", 1)
	unchanged.Info.Changed = 0
	d.Children = append(d.Children, packed, unchanged)
	return d
}

// randomTree makes a tree of about n names whose parts are drawn at random.
func (m *treeMaker) randomTree(n int) *winfile.Tree {
	root := m.dir("")
	dirs := []*winfile.Entry{root}
	var files []*winfile.Entry
	used := make(map[string]bool)
	for i := range n {
		parent := dirs[m.IntN(len(dirs))]
		name := m.name()
		key := fmt.Sprintf("%p %s", parent, winfile.Fold(name))
		if used[key] || winfile.Fold(name)[0] == '$' {
			continue
		}
		used[key] = true
		var e *winfile.Entry
		switch k := m.IntN(20); {
		case k < 3:
			e = m.dir(name)
			dirs = append(dirs, e)
		case k < 6 && len(files) > 0:
			e = &winfile.Entry{Name: name, Info: files[m.IntN(len(files))].Info}
			e.Info.Links++
		default:
			e = m.file(name, m.IntN(1<<m.IntN(15)))
			files = append(files, e)
		}
		for range max(0, m.IntN(12)-8) {
			s := winfile.Stream{Name: fmt.Sprintf("%s%d", m.name()[:1], len(e.Info.Streams)), Data: m.blob(m.IntN(1 << m.IntN(12)))}
			if winfile.ValidName(s.Name) {
				e.Info.Streams = append(e.Info.Streams, s)
			}
		}
		if m.IntN(30) == 0 {
			e.Info.Extra = &winfile.Extra{ObjectID: m.bytes(16), EAs: []winfile.EA{{Name: "X", Value: m.bytes(m.IntN(900))}}}
		}
		if m.IntN(10) == 0 && e.Info.Links == 1 {
			e.ShortName = fmt.Sprintf("S%d~1.X", i)
		}
		parent.Children = append(parent.Children, e)
	}
	return &winfile.Tree{Root: root}
}

func (m *treeMaker) name() string {
	letters := []rune("abcdefghijABCDEFGHIJ0123456789._-~ é中文字符😀ß$")
	b := make([]rune, 1+m.IntN(1<<m.IntN(7)))
	for i := range b {
		b[i] = letters[m.IntN(len(letters))]
	}
	if s := strings.TrimRight(string(b), "."); s != "" {
		return s
	}
	return "x"
}

// pointerTo makes the reparse buffer of a WIM pointer, as the tests' backing.
func pointerTo(info *winfile.Info) []byte {
	b := make([]byte, 96)
	le.PutUint32(b, winfile.TagWOF)
	le.PutUint16(b[4:], 88)
	b[8], b[12], b[16] = 1, 1, 2
	sum := info.Data.SHA1
	if sum == (winfile.SHA1{}) {
		sum = sha1.Sum(le.AppendUint64(nil, uint64(info.Data.Size)))
	}
	copy(b[32:], sum[:])
	le.PutUint64(b[72:], uint64(info.Data.Size))
	return b
}

// backEven makes pointers of every other size.
func backEven(info *winfile.Info) []byte {
	if info.Data.Size%2 == 0 {
		return pointerTo(info)
	}
	return nil
}

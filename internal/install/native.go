package install

import (
	"husk/bcd"
	"husk/internal/ui"
)

// Attributes of a file on NTFS that keep Windows from starting from a disk in it.
const (
	attrSparse     = 0x200
	attrCompressed = 0x800
	attrEncrypted  = 0x4000
)

// maxNativePath is what Windows takes as the path of a VHD that it starts from, in UTF-16 units.
const maxNativePath = 260

// warnNative tells what keeps Windows from starting from the VHD or VHDX that the target is, by an entry of this machine's boot manager.
// A virtual machine does not mind.
func (b *builder) warnNative() {
	if b.device != nil || b.r.Format == FormatRaw || len(b.r.Systems) == 0 {
		return
	}
	s := b.r.Systems[0]
	if b.r.Format == FormatVHDX && s.release() == bcd.Windows7 {
		b.o.UI.Warn("%s: a virtual machine can start Windows 7 from a VHDX, its own boot manager cannot: use a VHD for that", b.target)
	}
	host, ok := ntfsHost(b.target)
	if !ok {
		return // it will be copied to where Windows finds it
	}
	for _, w := range nativeProblems(host, b.plan.size, b.r.FileBytes) {
		b.o.UI.Warn("%s: Windows would not start from it here: %s", b.target, b.o.UI.T(w.format, w.args...))
	}
	if !b.o.Wimboot {
		b.warnEdition(s)
	}
}

// hostFacts is what an NTFS volume says of a file on it.
type hostFacts struct {
	attributes uint32
	free       int64 // bytes of the volume
	path       int   // UTF-16 units of the path on the volume; 0 if it is not known
}

// message is a message with its arguments.
type message struct {
	format string
	args   []any
}

// nativeProblems are what stands against starting from a disk in a file. Windows grows a dynamic disk to its full size first.
func nativeProblems(h hostFacts, disk, file int64) (list []message) {
	add := func(format string, args ...any) { list = append(list, message{format, args}) }
	if h.attributes&attrSparse != 0 {
		add("the file is sparse: copy it with 'cp --sparse=never'")
	}
	if h.attributes&attrCompressed != 0 {
		add("the file is compressed: take the attribute off with 'compact /u'")
	}
	if h.attributes&attrEncrypted != 0 {
		add("the file is encrypted: take the attribute off with 'cipher /d'")
	}
	if grow := disk - file; grow > h.free {
		add("it grows by %s when it starts, and its volume has %s free", ui.Size(grow), ui.Size(h.free))
	}
	if h.path > maxNativePath {
		add("its path has %d characters, want at most %d", h.path, maxNativePath)
	}
	return list
}

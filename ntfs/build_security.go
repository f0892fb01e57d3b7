package ntfs

import (
	"fmt"
	"slices"

	"husk/winfile"
)

// Access rights of the descriptors of system files, as Windows has them.
const (
	accessRead  = 0x00120089
	accessWrite = 0x0012019f
	accessFull  = 0x001f01ff
	accessExec  = 0x001200a9
)

// SIDs in binary form: revision, number of sub-authorities, authority, sub-authorities.
var (
	sidSystem         = []byte{1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0}                // S-1-5-18
	sidAdministrators = []byte{1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 0x20, 2, 0, 0} // S-1-5-32-544
	sidUsers          = []byte{1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 0x21, 2, 0, 0} // S-1-5-32-545
)

// ace is an access-allowed entry, [MS-DTYP] 2.4.4.2.
type ace struct {
	flags byte
	mask  uint32
	sid   []byte
}

// descriptor makes a self-relative SECURITY_DESCRIPTOR ([MS-DTYP] 2.4.6) in the order Windows uses: header, DACL, owner, group.
func descriptor(owner, group []byte, aces ...ace) []byte {
	acl := []byte{2, 0, 0, 0, 0, 0, 0, 0}
	for _, a := range aces {
		acl = append(acl, 0, a.flags)
		acl = le.AppendUint16(acl, uint16(8+len(a.sid)))
		acl = le.AppendUint32(acl, a.mask)
		acl = append(acl, a.sid...)
	}
	le.PutUint16(acl[2:], uint16(len(acl)))
	le.PutUint16(acl[4:], uint16(len(aces)))
	const header = 20
	sd := []byte{1, 0, 0x04, 0x80} // DACL present, self-relative
	for _, off := range []int{header + len(acl), header + len(acl) + len(owner), 0, header} {
		sd = le.AppendUint32(sd, uint32(off))
	}
	return slices.Concat(sd, acl, owner, group)
}

// systemDescriptor is that of system files: SYSTEM and Administrators have the given access.
func systemDescriptor(mask uint32) []byte {
	return descriptor(sidSystem, sidAdministrators, ace{0, mask, sidSystem}, ace{0, mask, sidAdministrators})
}

// defaultDescriptor is for files that come without one: full access for SYSTEM and Administrators, reading for Users.
func defaultDescriptor(dir bool) []byte {
	var inherit byte
	if dir {
		inherit = 3 // by files and by directories
	}
	return descriptor(sidAdministrators, sidSystem, ace{inherit, accessFull, sidSystem}, ace{inherit, accessFull, sidAdministrators},
		ace{inherit, accessExec, sidUsers})
}

const (
	firstSecurityID = 0x100
	systemRead      = firstSecurityID     // id of systemDescriptor(accessRead)
	systemWrite     = firstSecurityID + 1 // id of systemDescriptor(accessWrite)
	maxDescriptor   = 64 << 10
)

// securitySet holds each distinct descriptor once. Ids are given in order of appearance.
type securitySet struct {
	ids     map[string]uint32
	sds     []descriptorEntry // by id
	size    int64             // data size of $SDS
	def     [2]uint32         // ids of the default descriptors of files and directories; 0 until needed
	last    []byte            // the last one looked up
	lastID  uint32
	nextOff int64 // where the next entry would start
}

// descriptorEntry is one entry of $SDS.
type descriptorEntry struct {
	sd   []byte
	hash uint32
	off  int64 // of the primary
}

func newSecuritySet() *securitySet {
	s := &securitySet{ids: make(map[string]uint32)}
	s.add(systemDescriptor(accessRead))
	s.add(systemDescriptor(accessWrite))
	return s
}

// id returns the id of the file's descriptor, or of a default one.
func (s *securitySet) id(info *winfile.Info) (uint32, error) {
	sd := info.Security
	if sd == nil {
		dir := 0
		if info.Attributes&winfile.AttrDirectory != 0 {
			dir = 1
		}
		if s.def[dir] == 0 {
			s.def[dir] = s.add(defaultDescriptor(dir == 1))
		}
		return s.def[dir], nil
	}
	if len(s.last) == len(sd) && len(sd) > 0 && &s.last[0] == &sd[0] {
		return s.lastID, nil
	}
	if err := checkDescriptor(sd); err != nil {
		return 0, err
	}
	s.last, s.lastID = sd, s.add(sd)
	return s.lastID, nil
}

// checkDescriptor refuses what drivers take for damage.
func checkDescriptor(sd []byte) error {
	switch {
	case len(sd) < 20 || len(sd) > maxDescriptor:
		return fmt.Errorf("security descriptor of %d bytes, want 20 to %d", len(sd), maxDescriptor)
	case sd[0] != 1:
		return fmt.Errorf("security descriptor has revision %d, want 1", sd[0])
	case sd[3]&0x80 == 0:
		return fmt.Errorf("security descriptor has control bits %#x, want the self-relative bit 0x8000", le.Uint16(sd[2:]))
	}
	for i, what := range []string{"owner", "group", "SACL", "DACL"} {
		off := le.Uint32(sd[4+4*i:])
		if off != 0 && (off < 20 || int64(off)+8 > int64(len(sd))) {
			return fmt.Errorf("security descriptor of %d bytes has its %s at %#x", len(sd), what, off)
		}
	}
	return nil
}

func (s *securitySet) add(sd []byte) uint32 {
	if id, ok := s.ids[string(sd)]; ok {
		return id
	}
	n := int64(sdsHeaderSize + len(sd))
	off := s.nextOff
	if off%sdsBlock+n > sdsBlock { // entries do not cross blocks; every other block is a mirror
		off = off&^(2*sdsBlock-1) + 2*sdsBlock
	}
	id := uint32(firstSecurityID + len(s.sds))
	s.ids[string(sd)] = id
	s.sds = append(s.sds, descriptorEntry{sd, securityHash(sd), off})
	s.size = off + sdsBlock + n
	s.nextOff = align(off+n, 16)
	if s.nextOff%sdsBlock == 0 {
		s.nextOff += sdsBlock
	}
	return id
}

// header appends the 20 bytes that start an $SDS entry and are the data of $SII and $SDH.
func (s *securitySet) header(b []byte, i int) []byte {
	e := &s.sds[i]
	b = le.AppendUint32(b, e.hash)
	b = le.AppendUint32(b, uint32(firstSecurityID+i))
	b = le.AppendUint64(b, uint64(e.off))
	return le.AppendUint32(b, uint32(sdsHeaderSize+len(e.sd)))
}

// write hands out $SDS in pieces with their offsets, in ascending order.
func (s *securitySet) write(put func(off int64, p []byte) error) error {
	var block []byte // from its start to its last entry
	start := int64(0)
	flush := func() error {
		if err := put(start, block); err != nil {
			return err
		}
		return put(start+sdsBlock, block)
	}
	for i := range s.sds {
		e := &s.sds[i]
		if e.off >= start+sdsBlock {
			if err := flush(); err != nil {
				return err
			}
			start, block = e.off&^(2*sdsBlock-1), block[:0]
		}
		block = append(block, make([]byte, int(e.off-start)-len(block))...)
		block = append(s.header(block, i), e.sd...)
	}
	return flush()
}

// byHash returns entry numbers in the order of $SDH.
func (s *securitySet) byHash() []int32 {
	order := make([]int32, len(s.sds))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int {
		if x, y := s.sds[a].hash, s.sds[b].hash; x != y {
			if x < y {
				return -1
			}
			return 1
		}
		return int(a - b)
	})
	return order
}

package ntfs

import (
	"errors"
	"fmt"
	"slices"

	"husk/winfile"
)

// reopenMFT takes over where the $MFT is now.
func (e *Editor) reopenMFT() error {
	if err := e.v.openMFTAt(e.v.boot.mft); err != nil {
		return err
	}
	s, err := e.openBits(recMFT, typeBitmap, e.v.records)
	if err == nil {
		e.mftBitmap = s
	}
	return err
}

// growMFT makes the $MFT and its bitmap longer.
func (e *Editor) growMFT() error {
	f, err := e.load(recMFT)
	if err != nil {
		return err
	}
	runs, err := e.streamRuns(f, typeData, "")
	if err != nil {
		return err
	}
	cs, rs := int64(e.v.ClusterSize), int64(e.v.RecordSize)
	last := runs[len(runs)-1]
	step := max(mftStep, cs, min(e.v.mft.size/16&^(mftStep-1), 4<<20))
	more, err := e.allocate(step/cs, last.lcn+LCN(last.clusters))
	if errors.Is(err, ErrFull) {
		more, err = e.allocate((max(cs, rs)-1)/cs+1, 0)
	}
	if err != nil {
		return err
	}
	runs = joinRuns(runs, more)
	var clusters int64
	for _, r := range runs {
		clusters += r.clusters
	}
	records := clusters * cs / rs
	extents := extentsOf(runs)
	b := make([]byte, rs)
	for n := e.v.records; n < records; n++ {
		clear(b)
		putHeader(b, uint32(n), 1, 0, 0, 0)
		finishRecord(b, firstAttrOffset(len(b)), 0)
		at, err := e.pieces(extents, n*rs, rs)
		if err != nil {
			return err
		}
		rest := b
		for _, p := range at {
			if err := e.writeData(rest[:p.n], p.off); err != nil {
				return err
			}
			rest = rest[p.n:]
		}
	}
	size := records * rs
	e.replace(f, typeData, "", e.outsideAttr(typeData, "", 0, runs, sizes{data: size, initialized: size})...)
	if need := bitmapSize(records); need > e.mftBitmap.size {
		old, err := e.streamRuns(f, typeBitmap, "")
		if err != nil {
			return err
		}
		if old, err = e.growBits(old, e.mftBitmap.size, need); err != nil {
			return err
		}
		e.replace(f, typeBitmap, "", e.outsideAttr(typeBitmap, "", 0, old, sizes{data: need, initialized: need})...)
	}
	if err := e.settle(f); err != nil {
		return err
	}
	if err := e.save(f, rankMFT); err != nil {
		return err
	}
	e.moved = true
	if err := e.reopenMFT(); err != nil {
		return err
	}
	return e.updateNames(f)
}

// securityID is the id of a new file's descriptor: that of info, which may have to be added to $Secure, or that of the directory.
func (e *Editor) securityID(d *editFile, info *winfile.Info) (uint32, error) {
	if info.Security == nil {
		if s := e.standard(d); len(s) >= stdInfoSize && le.Uint32(s[0x34:]) != 0 {
			return le.Uint32(s[0x34:]), nil
		}
		sd, err := e.ownDescriptor(d)
		if err != nil {
			return 0, err
		}
		return e.descriptorID(sd)
	}
	return e.descriptorID(info.Security)
}

// ownDescriptor is the descriptor that stands in a directory's own records, or a default one.
func (e *Editor) ownDescriptor(d *editFile) ([]byte, error) {
	a := e.attr(d, typeSecurityDescriptor, "")
	if a == nil {
		return defaultDescriptor(true), nil
	}
	if !a.nonResident() {
		return slices.Clone(a.value()), nil
	}
	runs, err := e.streamRuns(d, typeSecurityDescriptor, "")
	if err != nil {
		return nil, err
	}
	s := &stream{v: e.v, name: "$SECURITY_DESCRIPTOR", extents: extentsOf(runs), size: a.dataSize(), initialized: a.initializedSize()}
	return s.readAll(sdsBlock)
}

// descriptorID finds a descriptor in $Secure, or adds it.
func (e *Editor) descriptorID(sd []byte) (uint32, error) {
	if err := checkDescriptor(sd); err != nil {
		return 0, err
	}
	if e.ids == nil {
		s, err := e.v.openNamed(recSecure, typeData, "$SDS")
		if err != nil {
			return 0, err
		}
		ids := make(map[string]uint32)
		if err := s.walkSDS(func(off int64, x sdsEntry) {
			if x.offset() == off && len(x) > sdsHeaderSize {
				ids[string(x.descriptor())] = x.id()
			}
		}); err != nil {
			return 0, err
		}
		e.ids = ids
	}
	if id, ok := e.ids[string(sd)]; ok {
		return id, nil
	}
	id, err := e.addDescriptor(sd)
	if err != nil {
		return 0, fmt.Errorf("$Secure: %w", err)
	}
	e.ids[string(sd)] = id
	return id, nil
}

// addDescriptor appends to $SDS and adds to its indexes.
func (e *Editor) addDescriptor(sd []byte) (uint32, error) {
	f, err := e.load(recSecure)
	if err != nil {
		return 0, err
	}
	s, err := e.v.openNamed(recSecure, typeData, "$SDS")
	if err != nil {
		return 0, err
	}
	a := e.attr(f, typeData, "$SDS")
	if s.extents == nil || s.flags != 0 || s.initialized != s.size {
		return 0, fmt.Errorf("$SDS of %d bytes, %d valid, flags %#x: want a plain stream outside the record", s.size, s.initialized, s.flags)
	}
	id, end := uint32(firstSecurityID-1), int64(0)
	if err := s.walkSDS(func(off int64, x sdsEntry) { id, end = max(id, x.id()), off+int64(len(x)) }); err != nil {
		return 0, err
	}
	id++
	n := int64(sdsHeaderSize + len(sd))
	off := align(end, 16)
	if off/sdsBlock%2 != 0 {
		off = align(off, sdsBlock)
	}
	if off%sdsBlock+n > sdsBlock { // entries do not cross blocks; every other block is a mirror
		off = off&^(2*sdsBlock-1) + 2*sdsBlock
	}
	entry := le.AppendUint32(nil, securityHash(sd))
	entry = le.AppendUint32(entry, id)
	entry = le.AppendUint64(entry, uint64(off))
	entry = le.AppendUint32(entry, uint32(n))
	header := slices.Clone(entry)
	entry = append(entry, sd...)

	size := off + sdsBlock + n
	runs, err := e.streamRuns(f, typeData, "$SDS")
	if err != nil {
		return 0, err
	}
	if runs, err = e.growPlain(runs, a.dataSize(), size); err != nil {
		return 0, err
	}
	for _, at := range []int64{off, off + sdsBlock} {
		if err := e.patch(extentsOf(runs), at, entry); err != nil {
			return 0, err
		}
	}
	e.replace(f, typeData, "$SDS", e.outsideAttr(typeData, "$SDS", 0, runs, sizes{data: size, initialized: size})...)
	for _, view := range []struct {
		name string
		key  []byte
	}{{"$SII", header[4:8]}, {"$SDH", header[:8]}} {
		x, err := e.openEditIndex(f, view.name)
		if err != nil {
			return 0, err
		}
		b := appendViewEntry(nil, view.key, header)
		if view.name == "$SDH" {
			copy(b[len(b)-4:], "I\x00I\x00") // Windows fills the padding so
		}
		if err := x.insert(b); err != nil {
			return 0, err
		}
	}
	return id, e.save(f, rankIndex)
}

// growPlain gives a stream the clusters for size bytes and clears what its last ones have behind the first valid bytes.
func (e *Editor) growPlain(runs []run, valid, size int64) ([]run, error) {
	cs := int64(e.v.ClusterSize)
	var clusters int64
	for _, r := range runs {
		clusters += r.clusters
	}
	for off := valid; off < clusters*cs; off += e.chunk() - off%e.chunk() {
		u, err := e.unitAt(extentsOf(runs), off&^(e.chunk()-1), e.chunk())
		if err != nil {
			return nil, err
		}
		clear(u.data[off%e.chunk():])
		u.rank = rankFresh
	}
	need := (size+cs-1)/cs - clusters
	if need <= 0 {
		return runs, nil
	}
	last := runs[len(runs)-1]
	more, err := e.allocate(need, last.lcn+LCN(last.clusters))
	if err != nil {
		return nil, err
	}
	return joinRuns(runs, more), e.zero(more)
}

// patch changes bytes of a stream that nothing durable points to.
func (e *Editor) patch(extents []Extent, off int64, b []byte) error {
	for len(b) > 0 {
		u, err := e.unitAt(extents, off&^(e.chunk()-1), e.chunk())
		if err != nil {
			return err
		}
		u.rank = rankFresh
		n := copy(u.data[off%e.chunk():], b)
		b, off = b[n:], off+int64(n)
	}
	return nil
}

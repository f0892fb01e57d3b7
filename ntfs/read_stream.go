package ntfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
)

// An Extent is a run of clusters of a stream.
type Extent struct {
	VCN      VCN   // first cluster, counted in the stream
	LCN      LCN   // first cluster on the volume, -1 for a hole
	Clusters int64 // at least 1
}

// stream is the content of one attribute. It is safe for concurrent use.
type stream struct {
	v           *Volume
	name        string // for messages
	resident    []byte // the content, if extents is nil
	extents     []Extent
	size        int64  // bytes
	initialized int64  // bytes beyond read as zero
	flags       uint16 // of the first extent: compressed, encrypted, sparse
	unit        byte   // log2 of clusters per compression unit
	cache       unitCache
}

// appendExtents decodes the mapping pairs of one attribute extent and checks that they cover exactly its VCNs and stay on the
// volume.
func (v *Volume) appendExtents(list []Extent, a fileAttr) ([]Extent, error) {
	var buf [16]run
	runs, err := decodeRuns(buf[:0], a.mappingPairs(), int64(a.highestVCN()-a.lowestVCN())+1, v.Clusters)
	if err != nil {
		return list, &FormatError{a.String(), int64(a.off) + int64(a.runsOffset()), err}
	}
	vcn := a.lowestVCN()
	for _, r := range runs {
		list = append(list, Extent{vcn, r.lcn, r.clusters})
		vcn += VCN(r.clusters)
	}
	return list, nil
}

// openStream puts together the attribute whose first extent is list[first]: later extents follow it in list.
func (v *Volume) openStream(list []fileAttr, first int) (*stream, error) {
	a := list[first]
	s := &stream{v: v, name: a.String(), size: a.size(), flags: a.flags()}
	if !a.nonResident() {
		s.resident, s.initialized = a.value(), s.size
		return s, nil
	}
	s.initialized, s.unit = a.initializedSize(), a.compressionUnit()
	var err error
	if s.extents, err = v.appendExtents(nil, a); err != nil {
		return nil, err
	}
	next := a.highestVCN() + 1
	for _, c := range list[first+1:] {
		if c.typ() != a.typ() || !c.continues() || !bytes.Equal(c.name(), a.name()) {
			continue
		}
		if c.lowestVCN() != next {
			return nil, c.fail(0x10, "extent starts at cluster %d, want %d", c.lowestVCN(), next)
		}
		if s.extents, err = v.appendExtents(s.extents, c); err != nil {
			return nil, err
		}
		next = c.highestVCN() + 1
	}
	// A huge size needs clusters or holes to stand for it.
	if s.size > 0 && (s.size-1)/int64(v.ClusterSize) >= int64(next) {
		return nil, a.fail(0x30, "%d bytes in %d clusters of %d", s.size, next, v.ClusterSize)
	}
	return s, nil
}

// allocatedClusters counts the clusters that are not holes.
func (s *stream) allocatedClusters() int64 {
	var n int64
	for _, e := range s.extents {
		if e.LCN >= 0 {
			n += e.Clusters
		}
	}
	return n
}

// compressed reports whether the clusters hold compressed data.
func (s *stream) compressed() bool { return s.flags&attrFlagMask != 0 && s.extents != nil }

// readable reports why the stored bytes are not the content.
func (s *stream) readable() error {
	switch {
	case s.flags&attrFlagEncrypted != 0:
		return fmt.Errorf("ntfs: %s: encrypted content: %w", s.name, errors.ErrUnsupported)
	case s.compressed() && (s.flags&attrFlagMask != attrFlagCompressed || s.unit != lznt1MaxUnit || s.v.ClusterSize > lznt1Chunk):
		return fmt.Errorf("ntfs: %s: compression method %d, units of 2^%d clusters of %d: %w",
			s.name, s.flags&attrFlagMask, s.unit, s.v.ClusterSize, errors.ErrUnsupported)
	}
	return nil
}

// ReadAt reads the content. Holes and what lies beyond the initialized size are zeros.
func (s *stream) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("ntfs: %s: read at negative offset %d", s.name, off)
	}
	if off >= s.size {
		return 0, io.EOF
	}
	var end error
	if int64(len(p)) > s.size-off {
		p, end = p[:s.size-off], io.EOF
	}
	if s.extents == nil {
		copy(p, s.resident[off:])
		return len(p), end
	}
	done := 0
	for done < len(p) {
		n, err := s.readPiece(p[done:], off+int64(done))
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, end
}

// extentAt is the index of the extent that has a cluster, or the number of extents.
func (s *stream) extentAt(vcn VCN) int {
	return sort.Search(len(s.extents), func(i int) bool { return int64(vcn-s.extents[i].VCN) < s.extents[i].Clusters })
}

// readPiece reads at least one byte of one extent, or zeros.
func (s *stream) readPiece(p []byte, off int64) (int, error) {
	if off >= s.initialized {
		clear(p)
		return len(p), nil
	}
	p = p[:min(int64(len(p)), s.initialized-off)]
	if s.compressed() {
		return s.readUnit(p, off)
	}
	cs := int64(s.v.ClusterSize)
	vcn := VCN(off / cs)
	i := s.extentAt(vcn)
	if i == len(s.extents) {
		return 0, fmt.Errorf("ntfs: %s: cluster %d is not mapped", s.name, vcn)
	}
	e := s.extents[i]
	in := off - int64(e.VCN)*cs
	// One extent may be as long as a hole of 2^63 bytes: compare clusters first.
	if left := e.Clusters - int64(vcn-e.VCN); left <= int64(len(p))/cs+1 {
		p = p[:min(int64(len(p)), left*cs-off%cs)]
	}
	if e.LCN < 0 {
		clear(p)
		return len(p), nil
	}
	n, err := s.v.r.ReadAt(p, int64(e.LCN)*cs+in)
	if n == len(p) {
		return n, nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, fmt.Errorf("ntfs: %s: cluster %d: %w", s.name, int64(e.LCN)+in/cs, err)
}

// readAll returns the whole content of a small stream.
func (s *stream) readAll(limit int64) ([]byte, error) {
	if s.size > limit {
		return nil, fmt.Errorf("ntfs: %s is %d bytes long, want at most %d", s.name, s.size, limit)
	}
	if err := s.readable(); err != nil {
		return nil, err
	}
	if s.extents == nil {
		return slices.Clone(s.resident), nil
	}
	b := make([]byte, s.size)
	if _, err := s.ReadAt(b, 0); err != nil && err != io.EOF {
		return nil, err
	}
	return b, nil
}

package ntfs

import (
	"fmt"
	"io"
	"slices"

	"husk/winfile"
)

// location is the Ref of a blob. Most streams are one run: those are read without a look at their record.
type location struct {
	record      uint32 // base record
	holder      uint32 // record that holds the first extent
	instance    uint16 // of the attribute there
	oneRun      bool
	resident    bool
	efs         bool  // the raw export of an encrypted file: holder and instance are those of $EFS
	lcn         LCN   // of the run, or hole; of the record if resident
	initialized int64 // bytes
}

// locate fills loc for the $DATA list[i] and returns the cluster where reading starts.
func (v *Volume) locate(loc *location, list []fileAttr, i int) LCN {
	a := list[i]
	*loc = location{record: v.baseOf(list), holder: uint32(a.holder), instance: a.instance()}
	if !a.nonResident() {
		loc.resident, loc.lcn = true, v.recordLCN(a.holder)
		return loc.lcn
	}
	var buf [4]Extent
	extents, err := v.appendExtents(buf[:0], a)
	if err != nil || len(extents) == 0 {
		return 0 // opening it will tell
	}
	covered := (a.size()-1)/int64(v.ClusterSize) < extents[0].Clusters
	if loc.oneRun = covered && a.flags()&(attrFlagMask|attrFlagEncrypted) == 0; loc.oneRun {
		loc.lcn, loc.initialized = extents[0].LCN, a.initializedSize()
	}
	for _, e := range extents {
		if e.LCN != hole {
			return e.LCN
		}
	}
	return 0
}

// baseOf is the base record of the file with these attributes: where its $STANDARD_INFORMATION stands.
func (v *Volume) baseOf(list []fileAttr) uint32 {
	for _, a := range list {
		if a.typ() == typeStandardInformation || a.typ() == typeAttributeList {
			return uint32(a.holder)
		}
	}
	return uint32(list[0].holder)
}

// recordLCN is the cluster that holds record n.
func (v *Volume) recordLCN(n int64) LCN {
	vcn := VCN(n * int64(v.RecordSize) / int64(v.ClusterSize))
	for _, e := range v.mft.extents {
		if int64(vcn-e.VCN) < e.Clusters {
			return e.LCN + LCN(vcn-e.VCN)
		}
	}
	return 0
}

// blobReader reads what a blob stands for.
type blobReader interface {
	io.ReaderAt
	length() int64
}

func (s *stream) length() int64 { return s.size }

// open finds what a blob stands for, which must be readable.
func (v *Volume) open(b *winfile.Blob) (blobReader, error) {
	if loc, ok := b.Ref.(*location); ok && loc.efs && b.Content == winfile.Content(v) {
		return v.openExport(b, loc)
	}
	s, err := v.find(b)
	if err != nil {
		return nil, err
	}
	if err := s.readable(); err != nil {
		return nil, err
	}
	return s, nil
}

// openExport opens the raw export of an encrypted file.
func (v *Volume) openExport(b *winfile.Blob, loc *location) (*efsExport, error) {
	_, list, err := v.baseAttrs(int64(loc.record))
	if err != nil {
		return nil, err
	}
	x, err := v.openEFS(list)
	if err != nil {
		return nil, err
	}
	if x.size != b.Size {
		return nil, fmt.Errorf("ntfs: %s is %d bytes long, want %d", x.name, x.size, b.Size)
	}
	return x, nil
}

// exportExtents returns the runs of the unnamed data of an encrypted file.
func (v *Volume) exportExtents(loc *location) ([]Extent, error) {
	_, list, err := v.baseAttrs(int64(loc.record))
	if err != nil {
		return nil, err
	}
	i := findAttr(list, typeData, "")
	if i < 0 {
		return nil, nil
	}
	s, err := v.openStream(list, i)
	if err != nil {
		return nil, err
	}
	return s.extents, nil
}

// find finds the stream of a blob.
func (v *Volume) find(b *winfile.Blob) (*stream, error) {
	loc, ok := b.Ref.(*location)
	if !ok || b.Content != winfile.Content(v) {
		return nil, fmt.Errorf("ntfs: blob of %d bytes is not of this volume", b.Size)
	}
	if loc.oneRun {
		clusters := (b.Size-1)/int64(v.ClusterSize) + 1
		return &stream{
			v: v, name: recordName(int64(loc.record)), size: b.Size, initialized: loc.initialized,
			extents: []Extent{{0, loc.lcn, clusters}},
		}, nil
	}
	r, err := v.readRecord(int64(loc.record))
	if err != nil {
		return nil, err
	}
	list, listErr := v.fileAttrs(r, int64(loc.record))
	i := slices.IndexFunc(list, func(a fileAttr) bool {
		return a.holder == int64(loc.holder) && a.instance() == loc.instance && a.typ() == typeData
	})
	if i < 0 {
		if listErr == nil {
			listErr = formatError(recordName(int64(loc.holder)), 0, "no $DATA of instance %d", loc.instance)
		}
		return nil, listErr
	}
	s, err := v.openStream(list, i)
	if err != nil {
		return nil, err
	}
	s.name = v.describeFile(list) + s.name
	if s.size != b.Size {
		return nil, fmt.Errorf("ntfs: %s is %d bytes long, want %d", s.name, s.size, b.Size)
	}
	return s, nil
}

// describeFile names a file for messages: its first long name and a blank.
func (v *Volume) describeFile(list []fileAttr) string {
	for _, a := range list {
		if a.typ() == typeFileName && !a.nonResident() {
			if key := fileName(a.value()); key.check() == nil && key.namespace() != nameDOS {
				return fmt.Sprintf("%q: ", winfile.NameFromUTF16LE(key.name()))
			}
		}
	}
	return ""
}

// Reader reads one stream. It is safe for concurrent use as an [io.ReaderAt].
type Reader struct {
	*io.SectionReader
}

// Close does nothing: the volume is whoever's opened it.
func (Reader) Close() error { return nil }

// OpenBlob implements [winfile.Content] for the blobs of the volume's trees. The result is a [Reader]. Encrypted streams of
// files without key data are an error that wraps [errors.ErrUnsupported]; with it the file has a raw export, see [winfile.Extra].
func (v *Volume) OpenBlob(b *winfile.Blob) (io.ReadCloser, error) {
	s, err := v.open(b)
	if err != nil {
		return nil, err
	}
	return Reader{io.NewSectionReader(s, 0, s.length())}, nil
}

// Extents returns the runs of clusters that hold a blob, holes included, in their order in the stream. A resident stream has
// none. Compressed streams have those of their stored bytes, exports of encrypted files those of their unnamed data.
func (v *Volume) Extents(b *winfile.Blob) ([]Extent, error) {
	if loc, ok := b.Ref.(*location); ok && loc.efs && b.Content == winfile.Content(v) {
		return v.exportExtents(loc)
	}
	s, err := v.find(b)
	if err != nil {
		return nil, err
	}
	return slices.Clone(s.extents), nil
}

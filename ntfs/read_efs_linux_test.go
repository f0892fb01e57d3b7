package ntfs

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"testing/iotest"

	"husk/winfile"
)

// TestReadEncrypted has ntfs-3g make encrypted files from raw data, and looks for that data in the exports.
func TestReadEncrypted(t *testing.T) {
	for _, cluster := range []string{"512", "4096", "65536"} {
		t.Run(cluster, func(t *testing.T) {
			img := formatVolume(t, 128<<20, "-c", cluster)
			type want struct {
				raw  []byte
				size int64
			}
			files := make(map[string]want)
			key := noise(9, 700)
			le.PutUint32(key, 700)
			mounted(t, img, "streams_interface=xattr", func(dir string) {
				for i, size := range []int64{0, 1, 511, 512, 513, 1000, 65535, 65536, 65537, 300000} {
					name := fmt.Sprintf("file %d", size)
					raw := noise(uint64(i), int(align(size, sectorStride)))
					files[name] = want{raw, size}
					b := raw
					if size > 0 { // the last two bytes tell how many bytes of the last sector are surplus
						b = le.AppendUint16(bytes.Clone(raw), uint16(int64(len(raw))-size))
					}
					setAttr(t, put(t, dir+"/"+name, b), "user.ntfs.efsinfo", key)
				}
			})
			v := openVolume(t, img)
			tree := readTree(t, v)
			for name, w := range files {
				info := tree.Lookup(name).Info
				if info.Attributes&winfile.AttrEncrypted == 0 || info.Data != nil || info.Extra == nil || info.Extra.EFS == nil {
					t.Fatalf("%s: attributes %v, data %v, extra %v", name, info.Attributes, info.Data, info.Extra)
				}
				x := info.Extra.EFS
				b, err := x.ReadAll(1 << 20)
				if err != nil {
					t.Fatal(err)
				}
				list, err := parseExport(b)
				if err != nil || len(list) != 2 {
					t.Fatalf("%s: %d streams: %v", name, len(list), err)
				}
				if !bytes.Equal(list[0].data, key) {
					t.Errorf("%s: other key data", name)
				}
				if s := list[1]; s.name != "::$DATA" || !s.encrypted || s.size != w.size || s.valid != w.size || !bytes.Equal(s.data, w.raw) {
					t.Errorf("%s: %q of %d bytes, %d valid, %d stored, equal %t", name, s.name, s.size, s.valid, len(s.data), bytes.Equal(s.data, w.raw))
				}
				r, err := v.OpenBlob(x)
				if err != nil {
					t.Fatal(err)
				}
				if w.size > 1000 {
					r.Close() // reading such byte by byte takes long
				} else if err := iotest.TestReader(r, b); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				if extents, err := v.Extents(x); err != nil || (len(extents) > 0) != (w.size > 0) {
					t.Errorf("%s: extents %v, %v", name, extents, err)
				}
			}
			blobs := []*winfile.Blob{tree.Lookup("file 300000").Info.Extra.EFS, tree.Lookup("file 1").Info.Extra.EFS}
			sums := make(map[*winfile.Blob]int64)
			err := v.ReadBlobs(context.Background(), blobs, 1, func(b *winfile.Blob, off int64, p []byte) error {
				sums[b] += int64(len(p))
				return nil
			})
			if err != nil || sums[blobs[0]] != blobs[0].Size || sums[blobs[1]] != blobs[1].Size {
				t.Errorf("read together: %v, %v", sums, err)
			}
		})
	}
}

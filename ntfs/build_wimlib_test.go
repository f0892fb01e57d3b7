package ntfs

import (
	"bufio"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"husk/internal/reftool"
	"husk/winfile"
)

// What wimlib captures from the volume with its own reader (libntfs-3g) is what went in.
func TestWimlibCapturesWhatWentIn(t *testing.T) {
	m := newTreeMaker(3)
	tr := m.fullTree(600)
	for _, g := range [][2]int{{512, 4096}, {4096, 4096}, {512, 512}, {512, 65536}} {
		t.Run(fmt.Sprintf("%d-%d", g[0], g[1]), func(t *testing.T) {
			name, _ := buildImage(t, tr, &BuildOptions{SectorSize: g[0], ClusterSize: g[1]})
			wim := filepath.Join(t.TempDir(), "out.wim")
			reftool.Run(t, "wimlib-imagex", "capture", name, wim, "--compress=none")
			got := parseWimlibDir(reftool.Run(t, "wimlib-imagex", "dir", wim, "--detailed"))
			for path, e := range tr.All() {
				want := wimlibEntry(e)
				if path = "/" + path; path == "/." {
					path = "/"
				}
				have, ok := got[path]
				if !ok {
					t.Errorf("%q is missing", path)
				}
				if have["Short Name"] == e.Name { // namespace 3
					have["Short Name"] = ""
				}
				for k, v := range want {
					if have[k] != v {
						t.Errorf("%q: %s is %q, want %q", path, k, have[k], v)
					}
				}
				for k := range have {
					if _, ok := want[k]; !ok && strings.HasPrefix(k, "stream ") {
						t.Errorf("%q has %s", path, k)
					}
				}
				delete(got, path)
			}
			for path := range got {
				t.Errorf("%q is on the volume only", path)
			}
		})
	}
}

// parseWimlibDir turns the blocks of wimlib-imagex dir --detailed into maps.
func parseWimlibDir(out string) map[string]map[string]string {
	all := make(map[string]map[string]string)
	var entry map[string]string
	stream := ""
	s := bufio.NewScanner(strings.NewReader(out))
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		line := s.Text()
		if name, ok := strings.CutPrefix(line, "\tNamed data stream "); ok {
			stream = "stream :" + strings.Trim(name, `":`)
			continue
		}
		if name, ok := strings.CutSuffix(strings.TrimSpace(line), " stream:"); ok && line[0] == '\t' {
			stream = "stream " + name
			continue
		}
		k, v, ok := strings.Cut(line, " = ")
		if !ok {
			continue
		}
		k = strings.TrimSpace(k)
		switch {
		case k == "Full Path":
			entry, stream = make(map[string]string), ""
			all[strings.Trim(v, `"`)] = entry
		case k == "Hash" && stream != "":
			entry[stream] = strings.TrimPrefix(v, "0x")
		case stream == "":
			entry[k] = strings.Trim(v, `"`)
		}
	}
	return all
}

// wimlibEntry is what wimlib should say about an entry.
func wimlibEntry(e *winfile.Entry) map[string]string {
	i := e.Info
	a := i.Attributes &^ (winfile.AttrSparse | winfile.AttrNormal)
	if a&winfile.AttrDirectory == 0 {
		a &^= winfile.AttrCompressed
	}
	if a == 0 {
		a = winfile.AttrNormal
	}
	time := func(f winfile.Filetime) string { return f.Time().Format("Mon Jan 02 15:04:05 2006 UTC") }
	want := map[string]string{
		"Short Name": e.ShortName, "Attributes": fmt.Sprintf("0x%08x", uint32(a)), "Link Count": fmt.Sprint(i.Links),
		"Creation Time": time(i.Created), "Last Write Time": time(i.Written), "Last Access Time": time(i.Accessed),
	}
	if i.Security != nil {
		want["Security Descriptor"] = hex.EncodeToString(i.Security)
	}
	hash := func(b *winfile.Blob) string {
		if b == nil {
			return strings.Repeat("0", 40)
		}
		return b.SHA1.String()
	}
	want["stream Unnamed data"] = hash(i.Data)
	for _, s := range i.Streams {
		want["stream :"+s.Name] = hash(s.Data)
	}
	if i.Reparse != nil {
		want["Reparse Tag"] = fmt.Sprintf("%#x", i.Reparse.Tag)
		want["stream Reparse point"] = winfile.SHA1(sha1.Sum(i.Reparse.Data)).String()
		delete(want, "stream Unnamed data")
	}
	if i.Extra != nil && i.Extra.ObjectID != nil {
		for k, name := range []string{"Object ID", "Birth Volume ID", "Birth Object ID", "Domain ID"} {
			if len(i.Extra.ObjectID) > 16*k {
				want[name] = "0x" + hex.EncodeToString(i.Extra.ObjectID[16*k:16*k+16])
			}
		}
	}
	return want
}

package mbr

import (
	"bytes"
	"slices"
	"testing"
)

// codesOf are the codes of what CheckDisk finds, each once, in order.
func codesOf(t testing.TB, b []byte) []string {
	t.Helper()
	list, err := CheckDisk(bytes.NewReader(b), int64(len(b)), 512)
	if err != nil {
		t.Fatal(err)
	}
	var codes []string
	for _, p := range list {
		codes = append(codes, p.Code)
		if Codes[p.Code] == "" {
			t.Errorf("%v has a code that is not listed", p)
		}
	}
	slices.Sort(codes)
	return slices.Compact(codes)
}

func TestCheckDisk(t *testing.T) {
	const sectors = 4 * 2048 // 4 MiB
	disk := func(tab Table) []byte {
		b, err := tab.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return append(b, make([]byte, (sectors-1)*512)...)
	}
	p := func(active bool, start, sectors uint32) Partition {
		return Partition{Active: active, Type: TypeNTFS, Start: start, Sectors: sectors}
	}
	parts := func(list ...Partition) []byte {
		tab := Table{Signature: 7}
		copy(tab.Parts[:], list)
		return disk(tab)
	}
	guard := Partition{Type: TypeProtective, Start: 1, Sectors: sectors - 1}
	missing := make(map[string]bool)
	for code := range Codes {
		missing[code] = true
	}
	for _, tt := range []struct {
		name string
		disk []byte
		want []string
	}{
		{"sound", parts(p(true, 2048, 2048), p(false, 4096, 4096)), nil},
		{"no record", make([]byte, 4096), []string{"record"}},
		{"no signature", disk(Table{Parts: [4]Partition{p(true, 2048, 2048)}}), []string{"signature"}},
		{"out of the disk", parts(p(true, 4096, 4097)), []string{"range"}},
		{"in the table", parts(p(true, 0, 2048)), []string{"range"}},
		{"overlap", parts(p(true, 2048, 2049), p(false, 4096, 2048)), []string{"overlap"}},
		{"inside", parts(p(true, 2048, 6144), p(false, 4096, 2048)), []string{"overlap"}},
		{"two active", parts(p(true, 2048, 2048), p(true, 4096, 2048)), []string{"active"}},
		{"Windows XP", parts(p(true, 63, 2000)), []string{"alignment"}},
		{"no chain", parts(p(true, 2048, 2048), Partition{Type: TypeExtended, Start: 4096, Sectors: 4096}), []string{"logical"}},
		{"in the extended one", parts(Partition{Type: TypeExtended, Start: 2048, Sectors: 6144}, p(false, 4096, 2048)), []string{"logical", "overlap"}},
		{"guard", parts(guard), nil},
		{"guard of any size", parts(Partition{Type: TypeProtective, Start: 1, Sectors: 1<<32 - 1}), nil},
		{"short guard", parts(Partition{Type: TypeProtective, Start: 1, Sectors: 100}), []string{"protective"}},
		{"hybrid", parts(guard, p(true, 2048, 2048)), []string{"hybrid"}},
	} {
		if got := codesOf(t, tt.disk); !slices.Equal(got, tt.want) {
			t.Errorf("%s: found %q, want %q", tt.name, got, tt.want)
		}
		for _, code := range tt.want {
			delete(missing, code)
		}
	}
	for code := range missing {
		t.Errorf("no disk shows %s", code)
	}
}

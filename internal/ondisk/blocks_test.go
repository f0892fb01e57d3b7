package ondisk

import "testing"

func TestNextRange(t *testing.T) {
	const size, block = 35, 10
	for _, tt := range []struct {
		name       string
		here       string // a byte for each of the disk: x is there
		off        int64
		start, end int64
	}{
		{"none", "                                   ", 0, 35, 35},
		{"all", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", 0, 0, 35},
		{"from the middle", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", 17, 17, 35},
		{"before the disk", "xx                                 ", -5, 0, 2},
		{"behind the disk", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", 99, 35, 35},
		{"over a border", "       xxxxxx                      ", 0, 7, 13},
		{"ends at a border", "   xxxxxxx          xxxx           ", 0, 3, 10},
		{"two in a block", "x  xx                              ", 1, 3, 5},
		{"the last", "                                  x", 12, 34, 35},
	} {
		start, end := NextRange(tt.off, size, block, func(i, from, to int64) (int64, int64) {
			if from/block != i || to > min((i+1)*block, size) {
				t.Fatalf("%s: block %d from %d to %d", tt.name, i, from, to)
			}
			for from < to && tt.here[from] != 'x' {
				from++
			}
			end := from
			for end < to && tt.here[end] == 'x' {
				end++
			}
			return from, end
		})
		if start != tt.start || end != tt.end {
			t.Errorf("%s: %d to %d, want %d to %d", tt.name, start, end, tt.start, tt.end)
		}
	}
}

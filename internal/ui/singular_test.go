package ui

import "testing"

func TestSingular(t *testing.T) {
	u, zh := New(nil, nil, nil, "en"), New(nil, nil, nil, "zh-CN")
	for _, tt := range []struct {
		format string
		args   []any
		want   string
	}{
		{"Copied %d files and %d folders, %s, to %s.", []any{1, 0, "1 B", "1 files"}, "Copied 1 file and 0 folders, 1 B, to 1 files."},
		{"Copied %d files and %d folders, %s, to %s.", []any{11, int64(1), "1 B", "x"}, "Copied 11 files and 1 folder, 1 B, to x."},
		{"%s: put %d new files", []any{"1", 1}, "1: put 1 new file"},
		{"%d files have an object id", []any{uint32(1)}, "1 file has an object id"},
		{"%d files are changed already", []any{1}, "1 file is changed already"},
		{"%d %% of %d keys made", []any{1, 1}, "1 % of 1 key made"},
		{"%d files/s", []any{1001}, "1,001 files/s"},
		{"%[2]d files of %[1]s", []any{"x", 1}, "1 files of x"},
	} {
		if got := u.T(tt.format, tt.args...); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
	if got, want := zh.T("Copied %d files and %d folders, %s, to %s.", 1, 1, "1 B", "x"), "已复制 1 个文件、1 个文件夹（1 B）到 x。"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

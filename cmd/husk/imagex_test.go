package main

import (
	"bytes"
	"strings"
	"testing"
)

// TestAsImagex: under the names of wimlib-imagex husk is that program, with its exit codes; under its own it is not.
func TestAsImagex(t *testing.T) {
	for _, tt := range []struct {
		name string
		args []string
		code int
		out  string
	}{
		{"/usr/bin/wimlib-imagex", []string{"--version"}, 0, "wimlib-imagex 1.14"},
		{"wimlib-imagex", nil, 2, "No command specified"},
		{"wiminfo", []string{"--help"}, 0, "info WIMFILE"},
		{"./wimverify.exe", []string{"nothing.wim"}, 47, "nothing.wim"},
		{"wimcapture", nil, 255, "Usage"},
	} {
		var out bytes.Buffer
		code, ok := asImagex(tt.name, tt.args, strings.NewReader(""), &out, &out)
		if !ok || code != tt.code || !strings.Contains(out.String(), tt.out) {
			t.Errorf("%s %q: %d, %t\n%s", tt.name, tt.args, code, ok, out.String())
		}
	}
	for _, name := range []string{"husk", "/opt/husk.exe", "wim"} {
		if _, ok := asImagex(name, nil, nil, nil, nil); ok {
			t.Errorf("%s acts as wimlib-imagex", name)
		}
	}
}

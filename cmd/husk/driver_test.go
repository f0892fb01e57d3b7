package main

import (
	"fmt"
	"os"
	"strconv"

	"github.com/rogpeppe/go-internal/testscript"

	"husk/pe"
	"husk/pe/petest"
	"husk/regf"
)

// makeProgram is "program FILE x64|x86 VERSION [DIGEST...]": a program file that looks signed with the digests.
func makeProgram(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 3 {
		ts.Fatalf("usage: program FILE x64|x86 VERSION [DIGEST...]")
	}
	var v [4]uint16
	_, err := fmt.Sscanf(args[2], "%d.%d.%d.%d", &v[0], &v[1], &v[2], &v[3])
	ts.Check(err)
	b := petest.Build([]string{"ntoskrnl.exe", "fltmgr.sys"}, v)
	switch args[1] {
	case "x64":
	case "x86":
		b = petest.SetMachine(b, pe.MachineI386)
	default:
		ts.Fatalf("%s, want x64 or x86", strconv.Quote(args[1]))
	}
	if len(args) > 3 {
		b = petest.Sign(b, args[3:]...)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o644))
}

// emptyHive is "emptyhive FILE": a registry hive with nothing but its root.
func emptyHive(ts *testscript.TestScript, _ bool, args []string) {
	h, err := regf.New(5, "ROOT")
	ts.Check(err)
	b, err := h.Bytes()
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o644))
}

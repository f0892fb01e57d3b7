package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"husk/internal/reftool"
	"husk/internal/sample"
	"husk/internal/tree"
)

// TestMain lets the scripts run husk itself.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"husk": func() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
	})
}

// husk runs husk in this process.
func husk(t *testing.T, args ...string) (status int, out string) {
	t.Helper()
	var b bytes.Buffer
	status = run(append([]string{"--lang=en"}, args...), strings.NewReader(""), &b, &b)
	return status, b.String()
}

// TestScripts runs one file per promise that a command makes, from testdata/script.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("LC_ALL", "C.UTF-8")
			return nil
		},
		Condition: condition,
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"system":  makeSystem,
			"damage":  damage,
			"same":    sameTrees,
			"reftool": oracle,
			"exits":   exits,
			"program": makeProgram,
			"patches": patches,
			"equal":   equal,

			"emptyhive": emptyHive,

			"killserver": killServer,
			"waitfor":    waitFor,
			"waitgone":   waitGone,
		},
	})
}

// makeSystem is "system x64|x86 DIR": a small Windows system in a folder.
func makeSystem(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: system ARCH DIR")
	}
	t, err := sample.Tree(sample.Options{Arch: args[0], Programs: 12})
	ts.Check(err)
	_, err = tree.ApplyFolder(context.Background(), t, ts.MkAbs(args[1]), nil)
	ts.Check(err)
}

// damage is "damage FILE OFFSET [N]": N bytes (1) at OFFSET are inverted; a negative offset counts from the end.
func damage(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: damage FILE OFFSET [N]")
	}
	name := ts.MkAbs(args[0])
	b, err := os.ReadFile(name)
	ts.Check(err)
	off, err := strconv.Atoi(args[1])
	ts.Check(err)
	n := 1
	if len(args) > 2 {
		n, err = strconv.Atoi(args[2])
		ts.Check(err)
	}
	if off < 0 {
		off += len(b)
	}
	for i := range b[off : off+n] {
		b[off+i] ^= 0xff
	}
	ts.Check(os.WriteFile(name, b, 0o644))
}

// sameTrees is "same DIR DIR": two folders hold the same files with the same metadata.
func sameTrees(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: same DIR DIR")
	}
	ctx := context.Background()
	a, _, err := tree.ScanFolder(ctx, ts.MkAbs(args[0]), nil)
	ts.Check(err)
	b, _, err := tree.ScanFolder(ctx, ts.MkAbs(args[1]), nil)
	ts.Check(err)
	d, err := tree.Compare(ctx, a, b, &tree.CompareOptions{Ignore: tree.DiffAccessed | tree.DiffChanged})
	ts.Check(err)
	if (d.Total == 0) == neg {
		ts.Fatalf("%d differences: %v", d.Total, d.List)
	}
}

// exits is "exits STATUS PROGRAM ARGS...": runs a program, which must end with the status.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: exits STATUS PROGRAM ARGS...")
	}
	status := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		status = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(status) != args[0] {
		ts.Fatalf("%q ended with status %d, want %s", args[1:], status, args[0])
	}
}

// oracle is "reftool PROGRAM ARGS...": runs a reference program, which must succeed; its output becomes stdout.
func oracle(ts *testscript.TestScript, neg bool, args []string) {
	if !reftool.Have(args[0]) {
		if os.Getenv("HUSK_REFTOOLS") == "required" {
			ts.Fatalf("%s is required", args[0])
		}
		return
	}
	err := ts.Exec(args[0], args[1:]...)
	if (err != nil) != neg {
		ts.Fatalf("%q: %v", args, err)
	}
}

// program copies the test program into a folder under the name by which it is husk and not the tests, see TestMain.
func program(t *testing.T, dir string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "husk")
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	b, err := os.ReadFile(self)
	if err == nil {
		err = os.WriteFile(name, b, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// sampleSystem lays out a small x64 Windows in a folder.
func sampleSystem(t *testing.T, dir string) {
	t.Helper()
	system, err := sample.Tree(sample.Options{Arch: "x64", Programs: 12})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tree.ApplyFolder(context.Background(), system, dir, nil); err != nil {
		t.Fatal(err)
	}
}

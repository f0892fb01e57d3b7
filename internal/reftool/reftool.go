// Package reftool runs, in tests only, the programs that husk's output is checked against.
package reftool

import (
	"os"
	"os/exec"
	"testing"
)

// Look finds a program. Without it the test is skipped, or fails where HUSK_REFTOOLS=required says that a missing oracle is a
// failure. HUSK_REFTOOLS=none skips tests that need one.
func Look(t testing.TB, name string) string {
	t.Helper()
	if os.Getenv("HUSK_REFTOOLS") == "none" {
		t.Skipf("%s is not asked", name)
	}
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("HUSK_REFTOOLS") == "required" {
			t.Fatalf("%s is required: %v", name, err)
		}
		t.Skipf("%s is not installed", name)
	}
	return path
}

// Run runs a program and returns what it prints on both outputs. A non-zero exit status fails the test.
func Run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := Try(t, name, args...)
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return out
}

// Try is Run for programs that may fail: the error is the caller's to judge.
func Try(t testing.TB, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(Look(t, name), args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Have reports whether a program is installed.
func Have(name string) bool {
	if os.Getenv("HUSK_REFTOOLS") == "none" {
		return false
	}
	_, err := exec.LookPath(name)
	return err == nil
}

// Skip ends a test that needs what this machine does not let it have, such as mounting; where oracles are required it fails.
func Skip(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("HUSK_REFTOOLS") == "required" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

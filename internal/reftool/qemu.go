package reftool

import (
	"cmp"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// A Machine is a virtual PC that a test starts from a disk.
type Machine struct {
	Disk   string // path of a disk image
	Format string // as QEMU names it; empty means raw
	UEFI   bool   // else a BIOS
	Args   []string
}

// bootLimit is far more than any start takes: 1 s with a BIOS, 6 s with UEFI, on an idle machine.
const bootLimit = 2 * time.Minute

// Boot starts the machine and returns what it said on its first serial port, where a BIOS also puts what it would show on the screen. The
// machine runs until it said one of until, or, without any, until it ended itself by a write to port 0xf4; the disk stays as it is. One
// that never gets that far fails the test.
func (m *Machine) Boot(t testing.TB, until ...string) string {
	t.Helper()
	args := []string{
		"-accel", "tcg", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-m", "256",
		"-serial", "stdio", "-device", "isa-debug-exit,iobase=0xf4,iosize=4",
		"-drive", "if=ide,snapshot=on,format=" + cmp.Or(m.Format, "raw") + ",file=" + strings.ReplaceAll(m.Disk, ",", ",,"),
	}
	if m.UEFI {
		code, vars := firmware(t)
		args = append(args, "-machine", "q35",
			"-drive", "if=pflash,format=raw,unit=0,readonly=on,file="+code,
			"-drive", "if=pflash,format=raw,unit=1,file="+vars)
	} else {
		args = append(args, "-machine", "pc,graphics=off") // the BIOS then takes the serial port for its screen
	}
	cmd := exec.Command(Look(t, "qemu-system-x86_64"), append(args, m.Args...)...)
	var errors strings.Builder
	cmd.Stderr = &errors
	said, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	limit := time.AfterFunc(bootLimit, func() { cmd.Process.Kill() })
	var all []byte
	for buf := make([]byte, 4096); !saidAny(all, until); {
		n, err := said.Read(buf)
		all = append(all, buf[:n]...)
		if err != nil {
			break
		}
	}
	late := !limit.Stop()
	cmd.Process.Kill()
	cmd.Wait() // its status says nothing: it was killed, or ended as it was told
	if late || len(until) > 0 && !saidAny(all, until) {
		t.Fatalf("the machine did not say %q, but:\n%s\n%s", until, all, errors.String())
	}
	return string(all)
}

func saidAny(said []byte, want []string) bool {
	return slices.ContainsFunc(want, func(w string) bool { return strings.Contains(string(said), w) })
}

// firmware returns the UEFI firmware and a fresh copy of its variables.
func firmware(t testing.TB) (code, vars string) {
	t.Helper()
	const dir = "/usr/share/OVMF/"
	for _, suffix := range []string{"", "_4M"} {
		code = dir + "OVMF_CODE" + suffix + ".fd"
		b, err := os.ReadFile(dir + "OVMF_VARS" + suffix + ".fd")
		if err != nil {
			continue
		}
		vars = filepath.Join(t.TempDir(), "vars.fd")
		if err := os.WriteFile(vars, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return code, vars
	}
	Skip(t, "no UEFI firmware in %s", dir)
	return "", ""
}

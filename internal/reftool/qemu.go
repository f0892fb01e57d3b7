package reftool

import (
	"cmp"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A Machine is a virtual PC that a test starts from a disk.
type Machine struct {
	Disk   string // path of a disk image
	Format string // as QEMU names it; empty means raw
	UEFI   bool   // else a BIOS
	Sector int    // logical sector size of the disk in bytes; 0 means 512
	Screen bool   // it has a screen: what a BIOS shows goes there, and not to the serial port
	Args   []string
}

// bootLimit is far more than any start takes: 1 s with a BIOS, 6 s with UEFI, on an idle machine.
const bootLimit = 2 * time.Minute

// Boot starts the machine and returns what it said on its first serial port, where a BIOS also puts what it would show on the screen. The
// machine runs until it said one of until, or, without any, until it ended itself by a write to port 0xf4; the disk stays as it is. One
// that never gets that far fails the test.
func (m *Machine) Boot(t testing.TB, until ...string) string {
	t.Helper()
	var all []byte
	done := m.Talk(t, func(said []byte) (string, bool) {
		all = said
		return "", saidAny(said, until)
	})
	if !done && len(until) > 0 {
		t.Fatalf("the machine did not say %q, but:\n%s", until, all)
	}
	return string(all)
}

// Talk starts the machine and calls hear with all that it said on its first serial port, whenever there is more. What hear returns is typed
// there, until it is done. Talk reports whether it was: the machine may end itself before. One that runs for too long fails the test.
func (m *Machine) Talk(t testing.TB, hear func(said []byte) (typed string, done bool)) (done bool) {
	t.Helper()
	cmd := exec.Command(Look(t, "qemu-system-x86_64"), m.args(t)...)
	var errors strings.Builder
	cmd.Stderr = &errors
	keys, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	said, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	limit := time.AfterFunc(bootLimit, func() { cmd.Process.Kill() })
	var all []byte
	for buf := make([]byte, 4096); !done; {
		n, err := said.Read(buf)
		all = append(all, buf[:n]...)
		if err != nil {
			break
		}
		var typed string
		if typed, done = hear(all); typed != "" {
			if _, err := io.WriteString(keys, typed); err != nil {
				t.Logf("the machine does not hear: %v", err) // it has ended, which the next read tells
			}
		}
	}
	late := !limit.Stop()
	cmd.Process.Kill()
	cmd.Wait() // its status says nothing: it was killed, or ended as it was told
	if late {
		t.Fatalf("the machine runs and runs; it said:\n%s\n%s", all, errors.String())
	}
	if !done && errors.Len() > 0 {
		t.Log(errors.String())
	}
	return done
}

// args are the arguments of QEMU.
func (m *Machine) args(t testing.TB) []string {
	t.Helper()
	args := []string{
		"-accel", "tcg", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-m", "256",
		"-serial", "stdio", "-device", "isa-debug-exit,iobase=0xf4,iosize=4",
	}
	drive := "snapshot=on,format=" + cmp.Or(m.Format, "raw") + ",file=" + strings.ReplaceAll(m.Disk, ",", ",,")
	if m.Sector == 0 {
		args = append(args, "-drive", "if=ide,"+drive)
	} else {
		size := strconv.Itoa(m.Sector)
		args = append(args, "-drive", "if=none,id=disk,"+drive,
			"-device", "nvme,serial=disk,drive=disk,logical_block_size="+size+",physical_block_size="+size)
	}
	if m.Screen {
		args = append(args, "-vga", "std")
	}
	switch {
	case m.UEFI:
		code, vars := firmware(t)
		args = append(args, "-machine", "q35",
			"-drive", "if=pflash,format=raw,unit=0,readonly=on,file="+code,
			"-drive", "if=pflash,format=raw,unit=1,file="+vars)
	case m.Screen:
		args = append(args, "-machine", "pc")
	default:
		args = append(args, "-machine", "pc,graphics=off") // the BIOS then takes the serial port for its screen
	}
	return append(args, m.Args...)
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

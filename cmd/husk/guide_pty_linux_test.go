package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"husk/internal/reftool"
)

// terminal is a pseudo terminal with husk on it, and what it has shown so far.
type terminal struct {
	t    *testing.T
	f    *os.File
	cmd  *exec.Cmd
	mu   sync.Mutex
	seen bytes.Buffer
	read int // of seen, what was waited for already
	done chan error
}

// openPTY makes a pseudo terminal: the side of the tests, and that of the program.
func openPTY(t *testing.T) (ours, theirs *os.File) {
	t.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		reftool.Skip(t, "no terminal to lead on: %v", err)
	}
	n, err := unix.IoctlGetInt(int(ours.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(ours.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	if theirs, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	return ours, theirs
}

// onTerminal starts husk on a terminal in a folder.
func onTerminal(t *testing.T, husk, dir string, env []string, args ...string) *terminal {
	t.Helper()
	ours, theirs := openPTY(t)
	defer theirs.Close()
	c := exec.Command(husk, args...)
	c.Dir, c.Stdin, c.Stdout, c.Stderr = dir, theirs, theirs, theirs
	c.Env = append(os.Environ(), env...)
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	term := &terminal{t: t, f: ours, cmd: c, done: make(chan error, 1)}
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := ours.Read(b)
			term.mu.Lock()
			term.seen.Write(b[:n])
			term.mu.Unlock()
			if err != nil {
				break
			}
		}
		term.done <- c.Wait()
	}()
	t.Cleanup(func() {
		c.Process.Kill()
		ours.Close()
	})
	return term
}

// wait waits until the program has shown a text since the last one that was waited for.
func (x *terminal) wait(text string) {
	x.t.Helper()
	for range 600 {
		x.mu.Lock()
		at := strings.Index(x.seen.String()[x.read:], text)
		if at >= 0 {
			x.read += at + len(text)
		}
		x.mu.Unlock()
		if at >= 0 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	x.t.Fatalf("no %q on the terminal, but\n%s", text, x.seen.String())
}

// answer waits for a question, and answers it.
func (x *terminal) answer(question, line string) {
	x.t.Helper()
	x.wait(question)
	x.wait("]") // of the proposal
	if _, err := x.f.WriteString(line + "\n"); err != nil {
		x.t.Fatal(err)
	}
}

// end waits for the end of the program.
func (x *terminal) end() {
	x.t.Helper()
	select {
	case err := <-x.done:
		if err != nil {
			x.t.Errorf("husk ended with %v:\n%s", err, x.seen.String())
		}
	case <-time.After(30 * time.Second):
		x.t.Fatalf("husk did not end:\n%s", x.seen.String())
	}
}

// huskProgram is the test program by the name under which it is husk, in a folder with a disk that has a Windows.
func huskProgram(t *testing.T) (husk, dir string) {
	t.Helper()
	dir = t.TempDir()
	husk = program(t, dir)
	sampleSystem(t, filepath.Join(dir, "x64"))
	for _, args := range [][]string{
		{"reg", "set", "x64", "SOFTWARE", `Microsoft\Windows NT\CurrentVersion`, "CurrentBuild", "19045"},
		{"capture", "x64", "plain.wim"}, {"install", "plain.wim:1", "pc.vhd", "--firmware=bios", "--size=200M"},
	} {
		c := exec.Command(husk, args...)
		c.Dir = dir
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%q: %v\n%s", args, err, out)
		}
	}
	if err := os.Remove(filepath.Join(dir, "plain.wim")); err != nil {
		t.Fatal(err)
	}
	return husk, dir
}

// TestGuide lives through the guide on a terminal that knows nothing but lines, in both languages.
func TestGuide(t *testing.T) {
	if testing.Short() {
		t.Skip("starts many processes")
	}
	husk, dir := huskProgram(t)
	x := onTerminal(t, husk, dir, []string{"TERM=dumb", "LC_ALL=C.UTF-8"})
	x.wait("1. Find Windows systems")
	x.answer("What is to be done?", "9")
	x.wait("not in the menu")
	x.answer("What is to be done?", "1")
	x.wait("Disk, image or folder")
	if _, err := x.f.WriteString("\n"); err != nil {
		t.Fatal(err)
	}
	x.wait("Command: husk detect")
	x.answer("Run it?", "")
	x.wait("Windows systems found: 1")
	x.answer("What is to be done?", "2")
	x.answer("System to convert", "")
	x.answer("New disk", "-")
	x.answer("Folder for the WIM", "-")
	x.wait("Command: husk convert ")
	x.answer("Run it?", "")
	x.answer("Go on?", "")
	x.wait("is a husk now")
	x.answer("What is to be done?", "5")
	x.answer("Disk of the system", "")
	x.wait("Command: husk status")
	x.answer("Run it?", "n")
	x.answer("What is to be done?", "l")
	x.wait("查找 Windows 系统")
	x.answer("要做什么？", "q")
	x.end()
	if s := x.seen.String(); strings.Contains(s, "\x1b") {
		t.Errorf("escape sequences on a terminal that knows none: %q", s[max(0, strings.Index(s, "\x1b")-40):])
	}
	if _, err := os.Stat(filepath.Join(dir, "pc.vhd.husk-convert")); err == nil {
		t.Error("the journal is still there")
	}

	x = onTerminal(t, husk, dir, []string{"TERM=vt100", "LC_ALL=zh_CN.UTF-8", "LANG=zh_CN.UTF-8"})
	x.answer("要做什么？", "1")
	x.wait("要查看的磁盘")
	if _, err := x.f.WriteString("pc.vhd\n"); err != nil {
		t.Fatal(err)
	}
	x.wait("命令：husk detect pc.vhd")
	x.answer("运行吗？", "")
	x.wait("找到的 Windows 系统：1")
	x.wait("要做什么？")
	if _, err := x.f.Write([]byte{4}); err != nil { // the end of the input
		t.Fatal(err)
	}
	x.end()
}

// TestConvertAsks: without arguments convert proposes, and Enter takes each proposal.
func TestConvertAsks(t *testing.T) {
	if testing.Short() {
		t.Skip("starts many processes")
	}
	husk, dir := huskProgram(t)
	x := onTerminal(t, husk, dir, []string{"TERM=dumb", "LC_ALL=C.UTF-8"}, "convert", "--firmware=bios")
	x.answer("System to convert", "")
	x.answer("New disk", "")
	x.answer("Folder for the WIM", "")
	x.answer("Go on?", "")
	x.wait("is a husk of")
	x.end()
	if _, err := os.Stat(filepath.Join(dir, "pc-husk.vhdx")); err != nil {
		t.Error(err)
	}
	x = onTerminal(t, husk, dir, []string{"LC_ALL=C.UTF-8"}, "convert", "pc.vhd")
	x.answer("Go on?", "no")
	x.wait("nothing was written")
	if err := <-x.done; err == nil {
		t.Error("a refusal is no success")
	}
}

// TestGuideStore leads through a store: a point is added, the system looked at, made small again and restored, with the proposals.
func TestGuideStore(t *testing.T) {
	if testing.Short() {
		t.Skip("starts many processes")
	}
	husk, dir := huskProgram(t)
	c := exec.Command(husk, "convert", "pc.vhd", "wimboot/x64/win.vhd", "--store=wimboot", "--wim-disk=mbr:1a2b3c4d:1048576", `--wim-path=\wimboot\wimboot.wim`, "--yes")
	c.Dir = dir
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("convert: %v\n%s", err, out)
	}
	x := onTerminal(t, husk, dir, []string{"TERM=dumb", "LC_ALL=C.UTF-8"})
	x.answer("What is to be done?", "3")
	x.answer("Store (the folder of the WIMs)", "")
	x.answer("Name of the system in the store", "")
	x.answer("Disk of the system", "")
	x.wait("Note on the point")
	if _, err := x.f.WriteString("by the guide\n"); err != nil {
		t.Fatal(err)
	}
	x.wait("Command: husk point add wimboot x64 wimboot/x64/win.vhd -m ")
	x.answer("Run it?", "")
	x.wait("Added x64@")
	x.answer("What is to be done?", "5")
	x.answer("Disk of the system", "")
	x.answer("Run it?", "")
	x.wait("in place")
	x.answer("What is to be done?", "6")
	x.answer("Disk of the system", "")
	x.answer("Run it?", "")
	x.wait("are pointers again")
	x.answer("What is to be done?", "4")
	x.answer("Store", "")
	x.answer("Point to restore", "x64@converted")
	x.answer("Disk of the system", "")
	x.wait("Command: husk restore wimboot:x64@converted wimboot/x64/win.vhd")
	x.answer("Run it?", "")
	x.wait("again:")
	x.answer("What is to be done?", "q")
	x.end()
	if _, err := os.Stat(filepath.Join(dir, "wimboot", "x64", "win.vhd.old")); err != nil {
		t.Error(err)
	}
}

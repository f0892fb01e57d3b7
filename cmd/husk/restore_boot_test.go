package main

import (
	"os"
	"path/filepath"
	"testing"

	"husk/internal/reftool"
)

// A boot manager that says so on the serial port and ends the machine.
const saysHello = `bits 16
mov dx, 3F8h
mov si, text
next: cs lodsb
out dx, al
test al, al
jnz next
mov al, 31h
out 0F4h, al
text: db 13, 10, '******** the restored boot manager', 0
`

// TestRestoredStarts restores a system onto its own disk, onto a smaller one and onto one of another form: each starts in QEMU as far as the
// image's boot manager, which the boot code finds on the new volume.
func TestRestoredStarts(t *testing.T) {
	if testing.Short() {
		t.Skip("starts machines")
	}
	dir := t.TempDir()
	x64 := filepath.Join(dir, "x64")
	sampleSystem(t, x64)
	manager := filepath.Join(x64, "Windows", "Boot", "PCAT", "bootmgr")
	if err := os.WriteFile(manager+".asm", []byte(saysHello), 0o644); err != nil {
		t.Fatal(err)
	}
	reftool.Run(t, "nasm", "-f", "bin", "-o", manager, manager+".asm")
	b, err := os.ReadFile(manager)
	if err == nil {
		err = os.WriteFile(filepath.Join(x64, "bootmgr"), b, 0o644) // of the volume that was captured: points have their boot files
	}
	if err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	do := func(args ...string) {
		t.Helper()
		if status, out := husk(t, args...); status != 0 {
			t.Fatalf("%q: %d\n%s", args, status, out)
		}
	}
	starts := func(name, format string) {
		t.Helper()
		m := reftool.Machine{Disk: at(name), Format: format}
		m.Boot(t, "the restored boot manager")
	}
	do("store", "init", at("st"))
	do("point", "add", at("st"), "x64", x64, "--name=installed")
	do("install", at("st")+":x64@installed", at("pc.img"), "--firmware=bios", "--size=1G")
	starts("pc.img", "raw")

	do("fs", "put", at("pc.img"), manager+".asm", "/Windows")
	do("restore", at("st")+":x64@installed", at("pc.img"), "--yes")
	starts("pc.img", "raw")
	do("restore", at("st")+":x64@installed", at("pc.img"), "--to="+at("small.img"), "--size=300M", "--yes")
	starts("small.img", "raw")
	do("restore", at("st")+":x64@installed", at("pc.img"), "--to="+at("compact.vhd"), "--mode=compact", "--yes")
	starts("compact.vhd", "vpc")
	do("check", at("small.img"))
	do("verify", at("compact.vhd"))
}

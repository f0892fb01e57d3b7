package driver

import (
	"bytes"

	"husk/pe"
	"husk/winfile"
)

// ArchOf tells the processor architecture of the system in a Windows folder of a tree by the first of its kernel files whose content
// is at hand; -1 if there is none. It is for volumes of pointer files whose WIM is not at hand: these files are mostly plain there.
func ArchOf(t *winfile.Tree, folder string) int {
	for _, name := range []string{"ntoskrnl.exe", "winload.exe", "hal.dll", "ntdll.dll", "kernel32.dll"} {
		e := t.Lookup(folder + "/System32/" + name)
		if e == nil || e.Info.IsDir() || isOverlay(e) || e.Info.Data == nil {
			continue
		}
		b, err := e.Info.Data.ReadAll(maxProgram)
		if err != nil {
			continue
		}
		i, err := pe.Read(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			continue
		}
		for arch, machine := range machines {
			if machine == i.Machine {
				return arch
			}
		}
	}
	return -1
}

// Package winsys reads what an offline Windows system says of itself: where it is in a tree, what its registry hives hold, and the
// facts that images, boot menus and drivers need of it.
package winsys

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"husk/regf"
	"husk/winfile"
)

// Places of hives below the Windows folder, by the names that people use.
const configDir = "System32/config"

var configHives = []string{"SYSTEM", "SOFTWARE", "SAM", "SECURITY", "DEFAULT", "COMPONENTS", "DRIVERS", "ELAM", "BBI"}

// bootStores are the places of a boot store, from the root of its volume.
var bootStores = []string{"Boot/BCD", "EFI/Microsoft/Boot/BCD"}

// Folder finds the Windows folder of a tree: the folder at its top with the most of kernel32.dll and the hives SOFTWARE and SYSTEM;
// "Windows" goes first. The name is empty if there is none.
func Folder(t *winfile.Tree) string {
	best, most := "", 0
	for _, e := range t.Root.Children {
		if !e.Info.IsDir() {
			continue
		}
		n, top := 0, &winfile.Tree{Root: e}
		for _, path := range []string{"System32/kernel32.dll", configDir + "/SOFTWARE", configDir + "/SYSTEM"} {
			if found := top.Lookup(path); found != nil && !found.Info.IsDir() {
				n++
			}
		}
		if n > most || n == most && n > 0 && winfile.EqualFold(e.Name, "Windows") {
			best, most = e.Name, n
		}
	}
	return best
}

// HivePath is the slash path of a hive in a tree by its name (SYSTEM, SOFTWARE, SAM, SECURITY, DEFAULT, COMPONENTS, DRIVERS, ELAM,
// BBI or BCD), or the path itself if it is one. What is not there is fs.ErrNotExist.
func HivePath(t *winfile.Tree, name string) (string, error) {
	var places []string
	if winfile.EqualFold(name, "BCD") {
		places = bootStores
	}
	if dir := Folder(t); dir != "" {
		for _, h := range configHives {
			if winfile.EqualFold(name, h) {
				places = append(places, dir+"/"+configDir+"/"+h)
			}
		}
	}
	for _, path := range append(places, name) {
		if e := t.Lookup(path); e != nil && e.Info.Attributes&winfile.AttrDirectory == 0 {
			return strings.Trim(strings.ReplaceAll(path, `\`, "/"), "/"), nil
		}
	}
	return "", &fs.PathError{Op: "hive", Path: name, Err: fs.ErrNotExist}
}

// HiveFolders are the folders whose entries tell where the hive of a name is, as HivePath finds it, and which logs it has. Nil means
// that only the whole tree tells.
func HiveFolders(name string) []string {
	if winfile.EqualFold(name, "BCD") {
		var dirs []string
		for _, s := range bootStores {
			dirs = append(dirs, path.Dir(s))
		}
		return append(dirs, "/")
	}
	if name = strings.Trim(strings.ReplaceAll(name, `\`, "/"), "/"); strings.Contains(name, "/") {
		return []string{path.Dir(name)}
	}
	return nil
}

// OpenHive reads the hive at a path of a tree, and if it is dirty the logs beside it.
func OpenHive(t *winfile.Tree, path string) (*regf.Hive, error) {
	file, err := readAll(t, path)
	if err != nil {
		return nil, err
	}
	h, err := regf.Parse(file)
	if err == nil && !h.Recovery.Dirty {
		return h, nil
	}
	var logs [][]byte
	for _, ext := range regf.LogNames {
		b, err := readAll(t, path+ext)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		logs = append(logs, b)
	}
	if h, err = regf.Parse(file, logs...); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return h, nil
}

func readAll(t *winfile.Tree, path string) ([]byte, error) {
	e := t.Lookup(path)
	if e == nil || e.Info.Attributes&winfile.AttrDirectory != 0 {
		return nil, &fs.PathError{Op: "read", Path: path, Err: fs.ErrNotExist}
	}
	if e.Info.Data == nil {
		return nil, nil
	}
	if e.Info.Data.Content == nil {
		return nil, fmt.Errorf("%s: the WIM that has its content is not at hand", path)
	}
	b, err := e.Info.Data.ReadAll(regf.MaxSize)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return b, nil
}

// ControlSet is the key that Windows calls CurrentControlSet when it runs, such as ControlSet001: that of Select\Current.
func ControlSet(system *regf.Key) (string, error) {
	n, err := system.Uint("Select", "Current")
	if err != nil {
		return "", err
	}
	name := fmt.Sprintf("ControlSet%03d", n)
	if _, err := system.Subkey(name); err != nil {
		return "", err
	}
	return name, nil
}

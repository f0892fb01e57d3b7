package tree

import (
	"errors"
	"fmt"
	"strings"

	"husk/winfile"
)

// maxNameUnits is the longest name component of NTFS and WIM in UTF-16 units.
const maxNameUnits = 255

// checkTreeName refuses names that are not one component, on any system.
func checkTreeName(name string) error {
	switch {
	case name == "":
		return errors.New("the name is empty")
	case name == "." || name == "..":
		return fmt.Errorf("the name %q is not a file's", name)
	case strings.ContainsAny(name, "/\x00"):
		return fmt.Errorf("the name %q has a slash or a NUL in it", name)
	}
	return nil
}

// checkScannedName refuses names that no Windows file can have in a way that keeps its path readable.
func checkScannedName(name string) error {
	switch {
	case !winfile.ValidName(name):
		return fmt.Errorf("the name %q is not UTF-8", name)
	case strings.Contains(name, `\`):
		return fmt.Errorf("the name %q has a backslash, which separates names in Windows", name)
	}
	if n := len(name); n > maxNameUnits {
		if n = len(winfile.UTF16FromName(name)); n > maxNameUnits {
			return fmt.Errorf("the name is %d UTF-16 units long, want at most %d", n, maxNameUnits)
		}
	}
	return nil
}

// windowsObjection says why Windows programs cannot open a name that NTFS holds, or "".
// Source: Microsoft, "Naming Files, Paths, and Namespaces".
func windowsObjection(name string) string {
	for i := range len(name) {
		if c := name[i]; c < ' ' || strings.IndexByte(`<>:"|?*\/`, c) >= 0 {
			return fmt.Sprintf("Windows does not allow the character %q in names", c)
		}
	}
	if strings.HasSuffix(name, ".") || strings.HasSuffix(name, " ") {
		return "Windows does not allow names that end in a dot or a space"
	}
	if len(name) < 3 {
		return ""
	}
	base, _, _ := strings.Cut(name, ".")
	base = strings.ToUpper(strings.TrimRight(base, " "))
	switch base {
	case "CON", "PRN", "AUX", "NUL":
		return "Windows keeps the name " + base + " for a device"
	}
	if rest, ok := strings.CutPrefix(base, "COM"); ok || strings.HasPrefix(base, "LPT") {
		if !ok {
			rest = base[3:]
		}
		switch rest {
		case "1", "2", "3", "4", "5", "6", "7", "8", "9", "¹", "²", "³":
			return "Windows keeps the name " + base + " for a device"
		}
	}
	return ""
}

// join makes a child's path; the root is ".".
func join(dir, name string) string {
	if dir == "." {
		return name
	}
	return dir + "/" + name
}

package bcd

import (
	"fmt"
	"strconv"
	"strings"

	"husk/guid"
)

// ElementID tells what an element means: class, format and subtype, four, four and 24 bits.
type ElementID uint32

// Format is how the value of an element is coded.
type Format uint8

const (
	FormatDevice   Format = 1
	FormatString   Format = 2
	FormatObject   Format = 3
	FormatObjects  Format = 4
	FormatInteger  Format = 5
	FormatBoolean  Format = 6
	FormatIntegers Format = 7
)

func (f Format) String() string {
	names := [...]string{1: "device", "string", "object", "objects", "integer", "boolean", "integers"}
	if int(f) < len(names) && f > 0 {
		return names[f]
	}
	return fmt.Sprintf("format %d", uint8(f))
}

// Format is the second digit of the id.
func (e ElementID) Format() Format { return Format(e >> 24 & 0xf) }

func (e ElementID) class() uint32 { return uint32(e) >> 28 }
func (e ElementID) hex() string   { return fmt.Sprintf("%08x", uint32(e)) }

// Classes of elements.
const (
	classLibrary     = 1
	classApplication = 2
	classDevice      = 3
)

// ObjectType tells what an object is.
type ObjectType uint32

const (
	FirmwareBootManager ObjectType = 0x10100001
	BootManager         ObjectType = 0x10100002
	OSLoader            ObjectType = 0x10200003
	Resume              ObjectType = 0x10200004
	MemoryDiagnostic    ObjectType = 0x10200005
	LegacyLoader        ObjectType = 0x10300006 // ntldr
	BootSector          ObjectType = 0x10400008 // real-mode code, such as grub4dos
	StartupCom          ObjectType = 0x10400009
	BootApplication     ObjectType = 0x1020000a
	FirmwareApplication ObjectType = 0x101fffff
	Settings            ObjectType = 0x20100000 // that any object inherits
	LoaderSettings      ObjectType = 0x20200003
	ResumeSettings      ObjectType = 0x20200004
	DeviceOptions       ObjectType = 0x30000000
)

var typeNames = map[ObjectType]string{
	FirmwareBootManager: "Firmware Boot Manager",
	BootManager:         "Windows Boot Manager",
	OSLoader:            "Windows Boot Loader",
	Resume:              "Resume from Hibernate",
	MemoryDiagnostic:    "Windows Memory Tester",
	LegacyLoader:        "Windows Legacy OS Loader",
	BootSector:          "Real-mode Boot Sector",
	StartupCom:          "Startup.com",
	BootApplication:     "Boot Application",
	FirmwareApplication: "Firmware Application",
	Settings:            "Settings",
	LoaderSettings:      "Loader Settings",
	ResumeSettings:      "Resume Loader Settings",
	DeviceOptions:       "Device Options",
}

func (t ObjectType) String() string {
	if s, ok := typeNames[t]; ok {
		return s
	}
	return fmt.Sprintf("Object type %08x", uint32(t))
}

// ids of objects that every store knows by the same number.
func id(s string) guid.GUID {
	g, err := guid.Parse(s)
	if err != nil {
		panic(err)
	}
	return g
}

// Objects with numbers of their own.
var (
	BootManagerID         = id("9dea862c-5cdd-4e70-acc1-f32b344d4795")
	FirmwareBootManagerID = id("a5a30fa2-3d06-4e9f-b5f4-a01df9d1fcba")
	MemoryDiagnosticID    = id("b2721d73-1db4-4c62-bf78-c548a880142d")
	LegacyLoaderID        = id("466f5a88-0af2-4f76-9038-095b170dc21c")
	GlobalSettingsID      = id("7ea2e1ac-2e61-4728-aaa3-896d9d0a9f0e")
	LoaderSettingsID      = id("6efb52bf-1766-41db-a6b3-0ee5eff72bd7")
	ResumeSettingsID      = id("1afa9c49-16ab-4a5c-901b-212802da9460")
	HypervisorSettingsID  = id("7ff607e0-4395-11db-b0de-0800200c9a66")
	EMSSettingsID         = id("0ce4991b-e6b3-4b16-b23c-5e0d9250e5d9")
	DebuggerSettingsID    = id("4636856e-540f-4170-a130-a84776f4c654")
	KernelDebuggerID      = id("313e8eed-7098-4586-a9bf-309c61f8d449")
	BadMemoryID           = id("5189b25c-5558-4bf2-bca4-289b11bd29e2")
	RAMDiskOptionsID      = id("ae5534e0-a924-466c-b836-758539a3ee3a")
)

var aliases = map[guid.GUID]string{
	BootManagerID:         "{bootmgr}",
	FirmwareBootManagerID: "{fwbootmgr}",
	MemoryDiagnosticID:    "{memdiag}",
	LegacyLoaderID:        "{ntldr}",
	GlobalSettingsID:      "{globalsettings}",
	LoaderSettingsID:      "{bootloadersettings}",
	ResumeSettingsID:      "{resumeloadersettings}",
	HypervisorSettingsID:  "{hypervisorsettings}",
	EMSSettingsID:         "{emssettings}",
	DebuggerSettingsID:    "{dbgsettings}",
	KernelDebuggerID:      "{kerneldbgsettings}",
	BadMemoryID:           "{badmemory}",
	RAMDiskOptionsID:      "{ramdiskoptions}",
}

// Alias is bcdedit's name of an object, or else its id in braces.
func Alias(id guid.GUID) string {
	if s, ok := aliases[id]; ok {
		return s
	}
	return "{" + id.String() + "}"
}

// ParseID reads bcdedit's name of an object or its id, with or without braces.
func ParseID(s string) (guid.GUID, error) {
	braced := "{" + strings.ToLower(strings.Trim(s, "{}")) + "}"
	for id, name := range aliases {
		if name == braced {
			return id, nil
		}
	}
	g, err := guid.Parse(braced)
	if err != nil {
		return g, fmt.Errorf("bcd: object %q, want a name such as {bootmgr} or a GUID", s)
	}
	return g, nil
}

// ParseElement reads bcdedit's name of an element of an object of a type, custom:XXXXXXXX or eight hexadecimal digits.
func ParseElement(s string, t ObjectType) (ElementID, error) {
	lower := strings.ToLower(s)
	for _, n := range namesFor(t) {
		if n.name == lower {
			return n.id, nil
		}
	}
	digits := strings.TrimPrefix(lower, "custom:")
	if n, err := strconv.ParseUint(digits, 16, 32); err == nil && len(digits) == 8 {
		return ElementID(n), nil
	}
	return 0, fmt.Errorf("bcd: element %q, want a name that bcdedit knows for this kind of object, or custom:XXXXXXXX", s)
}

// ElementName is bcdedit's name of an element of an object of a type, or custom:XXXXXXXX.
func ElementName(e ElementID, t ObjectType) string {
	for _, n := range namesFor(t) {
		if n.id == e {
			return n.name
		}
	}
	return "custom:" + e.hex()
}

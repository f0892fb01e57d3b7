package bcd

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"husk/guid"
)

// Release is a generation of Windows, as far as its boot store differs.
type Release int

const (
	Windows7  Release = iota // and Vista
	Windows8                 // and 8.1
	Windows10                // and 11
)

// Menu is what a new store says about the boot manager itself.
type Menu struct {
	Release Release // of the newest Windows in it: the boot manager is its
	EFI     bool
	Device  Device // of the boot manager's own volume; zero means [Boot]
	Locale  string // such as zh-CN; "" means en-US
	Timeout uint64 // seconds
}

// NewMenu makes a store with the boot manager and the settings that its entries inherit, as bcdboot does, and no entries.
func NewMenu(m Menu) (*Store, error) {
	s, err := New()
	if err != nil {
		return nil, err
	}
	if m.Device.Where == nil {
		m.Device.Where = Boot{}
	}
	if m.Locale == "" {
		m.Locale = "en-US"
	}
	b := builder{s: s}
	b.settings(m.Release)
	b.object(BootManagerID, BootManager)
	b.device(DeviceElement, m.Device)
	b.text(DescriptionElement, bootManagerDescription)
	b.text(LocaleElement, m.Locale)
	b.objects(InheritElement, GlobalSettingsID)
	b.integer(TimeoutElement, m.Timeout)
	b.objects(ToolsOrderElement, MemoryDiagnosticID)
	if m.EFI {
		b.text(PathElement, `\EFI\Microsoft\Boot\bootmgfw.efi`)
	}
	if m.Release == Windows8 {
		b.integer(integrityServices, 1)
	}
	b.object(MemoryDiagnosticID, MemoryDiagnostic)
	b.device(DeviceElement, m.Device)
	b.text(PathElement, pick(m.EFI, `\EFI\Microsoft\Boot\memtest.efi`, `\boot\memtest.exe`))
	b.text(DescriptionElement, "Windows Memory Diagnostic")
	b.text(LocaleElement, m.Locale)
	b.objects(InheritElement, GlobalSettingsID)
	b.boolean(badMemoryAccess, true)
	return s, b.err
}

// settings makes the objects that others inherit from.
func (b *builder) settings(r Release) {
	b.object(GlobalSettingsID, Settings)
	b.objects(InheritElement, DebuggerSettingsID, EMSSettingsID, BadMemoryID)
	b.object(LoaderSettingsID, LoaderSettings)
	b.objects(InheritElement, GlobalSettingsID, HypervisorSettingsID)
	b.object(ResumeSettingsID, ResumeSettings)
	b.objects(InheritElement, GlobalSettingsID)
	b.object(HypervisorSettingsID, LoaderSettings)
	b.integer(hypervisorDebugType, 0)
	b.integer(hypervisorDebugPort, 1)
	b.integer(hypervisorBaudRate, 115200)
	b.object(DebuggerSettingsID, Settings)
	if r >= Windows10 {
		b.integer(debugType, 4)
	} else {
		b.integer(debugType, 0)
		b.integer(debugPort, 1)
		b.integer(baudRate, 115200)
	}
	b.object(EMSSettingsID, Settings)
	b.boolean(BootEMSElement, r == Windows7)
	b.object(BadMemoryID, Settings)
}

// Windows is an installed system to be started.
type Windows struct {
	Release     Release
	EFI         bool
	X86         bool
	Device      Device // of the volume with the system; the loader is on it
	OSDevice    Device // of the same volume as the system names it; zero means Device
	SystemRoot  string // "" means \Windows
	Description string
	Locale      string // "" means that of the boot manager
	DetectHAL   bool   // choose kernel and HAL anew: Windows 7 that moves between machines
}

// AddWindows adds the entry of a system and the object that resumes it from hibernation, at the end of the menu. The first entry
// becomes the default. Ids are made by newID; nil means at random.
func (s *Store) AddWindows(w Windows, newID func() guid.GUID) (guid.GUID, error) {
	if newID == nil {
		newID = guid.New
	}
	if w.SystemRoot == "" {
		w.SystemRoot = `\Windows`
	}
	if w.OSDevice.Where == nil {
		w.OSDevice = w.Device
	}
	manager, err := s.Object(BootManagerID)
	if err != nil {
		return guid.GUID{}, err
	}
	if w.Locale == "" {
		w.Locale = manager.textOr(LocaleElement, "en-US")
	}
	loader, resume := newID(), newID()
	suffix := pick(w.EFI, ".efi", ".exe")
	b := builder{s: s}
	b.object(loader, OSLoader)
	b.device(DeviceElement, w.Device)
	b.text(PathElement, w.SystemRoot+`\system32\winload`+suffix)
	b.text(DescriptionElement, w.Description)
	b.text(LocaleElement, w.Locale)
	b.objects(InheritElement, LoaderSettingsID)
	b.device(OSDeviceElement, w.OSDevice)
	b.text(SystemRootElement, w.SystemRoot)
	b.reference(resumeObject, resume)
	b.integer(NXElement, 0)
	if w.DetectHAL {
		b.boolean(DetectHALElement, true)
	}
	b.newer(w)
	if w.Release > Windows7 {
		b.integer(BootMenuPolicyElement, 0) // the graphical menu restarts the machine for every entry but the default
	}

	b.object(resume, Resume)
	b.device(DeviceElement, w.Device)
	b.text(PathElement, w.SystemRoot+`\system32\winresume`+suffix)
	b.text(DescriptionElement, "Windows Resume Application")
	b.text(LocaleElement, w.Locale)
	b.objects(InheritElement, ResumeSettingsID)
	b.device(OSDeviceElement, w.OSDevice)
	b.text(SystemRootElement, `\hiberfil.sys`)
	b.boolean(resumeDebug, false)
	if w.Release == Windows7 && w.X86 {
		b.boolean(resumePAE, true)
	}
	b.newer(w)
	if w.Release > Windows7 {
		b.integer(resumeMenu, 0)
	}
	if b.err != nil {
		return loader, b.err
	}
	return loader, s.addEntry(loader)
}

// newer sets what Windows 8 and later say of their loaders.
func (b *builder) newer(w Windows) {
	if w.Release == Windows7 {
		return
	}
	b.integers(allowedInMemory, allowedInMemory75)
	if w.EFI {
		b.boolean(isolatedContext, true)
	}
}

// AddBootSector adds the entry of a file of real-mode code, such as grub4dos' grldr.mbr, at the end of the menu: the boot manager
// loads it to 0000:7C00. There is no such thing under UEFI.
func (s *Store) AddBootSector(description string, where Device, path string, newID func() guid.GUID) (guid.GUID, error) {
	if newID == nil {
		newID = guid.New
	}
	g := newID()
	b := builder{s: s}
	b.object(g, BootSector)
	b.device(DeviceElement, where)
	b.text(PathElement, path)
	b.text(DescriptionElement, description)
	if b.err != nil {
		return g, b.err
	}
	return g, s.addEntry(g)
}

// Entries returns the objects of the menu in its order. Those that are not there are left out.
func (s *Store) Entries() ([]*Object, error) {
	manager, err := s.Object(BootManagerID)
	if err != nil {
		return nil, err
	}
	ids, err := manager.objectsOf(DisplayOrderElement)
	if err != nil {
		return nil, err
	}
	var list []*Object
	for _, g := range ids {
		o, err := s.Object(g)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, o)
	}
	return list, nil
}

// addEntry puts an object at the end of the menu.
func (s *Store) addEntry(g guid.GUID) error {
	manager, err := s.Object(BootManagerID)
	if err != nil {
		return err
	}
	ids, err := manager.objectsOf(DisplayOrderElement)
	if err != nil {
		return err
	}
	if !slices.Contains(ids, g) {
		ids = append(ids, g)
	}
	if err := manager.SetObjects(DisplayOrderElement, ids...); err != nil {
		return err
	}
	if _, err := manager.Element(DefaultElement); errors.Is(err, fs.ErrNotExist) {
		return s.SetDefault(g)
	}
	return nil
}

// SetDefault makes an entry the one that starts when nobody chooses. What resumes it from hibernation is what the boot manager looks at.
func (s *Store) SetDefault(g guid.GUID) error {
	entry, err := s.Object(g)
	if err != nil {
		return err
	}
	manager, err := s.Object(BootManagerID)
	if err != nil {
		return err
	}
	if entry.Type == OSLoader {
		if resume, err := entry.Element(resumeObject); err == nil {
			if id, err := resume.Object(); err == nil {
				if err := manager.SetObject(resumeObjectOfMenu, id); err != nil {
					return err
				}
			}
		}
	}
	return manager.SetObject(DefaultElement, g)
}

// Default is the entry that starts when nobody chooses; the zero id if none is named.
func (s *Store) Default() (guid.GUID, error) {
	manager, err := s.Object(BootManagerID)
	if err != nil {
		return guid.GUID{}, err
	}
	e, err := manager.Element(DefaultElement)
	if errors.Is(err, fs.ErrNotExist) {
		return guid.GUID{}, nil
	}
	if err != nil {
		return guid.GUID{}, err
	}
	return e.Object()
}

// ForgetHibernation removes what the boot manager knows of a hibernation image, which a captured system does not have.
func (s *Store) ForgetHibernation() error {
	manager, err := s.Object(BootManagerID)
	if err != nil {
		return err
	}
	for _, e := range []ElementID{resumeState, resumeObjectOfMenu, BootSequenceElement, hiberBoot} {
		if err := manager.Remove(e); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Dangling returns the references to objects that are not in the store, as OBJECT: ELEMENT names ID.
func (s *Store) Dangling() ([]string, error) {
	objects, err := s.Objects()
	if err != nil {
		return nil, err
	}
	known := make(map[guid.GUID]bool, len(objects))
	for _, o := range objects {
		known[o.ID] = true
	}
	var list []string
	for _, o := range objects {
		elements, err := o.Elements()
		if err != nil {
			return nil, err
		}
		for _, e := range elements {
			var ids []guid.GUID
			switch e.ID.Format() {
			case FormatObject:
				var g guid.GUID
				g, err = e.Object()
				ids = []guid.GUID{g}
			case FormatObjects:
				ids, err = e.Objects()
			}
			if err != nil {
				return nil, err
			}
			for _, g := range ids {
				if !known[g] {
					list = append(list, fmt.Sprintf("%s: %s names %s", Alias(o.ID), ElementName(e.ID, o.Type), Alias(g)))
				}
			}
		}
	}
	return list, nil
}

// textOr is a string element, or another string if it cannot be had.
func (o *Object) textOr(e ElementID, other string) string {
	if el, err := o.Element(e); err == nil {
		if s, err := el.Text(); err == nil {
			return s
		}
	}
	return other
}

// objectsOf is an object list; none if it is not there.
func (o *Object) objectsOf(e ElementID) ([]guid.GUID, error) {
	el, err := o.Element(e)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return el.Objects()
}

func pick(first bool, a, b string) string {
	if first {
		return a
	}
	return b
}

// A builder sets elements of one object after the other and keeps the first error.
type builder struct {
	s   *Store
	o   *Object
	err error
}

func (b *builder) object(g guid.GUID, t ObjectType) {
	if b.err == nil {
		b.o, b.err = b.s.Create(g, t)
	}
}

func (b *builder) do(set func() error) {
	if b.err == nil {
		b.err = set()
	}
}

func (b *builder) device(e ElementID, d Device) { b.do(func() error { return b.o.SetDevice(e, d) }) }
func (b *builder) text(e ElementID, s string)   { b.do(func() error { return b.o.SetText(e, s) }) }
func (b *builder) reference(e ElementID, g guid.GUID) {
	b.do(func() error { return b.o.SetObject(e, g) })
}
func (b *builder) objects(e ElementID, g ...guid.GUID) {
	b.do(func() error { return b.o.SetObjects(e, g...) })
}
func (b *builder) integer(e ElementID, n uint64) { b.do(func() error { return b.o.SetInteger(e, n) }) }
func (b *builder) integers(e ElementID, n ...uint64) {
	b.do(func() error { return b.o.SetIntegers(e, n...) })
}
func (b *builder) boolean(e ElementID, on bool) { b.do(func() error { return b.o.SetBoolean(e, on) }) }

package install

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"husk/bcd"
	"husk/guid"
	"husk/internal/ui"
	"husk/ntfs"
	"husk/winfile"
)

// recovery is the environment of a system that its boot manager starts when the system does not come up, on a partition of its own.
type recovery struct {
	wim, sdi    *winfile.Info // copies, with the times of what the image has
	source      string        // of the WIM in the image
	id, options guid.GUID     // in the boot stores
}

const (
	recoveryDir  = `\Recovery\WindowsRE`
	recoveryWIM  = recoveryDir + `\Winre.wim`
	recoverySDI  = recoveryDir + `\boot.sdi`
	recoveryRoom = 250 * mib // that Windows wants free to service the environment
	recoveryMin  = 500 * mib

	firstReAgent = 9200 // the first build whose ReAgent.xml has the form that is written: Windows 8
)

// Elements of the environment's entry, and of the system's that falls back to it.
const (
	recoverySequence bcd.ElementID = 0x14000008
	recoveryEnabled  bcd.ElementID = 0x16000009
	displayMessage   bcd.ElementID = 0x15000065
	displayOverride  bcd.ElementID = 0x15000066
	recoveryOS       bcd.ElementID = 0x46000010

	messageRecovery = 3
)

// findRecovery finds what a partition with the recovery environment of a system needs.
func (b *builder) findRecovery(s *System) error {
	t, windows := s.source.Tree, s.facts.Folder
	source := windows + "/System32/Recovery/Winre.wim"
	wim := t.Lookup(source)
	if wim == nil || wim.Info.IsDir() || wim.Info.Data == nil {
		return ui.Hint(&fs.PathError{Op: "recovery environment", Path: source, Err: fs.ErrNotExist},
			"leave out --recovery, or copy Winre.wim there: on a running system it is on the recovery partition ('reagentc /disable' brings it back)")
	}
	if err := checkRecovery(wim.Info.Data); err != nil {
		return fmt.Errorf("%s: %w", source, err)
	}
	r := &recovery{wim: like(wim.Info), source: source, id: guid.New(), options: guid.New()}
	for _, dir := range []string{"PCAT", "EFI"} {
		if e := t.Lookup(windows + "/Boot/DVD/" + dir + "/boot.sdi"); e != nil && e.Info.Data != nil {
			r.sdi = like(e.Info)
			break
		}
	}
	if r.sdi == nil {
		return ui.Hint(&fs.PathError{Op: "recovery environment", Path: windows + "/Boot/DVD/*/boot.sdi", Err: fs.ErrNotExist}, "leave out --recovery")
	}
	need := r.wim.Size() + r.sdi.Size() + recoveryRoom
	b.plan.toolsSize = max(recoveryMin, (need+mib-1)/mib*mib)
	b.recovery = r
	return nil
}

// checkRecovery looks at the header of the environment's WIM: the boot manager starts the image that it marks.
func checkRecovery(blob *winfile.Blob) error {
	r, err := blob.Content.OpenBlob(blob)
	if err != nil {
		return err
	}
	defer r.Close()
	const bootIndex = 0x78
	head := make([]byte, bootIndex+4)
	if _, err := io.ReadFull(r, head); err != nil || string(head[:8]) != "MSWIM\x00\x00\x00" {
		return errors.Join(errors.New("it is no WIM"), err)
	}
	if binary.LittleEndian.Uint32(head[bootIndex:]) == 0 {
		return errors.New("no image of the WIM is marked to be started")
	}
	return nil
}

// moveRecovery takes the environment out of the system, as Windows does when it has a partition for it, and tells the system where it is.
func (b *builder) moveRecovery(t *winfile.Tree) error {
	s := b.r.Systems[0]
	dir, err := folder(t, s.facts.Folder+"/System32/Recovery", t.Root.Info)
	if err != nil {
		return err
	}
	for i, e := range dir.Children {
		if winfile.EqualFold(e.Name, "Winre.wim") {
			e.Info.Links--
			dir.Children = append(dir.Children[:i:i], dir.Children[i+1:]...)
			break
		}
	}
	if s.facts.Build < firstReAgent {
		b.o.UI.Warn("ReAgent.xml of Windows 7 is left as it is: the recovery environment starts from the boot menu, 'reagentc' does not know it")
		return nil
	}
	return place(t, s.facts.Folder+"/System32/Recovery/ReAgent.xml", newFile(b.reAgent()))
}

// reAgent is the file by which the system finds its environment: partitions of a GPT disk by the disk's GUID, of an MBR disk by its
// signature, and by their offset.
func (b *builder) reAgent() []byte {
	p := b.plan
	var disk guid.GUID
	signature := p.signature
	if p.firmware == UEFI {
		disk, signature = p.disk, 0
	}
	const none = `path="" id="0" offset="0" guid="{00000000-0000-0000-0000-000000000000}"`
	return fmt.Appendf(nil, "<?xml version='1.0' encoding='utf-8'?>\r\n\r\n<WindowsRE version=\"2.0\">\r\n"+
		"  <WinreBCD id=\"{%s}\"/>\r\n  <WinreLocation path=\"%s\" id=\"%d\" offset=\"%d\" guid=\"{%s}\"/>\r\n"+
		"  <ImageLocation %[6]s/>\r\n  <PBRImageLocation %[6]s index=\"0\"/>\r\n  <PBRCustomImageLocation %[6]s index=\"0\"/>\r\n"+
		"  <InstallState state=\"1\"/>\r\n  <OsInstallAvailable state=\"0\"/>\r\n  <CustomImageAvailable state=\"0\"/>\r\n"+
		"  <IsAutoRepairOn state=\"1\"/>\r\n  <WinREStaged state=\"0\"/>\r\n  <OperationParam path=\"\"/>\r\n  <OperationPermanent state=\"0\"/>\r\n"+
		"  <OsBuildVersion path=\"\"/>\r\n  <OemTool state=\"0\"/>\r\n  <IsServer state=\"0\"/>\r\n  <DownlevelWinreLocation %[6]s/>\r\n"+
		"  <IsWimBoot state=\"0\"/>\r\n  <ScheduledOperation state=\"4\"/>\r\n</WindowsRE>\r\n",
		b.recovery.id, recoveryDir, signature, p.parts[p.toolsPart].Offset, disk, none)
}

// layOutRecovery decides the volume of the environment.
func (b *builder) layOutRecovery(owner *winfile.Tree) error {
	t := emptyTree(owner)
	for name, info := range map[string]*winfile.Info{"Recovery/WindowsRE/Winre.wim": b.recovery.wim, "Recovery/WindowsRE/boot.sdi": b.recovery.sdi} {
		if err := place(t, name, info); err != nil {
			return err
		}
	}
	t.Root.Child("Recovery").Info.Attributes |= winfile.AttrHidden | winfile.AttrSystem
	p := b.plan
	layout, err := ntfs.NewLayout(t, b.volume(p.toolsPart, "Recovery"))
	if err != nil {
		return err
	}
	p.recovery = layout
	p.parts[p.toolsPart].FileSystem, p.parts[p.toolsPart].Used = "NTFS", layout.UsedBytes()
	return nil
}

// addRecovery gives a boot store the entry of the environment, and has that of a system fall back to it. It is in no menu.
func (b *builder) addRecovery(store *bcd.Store, m menu, system guid.GUID) error {
	p, r, s := b.plan, b.recovery, b.r.Systems[0]
	release := s.release()
	where := bcd.Descriptor(bcd.MBRPartition(p.signature, p.parts[p.toolsPart].Offset))
	if p.firmware == UEFI {
		where = bcd.GPTPartition(p.disk, p.tools)
	}
	options, err := store.Create(r.options, bcd.DeviceOptions)
	if err != nil {
		return err
	}
	name, loader := "Windows Recovery", `\windows\system32\winload.exe`
	if release == bcd.Windows7 {
		name = "Ramdisk Options"
	}
	if m.efi {
		loader = `\windows\system32\winload.efi`
	}
	o, err := store.Create(r.id, bcd.OSLoader)
	if err != nil {
		return err
	}
	entry, err := store.Object(system)
	if err != nil {
		return err
	}
	ram := bcd.Device{Options: r.options, Where: bcd.RAMDisk{On: where, Path: recoveryWIM}}
	errs := []error{
		options.SetText(bcd.DescriptionElement, name), options.SetDevice(bcd.SDIDeviceElement, bcd.Device{Where: where}), options.SetText(bcd.SDIPathElement, recoverySDI),
		o.SetDevice(bcd.DeviceElement, ram), o.SetText(bcd.PathElement, loader), o.SetText(bcd.DescriptionElement, "Windows Recovery Environment"),
		o.SetObjects(bcd.InheritElement, bcd.LoaderSettingsID), o.SetDevice(bcd.OSDeviceElement, ram), o.SetText(bcd.SystemRootElement, `\windows`),
		o.SetInteger(bcd.NXElement, 0), o.SetBoolean(bcd.WinPEElement, true), o.SetBoolean(recoveryOS, true),
		entry.SetObjects(recoverySequence, r.id), entry.SetBoolean(recoveryEnabled, true),
	}
	if release > bcd.Windows7 {
		errs = append(errs, o.SetText(bcd.LocaleElement, b.locale()), o.SetInteger(displayMessage, messageRecovery), o.SetInteger(bcd.BootMenuPolicyElement, 1))
	}
	if release == bcd.Windows10 {
		errs = append(errs, entry.SetInteger(displayOverride, messageRecovery))
	}
	return errors.Join(errs...)
}

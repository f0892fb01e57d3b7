package sample

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"

	"husk/winfile"
)

// system lays out one Windows system.
type system struct {
	*builder
	*programs
	arch string
}

const (
	assemblyToken = "31bf3856ad364e35"
	build         = "6.1.7601.17514"
	system32      = "Windows/System32"
)

// component is the first part of the names of the system's own components.
func (s *system) component() string {
	if s.arch == "x64" {
		return "amd64"
	}
	return "x86"
}

func (s *system) build() error {
	s.volumeRoot()
	s.securedFolders()
	own := s.x86
	if s.arch == "x64" {
		own = s.x64
	}
	s.systemFolder(system32, s.component(), own)
	if s.arch == "x64" {
		s.systemFolder("Windows/SysWOW64", "wow64", halfOf(s.x86))
	}
	s.loaders(own)
	s.sharedFiles()
	s.servicing()
	s.hives()
	s.logs()
	s.programFolders(own)
	s.profiles()
	if s.arch == "x86" {
		s.text(system32+"/WimBootCompress.ini", wimBootCompress)
	}
	return nil
}

// halfOf picks by name, so that the x64 system shares about half of the x86 one's programs.
func halfOf(list []program) []program {
	var half []program
	for _, p := range list {
		if h := seed("half", p.name); h[0]&1 == 0 {
			half = append(half, p)
		}
	}
	return half
}

// wimBootCompress is the configuration that a Windows 8.1 image carries; Windows 7 has none. The x86 system has it and the x64
// system has not, so that both ways of choosing pointer files are met.
const wimBootCompress = "[ExclusionList]\r\n\\$ntfs.log\r\n\\hiberfil.sys\r\n\\pagefile.sys\r\n\\swapfile.sys\r\n\\System Volume Information\r\n" +
	"\\Windows\\CSC\r\n\\Windows\\Temp\\*\r\n\r\n[CompressionExclusionList]\r\nntoskrnl.exe\r\n\r\n" +
	"[PrepopulateList]\r\nbootstat.dat\r\n*winload.*\r\n*winresume.*\r\nwof.sys\r\n\\Windows\\System32\\config\\*\r\n" +
	"\\Windows\\System32\\drivers\\*.sys\r\n\\bootmgr\r\n\\BOOTNXT\r\n\\Boot\\*\r\n\\EFI\\*\r\n"

// hideSystem marks a file that Explorer does not show.
func hideSystem(i *winfile.Info) *winfile.Info {
	i.Attributes |= winfile.AttrHidden | winfile.AttrSystem
	return i
}

func (s *system) volumeRoot() {
	s.junction("Documents and Settings", `C:\Users`)
	hideSystem(s.bytes("pagefile.sys", make([]byte, 1<<20)))
	hideSystem(s.bytes("hiberfil.sys", []byte("hibr")))
	recycler := s.dir("$Recycle.Bin/" + sidZhang)
	s.secure(recycler.Info, sdOwned)
	hideSystem(s.dir("$Recycle.Bin").Info)
	hideSystem(recycler.Info)
	hideSystem(s.text("$Recycle.Bin/"+sidZhang+"/desktop.ini", "[.ShellClassInfo]\r\nCLSID={645FF040-5081-101B-9F08-00AA002F954E}\r\n"))
	volume := s.dir("System Volume Information")
	hideSystem(volume.Info)
	s.secure(volume.Info, sdSystemOnly)
	hideSystem(s.bytes("System Volume Information/tracking.log", make([]byte, 20480)))
	s.dir("PerfLogs/Admin")
}

// securedFolders makes the folders whose descriptor is not that of their parent, before anything is put into them.
func (s *system) securedFolders() {
	for _, f := range []struct {
		path string
		sd   []byte
		more winfile.Attributes
	}{
		{"Windows", sdWindows, 0},
		{system32, sdWindows, 0},
		{system32 + "/config", sdSystemOnly, 0},
		{"Windows/WinSxS", sdComponent, 0},
		{"Windows/Installer", sdPublic, winfile.AttrHidden | winfile.AttrSystem},
		{"Program Files", sdWindows, winfile.AttrReadOnly},
		{"ProgramData", sdProgramData, winfile.AttrHidden | winfile.AttrNotIndexed},
		{"Users", sdPublic, winfile.AttrReadOnly},
		{"Users/Default", sdPublic, winfile.AttrHidden},
		{"Users/张三", sdProfile, 0},
	} {
		d := s.dir(f.path)
		s.secure(d.Info, f.sd)
		d.Info.Attributes |= f.more
	}
	if s.arch == "x64" {
		s.secure(s.dir("Program Files (x86)").Info, sdWindows)
		s.secure(s.dir("Windows/SysWOW64").Info, sdWindows)
	}
}

// systemFolder puts programs into a folder, drivers into its drivers folder, and links each to its components in WinSxS.
func (s *system) systemFolder(folder, component string, list []program) {
	for _, p := range list {
		path := folder + "/" + p.name
		if strings.HasSuffix(p.name, ".sys") {
			path = folder + "/drivers/" + p.name
		}
		s.secure(s.file(path, p.data), sdSystemFile)
		s.components(path, component, p)
	}
}

// components links a system file into its component; every 40th into eleven, so that it has twelve names.
func (s *system) components(path, arch string, p program) {
	name := strings.ReplaceAll(p.name, ".", "-")
	versions := []string{build}
	if h := seed("versions", p.name); h[0]%40 == 0 || p.name == "ntdll.dll" {
		for i := range 10 {
			versions = append(versions, fmt.Sprintf("6.1.7601.%d", 18000+i*111))
		}
	}
	for _, v := range versions {
		identity := "Microsoft-Windows-" + name
		folder := fmt.Sprintf("%s_%s_%s_%s_none_%s", arch, strings.ToLower(identity), assemblyToken, v, keyOf(arch, name, v))
		s.link(path, "Windows/WinSxS/"+folder+"/"+p.name)
		s.bytes("Windows/WinSxS/Manifests/"+folder+".manifest", manifest(identity, v, arch, p.name))
	}
}

// keyOf is the made-up 16-digit key of a component.
func keyOf(parts ...string) string {
	h := seed(append([]string{"key"}, parts...)...)
	return fmt.Sprintf("%x", h[:8])
}

func manifest(identity, version, arch, file string) []byte {
	digest := seed("digest", arch, file)
	var b bytes.Buffer
	line := func(format string, a ...any) { fmt.Fprintf(&b, format+"\r\n", a...) }
	line(`<?xml version="1.0" encoding="UTF-8" standalone="yes"?>`)
	line(`<assembly xmlns="urn:schemas-microsoft-com:asm.v3" manifestVersion="1.0">`)
	line(`  <assemblyIdentity name="%s" version="%s" processorArchitecture="%s" language="neutral" publicKeyToken="%s" versionScope="nonSxS" />`, identity, version, arch, assemblyToken)
	if file != "" {
		line(`  <file name="%s" destinationPath="$(runtime.system32)\" sourceName="%s" importPath="$(build.nttree)\">`, file, file)
		line(`    <securityDescriptor name="WRP_FILE_DEFAULT_SDDL" />`)
		line(`    <asmv2:hash xmlns:asmv2="urn:schemas-microsoft-com:asm.v2" xmlns:dsig="http://www.w3.org/2000/09/xmldsig#">`)
		line(`      <dsig:DigestValue>%s</dsig:DigestValue>`, base64.StdEncoding.EncodeToString(digest[:]))
		line(`    </asmv2:hash>`)
		line(`  </file>`)
	}
	line(`</assembly>`)
	return b.Bytes()
}

// loaders adds what starts a system: copies of programs under the names that the loaders look for.
func (s *system) loaders(own []program) {
	standIn := own[0].data
	for _, p := range own {
		if p.name == "kernelbase.dll" {
			standIn = p.data
		}
	}
	have := func(path string) bool { return s.byKey[winfile.Fold(path)] != nil }
	for _, n := range []string{"winload.exe", "winresume.exe", "ntkrnlpa.exe", "bootvid.dll", "ci.dll", "pshed.dll", "kdcom.dll"} {
		if !have(system32 + "/" + n) {
			s.secure(s.file(system32+"/"+n, s.blob(machineCode(60000+len(n)*977, s.arch, n))), sdSystemFile)
		}
	}
	s.link(system32+"/winload.exe", system32+"/Boot/winload.exe")
	s.link(system32+"/winload.exe", "Windows/WinSxS/"+s.component()+"_microsoft-windows-b..environment-windows_"+assemblyToken+"_"+build+"_none_"+keyOf(s.arch, "boot")+"/winload.exe")
	bootmgr := s.blob(machineCode(383786, "bootmgr"))
	for _, path := range []string{"bootmgr", "Windows/Boot/PCAT/bootmgr"} {
		i := s.file(path, bootmgr)
		i.Attributes |= winfile.AttrReadOnly
		hideSystem(i)
	}
	s.file("Boot/memtest.exe", standIn)
	s.file("Windows/Boot/PCAT/memtest.exe", standIn)
	s.bytes("Windows/Boot/PCAT/zh-CN/bootmgr.exe.mui", machineCode(30000, "mui", "zh-CN"))
	s.bytes("Boot/zh-CN/bootmgr.exe.mui", machineCode(30000, "mui", "zh-CN"))
	s.bytes("Boot/Fonts/chs_boot.ttf", machineCode(200000, "chs_boot"))
	s.bytes("Windows/Boot/Fonts/chs_boot.ttf", machineCode(200000, "chs_boot"))
	s.bytes("Boot/BOOTSTAT.DAT", make([]byte, 65536))
	s.bytes("Windows/bootstat.dat", make([]byte, 67584))
	hideSystem(s.dir("Boot").Info)
}

// sharedFiles adds what does not depend on the architecture: both systems have the same.
func (s *system) sharedFiles() {
	for _, p := range s.nls {
		s.file(system32+"/"+p.name, p.data)
	}
	for _, p := range s.fonts {
		s.file("Windows/Fonts/"+p.name, p.data)
	}
	hideSystem(s.text("Windows/Fonts/desktop.ini", "[.ShellClassInfo]\r\nCLSID={BD84B380-8CA2-1069-AB1D-08000948F534}\r\n"))
	inf := bytes.ReplaceAll(bytes.ReplaceAll(s.inf, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
	for i := range s.amount(160, 12) {
		r := newRandom("inf", fmt.Sprint(i))
		start := r.n(max(1, len(inf)-4000))
		body := fmt.Sprintf("; driver %d\r\n[Version]\r\nSignature=\"$Windows NT$\"\r\nClassGuid=%s\r\nDriverVer=06/21/2006,%s\r\n\r\n%s",
			i, guidOf("inf", fmt.Sprint(i)), build, inf[start:min(len(inf), start+400+r.n(3600))])
		s.text(fmt.Sprintf("Windows/inf/oem%d.inf", i), body)
		s.utf16(fmt.Sprintf("Windows/inf/oem%d.PNF", i), body)
	}
	s.text(system32+"/drivers/etc/hosts", "# localhost name resolution is handled within DNS itself.\r\n#\t127.0.0.1       localhost\r\n")
	s.text("Windows/win.ini", "; for 16-bit app support\r\n[fonts]\r\n[extensions]\r\n[Mail]\r\nMAPI=1\r\n")
	s.bytes("Windows/Media/Windows Logon Sound.wav", append([]byte("RIFF\x24\x00\x02\x00WAVEfmt "), newRandom("sound").bytes(131072)...))
	s.bytes("Windows/Web/Wallpaper/Windows/img0.jpg", append([]byte("\xff\xd8\xff\xe0\x00\x10JFIF\x00"), newRandom("wallpaper").bytes(231414)...))
	s.utf16("Windows/Globalization/MCT/MCT-CN/说明.txt", strings.Repeat("区域设置与主题示例。\r\n", 40))
	for i := range s.amount(60, 5) {
		s.bytes(fmt.Sprintf("%s/zh-CN/示例%02d.dll.mui", system32, i), machineCode(2000+i*131, "mui", fmt.Sprint(i)))
	}
}

// amount is the number of generated files of a kind: many beside real programs, few in the made-up system.
func (s *system) amount(real, madeUp int) int {
	if s.real {
		return real
	}
	return madeUp
}

// servicing adds packages, catalogs and manifests without files: many names, little data.
func (s *system) servicing() {
	catalogs := system32 + "/catroot/{F750E6C3-38EE-11D1-85E5-00C04FC295EE}"
	for i := range s.amount(700, 20) {
		name := fmt.Sprintf("Package_%d_for_KB%d~%s~%s~~6.1.1.%d", i%4, 2500000+i*37, assemblyToken, s.component(), i%9)
		identity := strings.SplitN(name, "~", 2)[0]
		s.bytes("Windows/servicing/Packages/"+name+".mum", manifest(identity, "6.1.1.0", s.component(), ""))
		s.bytes(catalogs+"/"+name+".cat", append([]byte("\x30\x82\x1d\x17\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02"), newRandom("cat", name).bytes(1200+i%1500)...))
		neutral := fmt.Sprintf("msil_example.component.%04d_%s_6.1.7600.16385_none_%s", i, assemblyToken, keyOf("msil", fmt.Sprint(i)))
		s.bytes("Windows/WinSxS/Manifests/"+neutral+".manifest", manifest(fmt.Sprintf("Example.Component.%04d", i), "6.1.7600.16385", "msil", ""))
	}
	s.dir("Windows/Temp")
	s.dir("Windows/SoftwareDistribution/Download")
}

// logs adds a text log and an event log of 20 MB (1 MB in the made-up system) that is mostly zeros.
func (s *system) logs() {
	r := newRandom("cbs", s.arch)
	var b bytes.Buffer
	for i := range s.amount(20000, 500) {
		fmt.Fprintf(&b, "2011-04-%02d %02d:%02d:%02d, Info                  CBS    Appl: detect Parent, Package %d, hr: 0x%08x\r\n", 1+i/2000, i/90%24, i%60, i*7%60, r.n(1500), r.n(4)<<16)
	}
	s.bytes("Windows/Logs/CBS/CBS.log", b.Bytes())
	log := make([]byte, s.amount(20<<20, 1<<20)+4096)
	copy(log, "ElfFile\x00")
	for off := 4096; off < len(log)/4; off += 65536 {
		copy(log[off:], "ElfChnk\x00")
		for i := range 40 {
			rec := log[off+512+i*200:]
			copy(rec, "**\x00\x00")
			binary.LittleEndian.PutUint32(rec[4:], 200)
			copy(rec[24:], winfile.AppendUTF16LE(nil, fmt.Sprintf("Service-%d entered the running state", r.n(300))))
		}
	}
	s.bytes(system32+"/winevt/Logs/Application.evtx", log)
	s.bytes("Windows/setupact.log", nil)
}

// programFolders adds installed programs: short names, and files of an installer's cache.
func (s *system) programFolders(own []program) {
	folders := []string{"Program Files"}
	if s.arch == "x64" {
		folders = append(folders, "Program Files (x86)")
	}
	for _, f := range folders {
		hideSystem(s.text(f+"/desktop.ini", "[.ShellClassInfo]\r\nLocalizedResourceName=@%SystemRoot%\\system32\\shell32.dll,-21781\r\n"))
		s.link(system32+"/notepad.exe", f+"/Windows NT/Accessories/notepad.exe")
		s.text(f+"/Common Files/Microsoft Shared/ink/licence.txt", strings.Repeat("Example licence text for the sample system.\r\n", 60))
	}
	for i := range s.amount(40, 6) {
		p := own[i*7%len(own)]
		s.file(fmt.Sprintf("Program Files/示例软件/模块 %02d/%s", i, p.name), p.data)
	}
	s.bytes("Windows/Installer/1a2b3c.msi", append([]byte("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"), newRandom("msi").bytes(300000)...))
	cache := "ProgramData/Package Cache/" + guidOf("cache") + "v1.0"
	s.bytes(cache+"/setup_data_file.cab", append([]byte("MSCF"), newRandom("cab").bytes(s.amount(4<<20, 90000))...))
	s.text("ProgramData/Microsoft/Windows/Start Menu/Programs/desktop.ini", "[LocalizedFileNames]\r\n")
	s.junction("ProgramData/Application Data", `C:\ProgramData`)
	s.junction("ProgramData/Documents", `C:\Users\Public\Documents`)
	s.symlink("Users/All Users", `C:\ProgramData`, true)
	s.junction("Users/Default User", `C:\Users\Default`)
}

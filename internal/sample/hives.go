package sample

import (
	"fmt"
	"strings"

	"husk/regf"
)

// hives adds the registry of the system and the boot store.
func (s *system) hives() {
	const config = system32 + "/config/"
	for _, h := range []struct {
		name string
		root hiveKey
	}{
		{"SYSTEM", s.systemHive()}, {"SOFTWARE", s.softwareHive()}, {"SAM", s.samHive()},
		{"SECURITY", s.securityHive()}, {"DEFAULT", defaultHive()},
	} {
		s.bytes(config+h.name, hive(`\SystemRoot\System32\Config\`+h.name, h.root))
		hideSystem(s.bytes(config+h.name+".LOG1", nil))
		hideSystem(s.bytes(config+h.name+".LOG2", nil))
		s.bytes(config+"RegBack/"+h.name, nil)
	}
	s.bytes("Boot/BCD", hive(`\Device\HarddiskVolume1\Boot\BCD`, s.bootStore()))
	hideSystem(s.bytes("Boot/BCD.LOG", nil))
}

func (s *system) systemHive() hiveKey {
	root := newHive(5, "CMI-CreateHive{2A7FB991-7BBE-4F9D-B91E-7CB51D4737F5}")
	sel := root.key("Select")
	for _, n := range []string{"Current", "Default", "LastKnownGood"} {
		sel.dword(n, 1)
	}
	sel.dword("Failed", 0)
	root.key("Setup").dword("SystemSetupInProgress", 0).dword("SetupType", 0).sz("CmdLine", "")
	disk := seed("disk", s.arch)
	root.key("MountedDevices").set(`\DosDevices\C:`, regf.Binary, append(disk[:4:4], 0, 0, 0x10, 0, 0, 0, 0, 0))
	control := root.key(`ControlSet001\Control`)
	control.sz("SystemStartOptions", "").sz("CurrentUser", "USERNAME")
	control.key("ComputerName").key("ComputerName").sz("ComputerName", "示例-PC")
	control.key(`Nls\Language`).sz("Default", "0804").sz("InstallLanguage", "0804")
	control.key("Windows").dword("CSDVersion", 0x100).dword("CSDBuildNumber", 1130).dword("CSDReleaseType", 0)
	control.key("ProductOptions").sz("ProductType", "WinNT").multi("ProductSuite", "Terminal Server")
	control.key(`MUI\UILanguages\zh-CN`).dword("LCID", 0x804).dword("Type", 0x91)
	control.key(`Class\{4D36E966-E325-11CE-BFC1-08002BE10318}\0000`).sz("MatchingDeviceId", "acpiapic_mp").sz("DriverDesc", "ACPI x86-based PC")
	control.key("Session Manager").multi("BootExecute", "autocheck autochk *").
		key("Environment").expand("ComSpec", `%SystemRoot%\system32\cmd.exe`).expand("Path", `%SystemRoot%\system32;%SystemRoot%`).
		sz("PROCESSOR_ARCHITECTURE", strings.ToUpper(s.component()))
	control.key("Lsa").key("JD").class("1f2e3d4c")
	services := root.key(`ControlSet001\Services`)
	for i, p := range s.x86 {
		name, ext, _ := strings.Cut(p.name, ".")
		if ext != "sys" && i%4 != 0 {
			continue
		}
		kind, path := uint32(0x20), `%SystemRoot%\system32\svchost.exe -k `+name
		if ext == "sys" {
			kind, path = 1, `system32\drivers\`+p.name
		}
		services.key(name).sz("DisplayName", name).expand("ImagePath", path).dword("Type", kind).dword("Start", uint32(i%5)).dword("ErrorControl", 1)
	}
	services.key(`FsDepends\Parameters`).dword("VirtualDiskExpandOnMount", 4)
	return root
}

func (s *system) softwareHive() hiveKey {
	root := newHive(5, "CMI-CreateHive{199DAFC2-6F16-4946-BF90-5A3FC3A60902}")
	lab := "7601.win7sp1_rtm.101119-1850"
	root.key(`Microsoft\Windows NT\CurrentVersion`).
		sz("ProductName", "Windows 7 Ultimate").sz("EditionID", "Ultimate").sz("InstallationType", "Client").
		sz("CurrentVersion", "6.1").sz("CurrentBuild", "7601").sz("CurrentBuildNumber", "7601").sz("CurrentType", "Multiprocessor Free").
		sz("CSDVersion", "Service Pack 1").sz("BuildLab", lab).sz("BuildLabEx", "7601.17514."+s.component()+"fre.win7sp1_rtm.101119-1850").
		sz("SystemRoot", `C:\Windows`).sz("RegisteredOwner", "张三").dword("InstallDate", 0x4da3a000).
		set("DigitalProductId", regf.Binary, newRandom("product", s.arch).bytes(164))
	root.key(`Microsoft\Windows\CurrentVersion`).sz("ProgramFilesDir", `C:\Program Files`).sz("CommonFilesDir", `C:\Program Files\Common Files`)
	root.key(`Microsoft\Windows NT\CurrentVersion\ProfileList\`+sidZhang).expand("ProfileImagePath", `C:\Users\张三`)
	classes := root.key(`Classes\CLSID`)
	for _, p := range s.x86 {
		for i := range 2 {
			k := classes.key(guidOf("class", p.name, fmt.Sprint(i)))
			k.sz("", p.name+" class")
			k.key("InprocServer32").expand("", `%SystemRoot%\system32\`+p.name).sz("ThreadingModel", "Both")
		}
	}
	return root
}

func (s *system) samHive() hiveKey {
	root := newHive(5, "CMI-CreateHive{87E016C8-C811-4B12-9AFC-F83B1ABE2FE1}")
	users := root.key(`SAM\Domains\Account\Users`)
	for _, id := range []uint32{500, 501, 1000} {
		r := newRandom("sam", s.arch, fmt.Sprint(id))
		users.key(hex8(id)).set("F", regf.Binary, r.bytes(80)).set("V", regf.Binary, r.bytes(500))
	}
	for name, id := range map[string]uint32{"Administrator": 500, "Guest": 501, "张三": 1000} {
		users.key(`Names\`+name).set("", regf.Type(id), nil)
	}
	return root
}

func (s *system) securityHive() hiveKey {
	root := newHive(5, "CMI-CreateHive{EC00B9D5-C5F6-4B12-A3BF-1D1A2C8F0B5E}")
	root.key(`Policy\PolAdtEv`).set("", regf.None, newRandom("audit", s.arch).bytes(138))
	root.key(`Policy\PolAcDmS`).set("", regf.None, sid(sidZhang))
	return root
}

func defaultHive() hiveKey {
	root := newHive(5, "CMI-CreateHive{C4E7BA2B-68E8-499C-B1A1-371AC8D717C7}")
	root.key(`Control Panel\Desktop`).sz("Wallpaper", "").sz("DragFullWindows", "1")
	root.key(`Environment`).expand("TEMP", `%USERPROFILE%\AppData\Local\Temp`)
	return root
}

func userHive(who string) []byte {
	root := newHive(5, "CMI-CreateHive{D43B12B8-09B5-40DB-B4F6-F6DFEB78DAEC}")
	folders := root.key(`Software\Microsoft\Windows\CurrentVersion\Explorer\Shell Folders`)
	for _, n := range []string{"Desktop", "Documents", "AppData", "Pictures"} {
		folders.sz(n, `C:\Users\`+who+`\`+n)
	}
	cache := root.key(`Software\Classes\Local Settings\MuiCache`)
	for i := range 60 {
		cache.key(fmt.Sprintf("k%d", i)).sz("LangID", "zh-CN").dword("n", uint32(i)).set("raw", regf.Binary, newRandom("mui", who, fmt.Sprint(i)).bytes(i*3))
	}
	return hive(`\??\C:\Users\`+who+`\NTUSER.DAT`, root)
}

// bootStore is a boot store with one entry that starts Windows from the second partition of a made-up disk.
func (s *system) bootStore() hiveKey {
	root := newHive(3, "NewStoreRoot")
	root.key("Description").sz("KeyName", "BCD00000000").dword("System", 1).dword("TreatAsSystem", 1)
	objects := root.key("Objects")
	id := strings.ToLower(guidOf("loader", s.arch))
	manager := objects.key("{9dea862c-5cdd-4e70-acc1-f32b344d4795}")
	manager.key("Description").dword("Type", 0x10100002)
	manager.key(`Elements\12000004`).sz("Element", "Windows Boot Manager")
	manager.key(`Elements\24000001`).multi("Element", id)
	loader := objects.key(id)
	loader.key("Description").dword("Type", 0x10200003)
	loader.key(`Elements\12000002`).sz("Element", `\Windows\system32\winload.exe`)
	loader.key(`Elements\12000004`).sz("Element", "Windows 7 "+s.arch)
	loader.key(`Elements\22000002`).sz("Element", `\Windows`)
	return root
}

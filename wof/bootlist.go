package wof

import "husk/capconf"

// BootList returns the files that boot loaders read themselves, before the filter runs: loader, kernel and what they import,
// boot drivers, fonts and code pages of the boot screens, catalogs, the registry. They must be ordinary files wherever a
// loader reads no pointers (Windows 7 and 8; all versions on BIOS), and where disks are to be portable.
//
// It is what wimlib keeps plain for loaders and what VHD_WIMBOOT keeps, together.
func BootList() []capconf.Pattern {
	return capconf.MustPatterns(`
		\bootmgr
		\BOOTNXT
		\Boot\*
		\EFI\*
		*winload.*
		*winresume.*
		*bootres.dll*
		wof.sys
		wofadk.sys
		\Windows\bootstat.dat
		\Windows\AppPatch\drvmain.sdb
		\Windows\Boot\DVD\*
		\Windows\Boot\EFI\*
		\Windows\Fonts\segoeui.ttf
		\Windows\Fonts\vgaoem.fon
		\Windows\Fonts\vgasys.fon
		\Windows\INF\errata.inf
		\Windows\System32\*.nls
		\Windows\System32\api-ms-win*.dll
		\Windows\System32\apisetschema.dll
		\Windows\System32\bootvid.dll
		\Windows\System32\CatRoot\*
		\Windows\System32\ci.dll
		\Windows\System32\clfs.sys
		\Windows\System32\CodeIntegrity\driver.stl
		\Windows\System32\config\*
		\Windows\System32\drivers\*.sys
		\Windows\System32\ext-ms-win*.dll
		\Windows\System32\hal*.dll
		\Windows\System32\kbd*.dll
		\Windows\System32\kd*.dll
		\Windows\System32\KernelBase.dll
		\Windows\System32\mcupdate_AuthenticAMD.dll
		\Windows\System32\mcupdate_GenuineIntel.dll
		\Windows\System32\ntkrnlpa.exe
		\Windows\System32\ntoskrnl.exe
		\Windows\System32\PlatformManifest\*
		\Windows\System32\pshed.dll
		\Windows\System32\pwdrvio.sys
		\Windows\System32\pwdspio.sys
	`)
}

// Package bcd reads and writes boot stores (Boot Configuration Data): what bcdedit shows, and what tells Windows' boot managers which
// systems there are and where.
//
// A store is a registry hive (package regf):
//
//	\                               any name
//	├── Description                 KeyName "BCD00000000" in the store of a system; the boot managers want the key
//	└── Objects
//	    └── {guid}                  one for each object: boot manager, loader of a system, settings that others inherit, …
//	        ├── Description         Type REG_DWORD: what kind of object
//	        └── Elements
//	            └── 12000004        eight hex digits: what the element means; its one value, Element, has the data
//
// The second digit of an element's id tells how its value is coded: 1 device, 2 string, 3 object, 4 objects, 5 integer, 6 boolean,
// 7 integers. Devices are trees of descriptors: see [Device]. A [Store] edits the hive that it was read from, so whatever it does not
// know stays as it was.
//
// Sources: elements and objects by the public lists of Geoff Chappell and Microsoft's BCD WMI provider reference; devices by stores
// that Windows wrote, compared byte for byte, and by what the boot managers of Windows 7, 10 and 11 accepted.
package bcd

// Package driver looks at the boot-start drivers of an offline Windows system, and puts Microsoft's overlay driver wofadk.sys into
// one that has none of its own: Windows 7 and 8, which then start from pointer files. It also sets what a start from a disk behind USB needs.
//
// The driver comes with the Assessment and Deployment Kit of Windows 10, which is where users have it from: it cannot be given away.
// It is a file in \Windows\System32\drivers and a service key in every control set of the SYSTEM hive:
//
//	Services\WofAdk                            Type 2, Start 0, ErrorControl 1, Group "FSFilter Compression", ImagePath, …
//	Services\WofAdk\Instances                  DefaultInstance "WofAdk Instance"
//	Services\WofAdk\Instances\WofAdk Instance  Altitude "40730", Flags 0
//
// Sources: the registration that the kit's WofAdk.hiv has, as public scripts write it; Microsoft, "Load order groups and altitudes for
// minifilter drivers"; Microsoft, security advisory 3033929 (SHA-2 signatures on Windows 7).
package driver

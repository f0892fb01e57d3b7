// Package sample lays out small Windows systems for the tests, the demonstration and the benchmarks: two architectures that
// share many files, with the traits that matter to images and volumes.
//
//	Boot, bootmgr                     start files; BCD is a registry hive
//	Documents and Settings            junction to \Users
//	Program Files, ProgramData        short names such as PROGRA~1
//	Users\张三                         profile: Chinese names, hive, shortcuts, Zone.Identifier streams, symbolic links
//	Windows\System32                  programs, drivers, hives in config, NLS tables, a large mostly empty event log
//	Windows\SysWOW64                  x64 only: about half of what the x86 system has in System32, byte for byte
//	Windows\WinSxS                    components: every system file is a hard link, some with more than eight names
//	pagefile.sys, hiberfil.sys        never captured
//
// Everything is made by rule from the names, so that two runs give the same tree: contents, times, security descriptors,
// object ids. With [Options.Wine] the programs are the PE files of Debian's libwine packages without their debug sections;
// without it they are made up and small.
//
// Sources: [MS-DTYP] 2.4 (security descriptors), [MS-FSCC] 2.1.2 (reparse points).
package sample

package imagex

import "slices"

func flag(name string) Option             { return Option{Name: name} }
func value(name, arg string) Option       { return Option{Name: name, Arg: arg} }
func alias(name, of string) Option        { return Option{Name: name, Alias: of} }
func aliasV(name, arg, of string) Option  { return Option{Name: name, Arg: arg, Alias: of} }
func (o Option) noted(note string) Option { o.Note = note; return o }
func refused(name, arg, why string) Option {
	return Option{Name: name, Arg: arg, State: Refused, Note: why}
}

func options(lists ...[]Option) []Option {
	return append(slices.Concat(lists...), flag("quiet"), flag("help"), flag("version"))
}

var (
	ref       = value("ref", "GLOB").noted("other WIMs and parts of split ones; may be given several times")
	check     = flag("check").noted("verifies the integrity table first, and writes one where the command writes")
	include   = flag("include-integrity")
	nocheck   = flag("nocheck")
	threads   = value("threads", "N")
	rebuild   = flag("rebuild")
	compact   = flag("unsafe-compact").noted("rebuilds the WIM through a temporary file: as small, and safe if interrupted")
	noACLs    = []Option{flag("no-acls"), alias("noacls", "no-acls"), flag("strict-acls").noted("with --unix-data owners and modes must be restored; descriptors are always read and kept whole")}
	unixData  = flag("unix-data").noted("owner, mode, devices, FIFOs, sockets; extended attributes on Linux")
	rpfix     = []Option{flag("rpfix"), flag("norpfix")}
	property  = value("image-property", "NAME=VALUE").noted("an element of the image's XML data by its path; may be given several times")
	format    = []Option{value("compress", "TYPE[:LEVEL]").noted("none, XPRESS, LZX, LZMS; levels below 35 are husk's fast, from 75 its best"), value("chunk-size", "SIZE")}
	solid     = []Option{flag("solid"), alias("pack-streams", "solid"), value("solid-compress", "TYPE[:LEVEL]"), aliasV("pack-compress", "TYPE[:LEVEL]", "solid-compress"), value("solid-chunk-size", "SIZE"), aliasV("pack-chunk-size", "SIZE", "solid-chunk-size"), flag("no-solid-sort")}
	pipable   = []Option{flag("pipable"), flag("not-pipable")}
	extracted = []Option{
		check, ref, unixData, noACLs[0], noACLs[1], noACLs[2], flag("no-attributes"), flag("include-invalid-names"),
		{Name: "wimboot", State: NotHere, Note: "`husk apply --wimboot` makes disks of pointer files"},
		{Name: "compact", Arg: "FORMAT", State: NotHere, Note: "`husk apply --compact` makes disks of compact files"},
		flag("recover-data").noted("places that cannot be read become zeros, with a warning for each file"), flag("verbose"),
	}
	mounted = []Option{
		check, ref, value("streams-interface", "INTERFACE").noted("none, xattr (the default) or windows"), flag("debug").noted("stays in the foreground"),
		flag("unix-data"), flag("allow-other"),
	}
	capturing = []Option{
		flag("boot"), check, nocheck, include, value("config", "FILE"), threads, value("flags", "EDITIONID"), property, flag("dereference"), unixData,
		flag("source-list"), value("update-of", "[WIMFILE:]IMAGE"), value("delta-from", "WIMFILE"), flag("wimboot"), flag("verbose"),
		refused("snapshot", "", "there is no volume shadow copy on this system"),
	}
)

// Commands are the commands of wimlib-imagex with all their options, the hidden ones too.
var Commands = []*Command{
	{Name: "append", Synopsis: "SOURCE WIMFILE [IMAGE_NAME [IMAGE_DESC]]", min: 2, max: 4,
		Options: options(capturing, format, solid, noACLs, rpfix, pipable, []Option{rebuild, compact, flag("create")})},
	{Name: "apply", Synopsis: "WIMFILE [IMAGE] TARGET", min: 2, max: 3, Options: options(extracted, rpfix)},
	{Name: "capture", Synopsis: "SOURCE WIMFILE [IMAGE_NAME [IMAGE_DESC]]", min: 2, max: 4,
		Options: options(capturing, format, solid, noACLs, rpfix, pipable, []Option{rebuild, compact, flag("create")})},
	{Name: "delete", Synopsis: "WIMFILE IMAGE", min: 1, max: 2, Options: options([]Option{check, include, flag("soft"), compact})},
	{Name: "dir", Synopsis: "WIMFILE [IMAGE]", min: 1, max: 2,
		Options: options([]Option{value("path", "PATH"), flag("detailed"), flag("one-file-only"), ref})},
	{Name: "export", Synopsis: "SRC_WIMFILE SRC_IMAGE DEST_WIMFILE [DEST_IMAGE_NAME [DEST_IMAGE_DESC]]", min: 3, max: 5,
		Options: options([]Option{flag("boot"), check, nocheck, include, ref, threads, rebuild, flag("recompress"), flag("wimboot"), compact}, format, solid, pipable)},
	{Name: "extract", Synopsis: "WIMFILE IMAGE [(PATH | @LISTFILE)...]", min: 2, max: -1,
		Options: options(extracted, []Option{
			value("dest-dir", "DIR"), flag("to-stdout"), flag("no-globs"), alias("no-wildcards", "no-globs"), flag("nullglob"), flag("preserve-dir-structure"),
		})},
	{Name: "info", Synopsis: "WIMFILE [IMAGE [NEW_NAME [NEW_DESC]]]", min: 1, max: 4,
		Options: options([]Option{
			flag("boot"), check, nocheck, include, flag("xml"), value("extract-xml", "FILE"), flag("header"), flag("blobs"), alias("lookup-table", "blobs"),
			flag("metadata").noted("lists the metadata resources, as --blobs has them; not in wimlib 1.13"), property,
		})},
	{Name: "join", Synopsis: "OUT_WIMFILE SPLIT_WIM_PART...", min: 2, max: -1, Options: options([]Option{check, include})},
	{Name: "mount", Synopsis: "WIMFILE [IMAGE] DIRECTORY", min: 2, max: 3, Options: options(mounted)},
	{Name: "mountrw", Synopsis: "WIMFILE [IMAGE] DIRECTORY", min: 2, max: 3, Options: options(mounted, []Option{value("staging-dir", "DIR")})},
	{Name: "optimize", Synopsis: "WIMFILE", min: 1, max: 1,
		Options: options([]Option{check, nocheck, include, flag("recompress"), threads, compact}, format, solid, pipable)},
	{Name: "split", Synopsis: "WIMFILE SPLIT_WIM_PART_1 PART_SIZE_MB", min: 3, max: 3, Options: options([]Option{check, include})},
	{Name: "unmount", Synopsis: "DIRECTORY", min: 1, max: 1,
		Options: options([]Option{flag("commit"), flag("force"), flag("check"), include, rebuild, flag("lazy"), flag("new-image")})},
	{Name: "update", Synopsis: "WIMFILE [IMAGE] [< CMDFILE]", min: 1, max: 2,
		Options: options([]Option{
			check, include, threads, rebuild, compact, value("command", "STRING"), value("wimboot-config", "FILE"), value("config", "FILE"),
			flag("dereference"), unixData, flag("no-replace"), flag("force"), flag("recursive"), flag("verbose"),
		}, noACLs)},
	{Name: "verify", Synopsis: "WIMFILE", min: 1, max: 1, Options: options([]Option{ref, nocheck})},
}

func init() {
	for name, run := range map[string]func(*call) error{
		"append": runCapture, "apply": runApply, "capture": runCapture, "delete": runDelete, "dir": runDir, "export": runExport,
		"extract": runExtract, "info": runInfo, "join": runJoin, "mount": runMount, "mountrw": runMount, "optimize": runOptimize,
		"split": runSplit, "unmount": runUnmount, "update": runUpdate, "verify": runVerify,
	} {
		find(name).run = run
	}
}

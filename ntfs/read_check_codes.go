package ntfs

import "slices"

// A Rule is one code: how bad it is, unless the circumstances make it less, and what it means.
type Rule struct {
	Code     Code
	Severity Severity
	Means    string
}

// Codes lists every code that [Volume.Check] uses.
func Codes() []Rule { return slices.Clone(rules) }

// rules follow the order in which chkdsk looks: volume, records, indexes, descriptors, bitmaps. Two of them are notices because
// ntfs-3g leaves them on every volume that it writes and Windows reads those: sparse-unit and extent-header.
var rules = func() []Rule {
	const note, warn, bad = SeverityNote, SeverityWarning, SeverityError
	return []Rule{
		{"boot-sector", bad, "the boot sector cannot be used, its copy can"},
		{"boot-signature", bad, "the boot sector does not end in 55 aa"},
		{"boot-copy", warn, "the last sector is not a copy of the boot sector"},
		{"boot-file", bad, "$Boot is not the first clusters of the volume"},
		{"volume-dirty", warn, "the volume is marked for a check"},
		{"volume-chkdsk", warn, "a check was begun and not ended"},
		{"volume-flags", note, "Windows has work left to do at the next mount"},
		{"volume-version", note, "not the NTFS of Windows XP and later"},
		{"log-damaged", bad, "$LogFile has no restart page that can be read"},
		{"log-unclean", warn, "$LogFile holds changes that are not on the volume"},
		{"log-size", warn, "$LogFile is too small, or not as long as it says"},
		{"mirror-place", bad, "$MFT or $MFTMirr is not where the boot sector says"},
		{"mirror-size", warn, "$MFTMirr is not as long as it should be"},
		{"mirror-differs", bad, "$MFTMirr is not the head of the $MFT"},
		{"attrdef", bad, "$AttrDef does not define the attribute types"},
		{"upcase-size", bad, "$UpCase is not 128 KiB long"},
		{"upcase-ascii", bad, "$UpCase is wrong for letters that drivers rely on"},
		{"upcase-other", note, "$UpCase is not the table of Windows 7 to 11"},
		{"upcase-checksum", bad, "$UpCase is not what its checksum in $Info says"},
		{"bad-clusters", bad, "$BadClus does not span the volume"},
		{"bad-clusters-marked", note, "clusters are marked bad"},
		{"system-missing", bad, "a system file is not there"},
		{"system-sequence", bad, "a system file has another sequence number than its record's number"},
		{"system-name", bad, "a system file has another name"},
		{"system-parent", bad, "a system file is not in the root folder"},
		{"system-flags", bad, "a system file has other record flags"},
		{"system-reserved", warn, "a record that Windows reserves is not"},
		{"extend-flag", warn, "a file in $Extend lacks the flag of those"},

		{"record-unreadable", bad, "a record in use has a wrong signature or a torn sector"},
		{"record-free", note, "a record that is not in use cannot be read"},
		{"record-header", bad, "offsets in the record's header leave the record"},
		{"record-size", warn, "the record says that it has another size"},
		{"record-used", warn, "the bytes in use do not end at the end marker"},
		{"record-sequence", warn, "the sequence number is 0"},
		{"record-number", warn, "the record says that it has another number"},
		{"record-first", warn, "the first attribute is not where it belongs"},
		{"record-flags", warn, "the record has unknown flags"},
		{"record-instance", warn, "the next attribute's number is taken"},
		{"attribute-chain", bad, "an attribute's length leads astray: what follows is lost"},
		{"attribute-type", bad, "unknown attribute type"},
		{"attribute-name", bad, "an attribute has a name and must not, or none and must, or at a wrong place"},
		{"attribute-form", bad, "an attribute is in the record and must not be, or the reverse"},
		{"attribute-size", bad, "an attribute is shorter or longer than its type may be"},
		{"attribute-layout", bad, "a value or run list is not where it belongs in its attribute"},
		{"attribute-indexed", bad, "the indexed flag is wrong: 1 for $FILE_NAME, 0 for others"},
		{"attribute-order", bad, "attributes are out of order or there twice"},
		{"attribute-instance", bad, "two attributes have the same number"},
		{"list-damaged", bad, "an attribute list cannot be followed"},
		{"list-order", bad, "an attribute list is out of order"},
		{"list-incomplete", bad, "an attribute list does not name all attributes of its records"},
		{"extension-orphan", bad, "an extension record belongs to no file"},
		{"extension-links", warn, "an extension record has a link count"},
		{"standard-information", bad, "not exactly one $STANDARD_INFORMATION of 48 or 72 bytes"},
		{"runs-damaged", bad, "a run list cannot be decoded, leaves the volume, or is not as long as it says"},
		{"runs-allocated", bad, "the allocated size is not that of the runs"},
		{"runs-sizes", bad, "valid, real and allocated size are not in ascending order"},
		{"runs-hole", bad, "a hole in a stream that is not sparse"},
		{"runs-total", warn, "the total allocated size is not that of the runs that are no holes"},
		{"runs-unit", bad, "the compression unit does not fit the stream"},
		{"runs-extent", bad, "a later part of a stream without the first"},
		{"compressed-unit", bad, "a compression unit has clusters behind a hole"},
		{"sparse-unit", note, "a sparse stream does not end with a whole unit (so ntfs-3g leaves them; chkdsk tidies up)"},
		{"extent-header", note, "a later part of a stream repeats what only the first may have (so does ntfs-3g)"},
		{"cross-link", bad, "two streams have the same clusters"},
		{"flag-directory", bad, "directory flag, $I30 and data do not fit each other"},
		{"flag-view", bad, "the flag of view indexes does not fit the indexes"},
		{"bits-contents", bad, "the attribute bits for sparse, compressed, encrypted or reparse do not fit the record"},
		{"bits-sparse", warn, "the attribute bit for sparse without a sparse stream"},
		{"bits-stored", warn, "attribute bits that are not for disks, or of view indexes where there are none"},
		{"ea-sizes", bad, "$EA cannot be read, or is not what $EA_INFORMATION says"},
		{"name-damaged", bad, "a $FILE_NAME does not hold its name"},
		{"name-illegal", bad, "a name that cannot stand in a path"},
		{"name-characters", warn, "a name that Windows refuses in its namespace"},
		{"name-namespace", bad, "unknown namespace"},
		{"name-pair", warn, "a DOS name without its long name, or two; a notice for the reverse"},
		{"name-missing", bad, "a file without a name"},
		{"name-second", bad, "a folder with two names"},
		{"name-directory-bit", bad, "the directory bit of a $FILE_NAME is not that of its record"},
		{"link-count", warn, "the link count is not the number of names"},

		{"index-missing", bad, "an index lacks one of its attributes"},
		{"index-root", bad, "the root of an index has wrong fields"},
		{"index-block", bad, "an index block cannot be read, or says that it is another"},
		{"index-block-header", warn, "an index block has odd offsets in its header"},
		{"index-node", bad, "entries of an index do not chain up"},
		{"index-loop", bad, "an index block is linked twice"},
		{"index-depth", bad, "an index is deeper than any can be"},
		{"index-entry", bad, "an index entry has a malformed key or data"},
		{"index-order", bad, "index entries are out of order or there twice"},
		{"index-bitmap-free", bad, "an index block in use is marked free"},
		{"index-bitmap-leaked", warn, "an index block is marked used and in no tree"},
		{"index-bitmap-size", warn, "the bitmap of an index is no multiple of 8 bytes"},
		{"index-skipped", note, "an index was not walked: its clusters are not its own"},
		{"name-case", note, "two names in one folder differ in case alone: Windows programs reach one of them"},
		{"entry-dangling", bad, "an index entry without a file"},
		{"entry-sequence", bad, "an index entry of a file that was deleted: its record is another's now"},
		{"entry-parent", bad, "an index entry that says that it belongs to another folder"},
		{"entry-name", bad, "an index entry whose file has no such name"},
		{"entry-missing", bad, "a name that is not in the index of its folder"},
		{"entry-orphan", bad, "a file whose folder does not exist"},
		{"entry-directory-bit", bad, "the directory bit of an index entry is not that of the file"},
		{"entry-tag", warn, "the reparse tag of an index entry is not that of the file"},
		{"entry-stale", note, "an index entry has old sizes, attributes or sizes of extended attributes"},
		{"directory-unreachable", bad, "a folder that the root does not reach"},

		{"security-stream", bad, "$SDS cannot be read, or has no order"},
		{"security-entry", bad, "an entry of $SDS has a wrong place, hash or id"},
		{"security-copy", bad, "the copy of an entry of $SDS differs"},
		{"security-size", bad, "$SDS does not end with the copy of its last entry: Windows would append elsewhere"},
		{"security-descriptor", warn, "a security descriptor is malformed"},
		{"security-index", bad, "$SII or $SDH has what $SDS has not"},
		{"security-index-missing", bad, "$SII or $SDH lacks an entry of $SDS"},
		{"security-id", bad, "a file has a security id that does not exist"},
		{"security-none", warn, "a file has neither security id nor descriptor"},
		{"reparse-damaged", bad, "a reparse point cannot be decoded"},
		{"reparse-length", warn, "there is something behind the data of a reparse point"},
		{"reparse-kind", warn, "a reparse point on what cannot have it: a mount point on a file, a pointer on a folder"},
		{"reparse-index-missing", bad, "$Extend\\$Reparse:$R lacks a reparse point"},
		{"reparse-index-dangling", bad, "$Extend\\$Reparse:$R has a reparse point that is none"},
		{"wof-pointer", bad, "a pointer or compact file's reparse point is malformed"},
		{"wof-data", warn, "a pointer or compact file has data of its own"},
		{"wof-chunks", bad, "the chunks of a compact file do not add up"},
		{"object-index-missing", bad, "$Extend\\$ObjId:$O lacks an object id"},
		{"object-index-dangling", bad, "$Extend\\$ObjId:$O has an object id that no file has"},
		{"object-twice", bad, "two files have the same object id"},
		{"quota-entry", warn, "an entry of $Quota is malformed, or $Q and $O do not fit each other"},
		{"quota-defaults", warn, "$Quota has no default limits"},
		{"bitmap-form", bad, "$Bitmap is too short, or inside its record"},
		{"bitmap-free", bad, "clusters in use are marked free"},
		{"bitmap-leaked", warn, "clusters are marked used and belong to no stream"},
		{"bitmap-tail", warn, "bits behind the last cluster are 0"},
		{"mft-bitmap-form", bad, "$MFT:$BITMAP is too short, or inside its record"},
		{"mft-bitmap-free", bad, "records in use are marked free"},
		{"mft-bitmap-leaked", warn, "free records are marked used"},
		{"too-many", note, "more problems than are listed"},
	}
}()

var severities = func() map[Code]Severity {
	m := make(map[Code]Severity, len(rules))
	for _, r := range rules {
		m[r.Code] = r.Severity
	}
	return m
}()

// severityOf is that of the rule; a test holds that there is one.
func severityOf(c Code) Severity {
	if s, ok := severities[c]; ok {
		return s
	}
	return SeverityError
}

package wof

import "fmt"

// Reason is why a file is a pointer file, or a compact file, or is not.
type Reason uint8

const (
	Backed       Reason = iota // a pointer file; in a CompactPlan, a compact file
	Directory                  // directories have no content
	ReparsePoint               // has a reparse point of its own: link, junction, cloud file
	Encrypted                  // by EFS
	Empty                      // no unnamed data
	Sparse                     // has the sparse attribute
	VolumeInfo                 // below \System Volume Information: read to find the WIM
	SystemHive                 // registry hive SYSTEM or its logs
	Prepopulate                // [PrepopulateList] of the image's or the given configuration
	BootFile                   // built-in list of what loaders read before pointers work
	Early                      // read at start before pointers work, as the system itself tells
	TooLarge                   // over the size limit
	NotInWIM                   // content is not in the WIM, or its SHA-1 not known
	Unusable                   // its WIM cannot back files, see CheckWIM
	Solid                      // in a solid resource
	SizesMislead               // stored size would make WOF take compressed for raw or raw for compressed
	Rewritten                  // compact: Windows writes to it, which would expand it
	StreamTaken                // compact: has a stream of the name WofCompressedData
	NoGain                     // compact: would take no cluster less
	reasonCount
)

var reasonText = [reasonCount]struct{ token, text string }{
	Backed:       {"backed", "pointer file"},
	Directory:    {"directory", "directory"},
	ReparsePoint: {"reparse-point", "has a reparse point of its own"},
	Encrypted:    {"encrypted", "encrypted by EFS"},
	Empty:        {"empty", "no content"},
	Sparse:       {"sparse", "sparse, which a pointer file cannot tell"},
	VolumeInfo:   {"volume-info", "in System Volume Information"},
	SystemHive:   {"system-hive", "SYSTEM registry hive"},
	Prepopulate:  {"prepopulate", "in the PrepopulateList"},
	BootFile:     {"boot-file", "in the built-in list of boot files"},
	Early:        {"early", "read at start, before the driver for such files runs"},
	TooLarge:     {"too-large", "too large for a pointer file"},
	NotInWIM:     {"not-in-wim", "content is not in the WIM"},
	Unusable:     {"unusable-wim", "content is in a WIM that cannot back files"},
	Solid:        {"solid", "content is in a solid resource"},
	SizesMislead: {"sizes", "stored size does not tell whether the content is compressed"},
	Rewritten:    {"rewritten", "Windows writes to it"},
	StreamTaken:  {"stream-taken", "has a stream named WofCompressedData"},
	NoGain:       {"no-gain", "would not take less room"},
}

// String says it in English.
func (r Reason) String() string {
	if r < reasonCount {
		return reasonText[r].text
	}
	return fmt.Sprintf("reason %d", uint8(r))
}

// MarshalText returns a word that stays the same from version to version, for JSON and for translations: "prepopulate".
func (r Reason) MarshalText() ([]byte, error) {
	if r < reasonCount {
		return []byte(reasonText[r].token), nil
	}
	return nil, fmt.Errorf("wof: internal error: reason %d", uint8(r))
}

// Reasons returns all reasons, Backed first.
func Reasons() []Reason {
	list := make([]Reason, reasonCount)
	for i := range list {
		list[i] = Reason(i)
	}
	return list
}

package deploy

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"husk/guid"
	"husk/winfile"
)

// identity is what tells one disk from another, and when it was made.
type identity struct {
	signature uint32
	serial    uint64
	disk      guid.GUID
	time      time.Time
}

// newIdentity takes what the user gave, and the rest from the clock and at random, or of a reproducible disk from its contents.
func newIdentity(t *winfile.Tree, o *Options, now time.Time) (*identity, error) {
	var b [28]byte
	id := &identity{time: now}
	if o.Reproducible {
		sum := fingerprint(t, o)
		copy(b[:], sum[:])
		id.time = reproducibleTime(t)
	} else {
		rand.Read(b[:]) // never fails, see crypto/rand
	}
	id.signature, id.serial, id.disk = o.Signature, o.Serial, guid.GUID(b[12:])
	if id.signature == 0 {
		id.signature = max(1, binary.LittleEndian.Uint32(b[:]))
	}
	if id.serial == 0 {
		id.serial = binary.LittleEndian.Uint64(b[4:])
	}
	id.disk[7], id.disk[8] = id.disk[7]&0x0f|0x40, id.disk[8]&0x3f|0x80 // as random GUIDs are marked
	return id, nil
}

// reproducibleTime is the last write of the root directory, moved into what all of a disk's fields can hold.
func reproducibleTime(t *winfile.Tree) time.Time {
	first := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	last := time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
	at := t.Root.Info.Written.Time().UTC()
	switch {
	case at.Before(first):
		return first
	case at.After(last):
		return last
	}
	return at
}

// fingerprint hashes what a disk follows from: names, metadata and, where the source knows them, SHA-1s of the contents; and the options.
// Disks that differ so get identities that differ: Windows takes no two disks of one signature at once.
func fingerprint(t *winfile.Tree, o *Options) [sha256.Size]byte {
	h := sha256.New()
	fmt.Fprintf(h, "%d %d %t %q %d", o.Format, o.Size, o.Fixed, o.Label, o.ClusterSize)
	if o.Wimboot != nil {
		fmt.Fprintf(h, " wimboot %v %t", o.Wimboot.Location, o.Wimboot.UEFI)
	}
	if o.Compact != nil {
		fmt.Fprintf(h, " compact %v %t", o.Compact.Algorithm, o.Compact.UEFI)
	}
	for path, e := range t.All() {
		i := e.Info
		fmt.Fprintf(h, "\n%q %q %x %x %x %x", path, e.ShortName, uint32(i.Attributes), uint64(i.Created), uint64(i.Written), uint64(i.Accessed))
		for b := range i.Blobs() {
			fmt.Fprintf(h, " %d:%x", b.Size, b.SHA1)
		}
	}
	return [sha256.Size]byte(h.Sum(nil))
}

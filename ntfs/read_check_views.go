package ntfs

import (
	"fmt"

	"husk/winfile"
)

// reparsePoint notes the tag of the $REPARSE_POINT list[i].
func (c *checkState) reparsePoint(n int64, k *checkedRecord, list []fileAttr, i int) {
	if list[i].continues() {
		return
	}
	at := ofAttr(n, list[i])
	var b []byte
	var err error
	if a := list[i]; !a.nonResident() {
		b = a.value() // of nearly all: no need to make a stream of it
	} else {
		var s *stream
		if s, err = c.v.openStream(list, i); err == nil {
			b, err = s.readAll(winfile.MaxReparse)
		}
	}
	var r *winfile.Reparse
	if err == nil {
		r, err = winfile.ParseReparse(b)
	}
	if err != nil {
		if len(b) >= 4 {
			k.tag = le.Uint32(b)
			c.reparse = append(c.reparse, reparseKey{k.tag, makeRef(uint64(n), k.sequence)})
		}
		c.reportErr("reparse-damaged", at, err)
		return
	}
	if r.Tag&0x80000000 != 0 && 8+len(r.Data) != len(b) {
		c.report("reparse-length", at, fmt.Sprintf("%d bytes behind the data", len(b)-8-len(r.Data)), "")
	}
	k.tag = r.Tag
	c.reparse = append(c.reparse, reparseKey{r.Tag, makeRef(uint64(n), k.sequence)})
	dir := k.flags&recordDirectory != 0
	switch {
	case dir && r.Tag == winfile.TagWOF || !dir && r.Tag == winfile.TagMountPoint:
		c.report("reparse-kind", at, fmt.Sprintf("tag %#x, folder %t", r.Tag, dir), "")
	case r.Tag == winfile.TagWOF:
		c.wof(n, list, i, r.Data)
	}
}

// viewIndex walks an index of a child of $Extend. ok is false if there is no such child: Windows makes it when it needs one.
func (c *checkState) viewIndex(child, name string, order collation, fn func(nodeEntry) error) (at spot, ok, whole bool) {
	n, ok := c.extend[child]
	if !ok {
		return ofRecord(-1), false, false
	}
	return inStream(n, attrLabel(typeIndexRoot, name), -1), true, c.index(n, name, order, fn)
}

// reparseIndex matches $Reparse:$R with the reparse points.
func (c *checkState) reparseIndex() error {
	listed := make(map[reparseKey]bool)
	at, ok, whole := c.viewIndex("$Reparse", "$R", collateULongs, func(e nodeEntry) error {
		key := e.key()
		if len(key) != 12 {
			return fmt.Errorf("key of %d bytes, want 12", len(key))
		}
		listed[reparseKey{le.Uint32(key), fileRef(le.Uint64(key[4:]))}] = true
		return nil
	})
	if !ok && len(c.reparse) > 0 && !c.damaged {
		c.report("reparse-index-missing", at, fmt.Sprintf("%d reparse points and no $Extend\\$Reparse", len(c.reparse)), "")
	}
	for _, k := range c.reparse {
		if whole && !listed[k] {
			c.report("reparse-index-missing", ofRecord(int64(k.ref.record())), fmt.Sprintf("reparse point %#x is not in $R", k.tag), "")
		}
		delete(listed, k)
	}
	for k := range listed {
		if r := c.at(k.ref.record()); c.isBroken(k.ref.record()) || r != nil && r.has(factPartial) {
			continue
		}
		c.report("reparse-index-dangling", at, fmt.Sprintf("tag %#x of record %v, which is no such reparse point", k.tag, k.ref), "")
	}
	return nil
}

// objectIDs matches $ObjId:$O with the object ids.
func (c *checkState) objectIDs() error {
	listed := make(map[objectKey]bool)
	at, ok, whole := c.viewIndex("$ObjId", "$O", collateULongs, func(e nodeEntry) error {
		data, err := e.data()
		if err != nil {
			return err
		}
		if len(e.key()) != 16 || len(data) != 56 {
			return fmt.Errorf("key of %d bytes and %d of data, want 16 and 56", len(e.key()), len(data))
		}
		listed[objectKey{[16]byte(e.key()), fileRef(le.Uint64(data))}] = true
		return nil
	})
	if !ok && len(c.objects) > 0 && !c.damaged {
		c.report("object-index-missing", at, fmt.Sprintf("%d object ids and no $Extend\\$ObjId", len(c.objects)), "")
	}
	seen := make(map[[16]byte]fileRef, len(c.objects))
	for _, k := range c.objects {
		other, twice := seen[k.id]
		seen[k.id] = k.ref
		switch {
		case twice:
			c.report("object-twice", spot{int64(k.ref.record()), typeObjectID.String(), 0}, fmt.Sprintf("object id %x, which record %v has too", k.id, other), "")
		case whole && !listed[k]:
			c.report("object-index-missing", spot{int64(k.ref.record()), typeObjectID.String(), 0}, fmt.Sprintf("object id %x is not in $O", k.id), "")
		}
		delete(listed, k)
	}
	for k := range listed {
		if r := c.at(k.ref.record()); c.isBroken(k.ref.record()) || r != nil && r.has(factPartial) {
			continue
		}
		c.report("object-index-dangling", at, fmt.Sprintf("id %x of record %v, which has no such id", k.id, k.ref), "")
	}
	return nil
}

// quota checks the indexes of $Quota: their structure, that there are default limits, and that each owner is in both.
func (c *checkState) quota() error {
	const defaults, headerSize, version = 1, 0x30, 2
	limits := false
	owners := make(map[string]uint32) // SID to owner
	at, ok, whole := c.viewIndex("$Quota", "$Q", collateULong, func(e nodeEntry) error {
		data, err := e.data()
		if err != nil {
			return err
		}
		if len(e.key()) != 4 || len(data) < headerSize {
			return fmt.Errorf("key of %d bytes and %d of data, want 4 and at least %d", len(e.key()), len(data), headerSize)
		}
		owner := le.Uint32(e.key())
		limits = limits || owner == defaults
		if v := le.Uint32(data); v != version {
			c.report("quota-entry", inStream(c.extend["$Quota"], `$INDEX_ROOT "$Q"`, -1), fmt.Sprintf("owner %d: version %d", owner, v), fmt.Sprint(version))
		}
		if sid := data[headerSize:]; len(sid) > 0 {
			owners[string(sid)] = owner
		}
		return nil
	})
	if !ok {
		return nil
	}
	if whole && !limits {
		c.report("quota-defaults", at, fmt.Sprintf("no entry of owner %d", defaults), "")
	}
	at, _, both := c.viewIndex("$Quota", "$O", collateSID, func(e nodeEntry) error {
		data, err := e.data()
		if err != nil {
			return err
		}
		if len(data) != 4 {
			return fmt.Errorf("%d bytes of data, want 4", len(data))
		}
		owner, ok := owners[string(e.key())]
		if id := le.Uint32(data); whole && (!ok || owner != id) {
			c.report("quota-entry", inStream(c.extend["$Quota"], `$INDEX_ROOT "$O"`, -1), fmt.Sprintf("SID %x has owner %d", e.key(), id), fmt.Sprintf("%d, as $Q has", owner))
		}
		delete(owners, string(e.key()))
		return nil
	})
	for sid, owner := range owners {
		if both {
			c.report("quota-entry", at, fmt.Sprintf("no entry of SID %x, owner %d", sid, owner), "")
		}
	}
	return nil
}

package ntfs

import (
	"bytes"
	"fmt"
	"io"
)

// secure checks $Secure: both copies of each descriptor, its hash, both indexes, and the ids that files have.
func (c *checkState) secure() error {
	v := c.v
	if v.Version < "3" {
		return nil
	}
	bad := func(format string, args ...any) {
		c.report(SeverityError, ProblemSecurity, recSecure, format, args...)
	}
	s, err := v.openNamed(recSecure, typeData, "$SDS")
	if err != nil {
		bad("%v", err)
		return nil
	}
	headers := make(map[uint32][sdsHeaderSize]byte)
	var end int64
	err = s.walkSDS(func(off int64, e sdsEntry) {
		end = off + int64(len(e))
		if e.offset() != off {
			bad("$SDS entry at %#x says that it is at %#x", off, e.offset())
		}
		if h := securityHash(e.descriptor()); h != e.hash() {
			bad("$SDS entry at %#x, id %d: hash %#x, want %#x", off, e.id(), e.hash(), h)
		}
		if _, ok := headers[e.id()]; ok {
			bad("$SDS has id %d twice", e.id())
		}
		headers[e.id()] = [sdsHeaderSize]byte(e)
		mirror := make([]byte, len(e))
		if _, err := s.ReadAt(mirror, off+sdsBlock); err != nil && err != io.EOF || !bytes.Equal(mirror, e) {
			bad("$SDS entry at %#x, id %d: the copy at %#x differs", off, e.id(), off+sdsBlock)
		}
	})
	if err != nil {
		bad("%v", err)
	}
	if end > 0 && s.size != end+sdsBlock {
		bad("$SDS of %d bytes, want %d: the end of the last entry's copy", s.size, end+sdsBlock)
	}
	c.securityIndex("$SII", collateULong, headers, func(key, h []byte) error {
		if len(key) != 4 || !bytes.Equal(key, h[4:8]) {
			return fmt.Errorf("key %x with the header of id %d", key, le.Uint32(h[4:]))
		}
		return nil
	})
	c.securityIndex("$SDH", collateSecurityHash, headers, func(key, h []byte) error {
		if len(key) != 8 || !bytes.Equal(key, h[:8]) {
			return fmt.Errorf("key %x with the header of hash %#x, id %d", key, le.Uint32(h), le.Uint32(h[4:]))
		}
		return nil
	})
	for id, n := range c.usedIDs {
		if _, ok := headers[id]; !ok {
			c.report(SeverityError, ProblemSecurity, n, "security id %d is not in $Secure", id)
		}
	}
	return nil
}

// securityIndex checks that an index of $Secure has each header of $SDS once.
func (c *checkState) securityIndex(name string, order collation, headers map[uint32][sdsHeaderSize]byte, match func(key, header []byte) error) {
	found := make(map[uint32]bool)
	c.index(recSecure, name, order, func(e nodeEntry) error {
		h, err := e.data()
		if err != nil {
			return err
		}
		if len(h) != sdsHeaderSize {
			return fmt.Errorf("entry with %d bytes of data, want %d", len(h), sdsHeaderSize)
		}
		if err := match(e.key(), h); err != nil {
			return err
		}
		id := le.Uint32(h[4:])
		if want, ok := headers[id]; !ok || !bytes.Equal(h, want[:]) {
			return fmt.Errorf("entry of id %d is not what $SDS has", id)
		}
		found[id] = true
		return nil
	})
	for id := range headers {
		if !found[id] {
			c.report(SeverityError, ProblemSecurity, recSecure, "id %d is not in %s", id, name)
		}
	}
}

// viewIndex walks an index of a child of $Extend. ok is false if there is no such child: Windows makes it when it needs one.
func (c *checkState) viewIndex(child, name string, order collation, fn func(nodeEntry) error) (record int64, ok bool) {
	n, ok := c.extend[child]
	if ok {
		if k := c.at(uint64(n)); k.flags&recordExtend == 0 {
			c.report(SeverityWarning, ProblemSystemFile, n, "%s has record flags %#x without %#x, that of $Extend's children", child, k.flags, recordExtend)
		}
		c.index(n, name, order, fn)
	}
	return n, ok
}

// reparseIndex matches $Reparse:$R with the reparse points.
func (c *checkState) reparseIndex() error {
	listed := make(map[reparseKey]bool)
	n, ok := c.viewIndex("$Reparse", "$R", collateULongs, func(e nodeEntry) error {
		key := e.key()
		if len(key) != 12 {
			return fmt.Errorf("key of %d bytes, want 12", len(key))
		}
		listed[reparseKey{le.Uint32(key), fileRef(le.Uint64(key[4:]))}] = true
		return nil
	})
	if !ok && len(c.reparse) > 0 {
		c.report(SeverityError, ProblemReparse, -1, "%d reparse points and no $Extend\\$Reparse", len(c.reparse))
		return nil
	}
	for _, k := range c.reparse {
		if !listed[k] {
			c.report(SeverityError, ProblemReparse, int64(k.ref.record()), "reparse point %#x is not in $R", k.tag)
		}
		delete(listed, k)
	}
	for k := range listed {
		c.report(SeverityError, ProblemReparse, n, "$R has tag %#x of record %v, which is no such reparse point", k.tag, k.ref)
	}
	return nil
}

// objectIDs matches $ObjId:$O with the object ids.
func (c *checkState) objectIDs() error {
	listed := make(map[objectKey]bool)
	n, ok := c.viewIndex("$ObjId", "$O", collateULongs, func(e nodeEntry) error {
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
	if !ok && len(c.objects) > 0 {
		c.report(SeverityError, ProblemObjectID, -1, "%d object ids and no $Extend\\$ObjId", len(c.objects))
		return nil
	}
	for _, k := range c.objects {
		if !listed[k] {
			c.report(SeverityError, ProblemObjectID, int64(k.ref.record()), "object id %x is not in $O", k.id)
		}
		delete(listed, k)
	}
	for k := range listed {
		c.report(SeverityError, ProblemObjectID, n, "$O has id %x of record %v, which has no such id", k.id, k.ref)
	}
	return nil
}

// quota checks the indexes of $Quota: their structure, and that there are default limits.
func (c *checkState) quota() error {
	const defaults = 1
	limits := false
	n, ok := c.viewIndex("$Quota", "$Q", collateULong, func(e nodeEntry) error {
		if len(e.key()) != 4 {
			return fmt.Errorf("key of %d bytes, want 4", len(e.key()))
		}
		limits = limits || le.Uint32(e.key()) == defaults
		return nil
	})
	if ok && !limits {
		c.report(SeverityWarning, ProblemSystemFile, n, "$Q has no default limits, owner %d", defaults)
	}
	if ok {
		c.index(n, "$O", collateSID, func(nodeEntry) error { return nil })
	}
	return nil
}

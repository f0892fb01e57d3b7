package ntfs

import (
	"bytes"
	"fmt"
	"strings"
)

const sdsName = `$DATA "$SDS"`

// securityOf notes the security id of a file. It may have a descriptor of its own instead.
func (c *checkState) securityOf(n int64, id uint32, inline bool) {
	switch _, seen := c.usedIDs[id]; {
	case id != 0 && !seen:
		c.usedIDs[id] = n
	case id == 0 && !inline && !strings.HasPrefix(c.v.Version, "1."):
		s := severityOf("security-none")
		if n < firstUserFile {
			s = SeverityNote // ntfs-3g cuts the $MFT's $STANDARD_INFORMATION when it makes an attribute list
		}
		c.reportAs(s, "security-none", ofRecord(n), "no security id and no descriptor", "")
	}
}

// inlineDescriptor checks the $SECURITY_DESCRIPTOR list[i] of record n.
func (c *checkState) inlineDescriptor(n int64, list []fileAttr, i int) {
	if list[i].continues() {
		return
	}
	s, err := c.v.openStream(list, i)
	if err != nil {
		return // reported by stream
	}
	b, err := s.readAll(sdsBlock)
	if err == nil {
		err = checkDescriptor(b)
	}
	if err != nil {
		c.reportErr("security-descriptor", ofAttr(n, list[i]), err)
	}
}

// secure checks $Secure: both copies of each descriptor, its hash, both indexes, and the ids that files have.
func (c *checkState) secure() error {
	v := c.v
	if v.Version < "3" || c.at(recSecure) == nil {
		return nil
	}
	s, err := v.openNamed(recSecure, typeData, "$SDS")
	if err != nil {
		c.reportErr("security-stream", inStream(recSecure, sdsName, -1), err)
		return nil
	}
	headers, whole := c.descriptors(s)
	c.securityIndex("$SII", collateULong, headers, whole, func(key, h []byte) error {
		if len(key) != 4 || !bytes.Equal(key, h[4:8]) {
			return fmt.Errorf("key %x with the header of id %d", key, le.Uint32(h[4:]))
		}
		return nil
	})
	c.securityIndex("$SDH", collateSecurityHash, headers, whole, func(key, h []byte) error {
		if len(key) != 8 || !bytes.Equal(key, h[:8]) {
			return fmt.Errorf("key %x with the header of hash %#x, id %d", key, le.Uint32(h), le.Uint32(h[4:]))
		}
		return nil
	})
	for id, n := range c.usedIDs {
		if _, ok := headers[id]; !ok && whole {
			c.report("security-id", inStream(n, "$STANDARD_INFORMATION", 0x34), fmt.Sprintf("security id %d, which is not in $Secure", id), "")
		}
	}
	return nil
}

// descriptors walks $SDS and returns the header of each entry by id. whole tells whether it came to the end.
func (c *checkState) descriptors(s *stream) (headers map[uint32][sdsHeaderSize]byte, whole bool) {
	headers = make(map[uint32][sdsHeaderSize]byte)
	var end int64
	mirror := make([]byte, sdsBlock)
	err := s.walkSDS(func(off int64, e sdsEntry) {
		end = off + int64(len(e))
		at := inStream(recSecure, sdsName, off)
		if e.offset() != off {
			c.report("security-entry", at, fmt.Sprintf("id %d says that it is at %#x", e.id(), e.offset()), "")
		}
		if h := securityHash(e.descriptor()); h != e.hash() {
			c.report("security-entry", at, fmt.Sprintf("id %d has hash %#x", e.id(), e.hash()), fmt.Sprintf("%#x", h))
		} else if err := checkDescriptor(e.descriptor()); err != nil {
			c.report("security-descriptor", at, fmt.Sprintf("id %d: %v", e.id(), err), "")
		}
		if _, ok := headers[e.id()]; ok {
			c.report("security-entry", at, fmt.Sprintf("id %d is there twice", e.id()), "")
		}
		headers[e.id()] = [sdsHeaderSize]byte(e)
		mirror = mirror[:len(e)]
		if err := readExactly(s, mirror, off+sdsBlock); err != nil || !bytes.Equal(mirror, e) {
			c.report("security-copy", inStream(recSecure, sdsName, off+sdsBlock), fmt.Sprintf("id %d is not what stands at %#x", e.id(), off), "")
		}
	})
	if err != nil {
		c.reportErr("security-stream", inStream(recSecure, sdsName, end), err)
		return headers, false
	}
	if end > 0 && s.size != end+sdsBlock {
		c.report("security-size", inStream(recSecure, sdsName, end), fmt.Sprintf("%d bytes", s.size), fmt.Sprintf("%d: the end of the last entry's copy", end+sdsBlock))
	}
	return headers, true
}

// securityIndex checks that an index of $Secure has each header of $SDS once.
func (c *checkState) securityIndex(name string, order collation, headers map[uint32][sdsHeaderSize]byte, whole bool, match func(key, header []byte) error) {
	found := make(map[uint32]bool)
	at := inStream(recSecure, attrLabel(typeIndexRoot, name), -1)
	all := c.index(recSecure, name, order, func(e nodeEntry) error {
		h, err := e.data()
		if err != nil {
			return err
		}
		if len(h) != sdsHeaderSize {
			return fmt.Errorf("entry with %d bytes of data, want %d", len(h), sdsHeaderSize)
		}
		id := le.Uint32(h[4:])
		found[id] = true
		if err := match(e.key(), h); err != nil {
			c.reportErr("security-index", at, err)
		} else if want, ok := headers[id]; whole && (!ok || !bytes.Equal(h, want[:])) {
			c.report("security-index", at, fmt.Sprintf("entry of id %d: %x", id, h), fmt.Sprintf("%x, as $SDS has", want))
		}
		return nil
	})
	for id := range headers {
		if found[id] || !all {
			continue
		}
		severity := severityOf("security-index-missing")
		if _, used := c.usedIDs[id]; !used {
			severity = SeverityNote // chkdsk takes those that no file has out of the indexes and leaves $SDS as it is
		}
		c.reportAs(severity, "security-index-missing", at, fmt.Sprintf("no entry of id %d", id), "")
	}
}

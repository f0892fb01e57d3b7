package petest

const (
	headersAt       = 0x80 // of Build: where the PE header is
	machineAt       = headersAt + 4
	dirCertificates = 4
	directoriesAt   = headersAt + 24 + 112
)

// SetMachine makes a file of Build one for another machine, and returns it.
func SetMachine(b []byte, machine uint16) []byte {
	le.PutUint16(b[machineAt:], machine)
	return b
}

// Object identifiers, as DER has them: what an Authenticode signature signs, and digests.
var (
	spcIndirectData = []byte{0x06, 0x0a, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x02, 0x01, 0x04}
	digestIDs       = map[string][]byte{
		"SHA-1":   {0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a},
		"SHA-256": {0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01},
	}
)

// Sign adds a certificate table to a file of Build: one that looks as if there was a signature with each of the digests, "SHA-1" and
// "SHA-256". It signs nothing.
func Sign(b []byte, digests ...string) []byte {
	table := make([]byte, 8)
	le.PutUint16(table[4:], 0x200) // revision 2.0
	le.PutUint16(table[6:], 2)     // PKCS#7
	for _, d := range digests {
		table = append(append(append(table, spcIndirectData...), make([]byte, 64)...), digestIDs[d]...)
		table = append(table, make([]byte, 160)...) // so that the next one is another signature's
	}
	for len(table)%8 != 0 {
		table = append(table, 0)
	}
	le.PutUint32(table, uint32(len(table)))
	le.PutUint32(b[directoriesAt+8*dirCertificates:], uint32(len(b)))
	le.PutUint32(b[directoriesAt+8*dirCertificates+4:], uint32(len(table)))
	return append(b, table...)
}

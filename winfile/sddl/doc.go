// Package sddl converts between self-relative security descriptors and their text, the security descriptor definition language
// of Windows: "O:BAG:SYD:PAI(A;OICI;FA;;;SY)(A;OICIIO;GA;;;CO)".
//
// On disk, integers little-endian:
//
//	0x00  u8   revision, 1
//	0x01  u8   resource manager control, normally 0
//	0x02  u16  control flags: SE_DACL_PRESENT, SE_DACL_PROTECTED …
//	0x04  u32  offset of the owner's SID, 0 if there is none
//	0x08  u32  offset of the group's SID
//	0x0c  u32  offset of the SACL
//	0x10  u32  offset of the DACL; 0 with SE_DACL_PRESENT set is a DACL that allows all
//
//	ACL   u8 revision, u8 0, u16 size, u16 number of ACEs, u16 0, ACEs
//	ACE   u8 type, u8 flags, u16 size, body: mask u32, for object types flags u32 and up to two GUIDs, SID, application data
//	SID   u8 revision 1, u8 number of subauthorities, 6 bytes authority (big-endian), subauthorities u32
//
// What SDDL has no words for is kept in two forms of our own, both with the bytes in hex: an ACE of a type without a name, or with
// a body that its type does not explain, is (0x04;FLAGS;;;;;#BODY); application data that is no conditional expression and no
// resource attribute is a last field #DATA. The text does not have the flags for defaulted parts, the resource manager byte and
// the revision of ACLs, as with Windows.
//
// Sources: [MS-DTYP] 2.4 (structures, conditional expressions 2.4.4.17, resource attributes 2.4.10.1) and 2.5.1 (language).
package sddl

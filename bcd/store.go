package bcd

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"husk/guid"
	"husk/regf"
)

// A Store is a boot store. It is not for concurrent use.
type Store struct{ hive *regf.Hive }

const (
	objectsKey     = "Objects"
	descriptionKey = "Description"
	elementsKey    = "Elements"
	valueName      = "Element"
	typeName       = "Type"
	systemKeyName  = "BCD00000000"
)

// New makes an empty store that is to be the store of a system.
func New() (*Store, error) {
	h, err := regf.New(regfMinor, "NewStoreRoot")
	if err != nil {
		return nil, err
	}
	root := h.Root()
	if err := root.SetSecurity(regf.AdminFull()); err != nil {
		return nil, err
	}
	d, err := root.Create(descriptionKey)
	if err != nil {
		return nil, err
	}
	objects, err := root.Create(objectsKey)
	if err != nil {
		return nil, err
	}
	return &Store{h}, errors.Join(
		d.SetSZ("KeyName", systemKeyName), d.SetDWord("System", 1), d.SetDWord("TreatAsSystem", 1),
		objects.SetSecurity(restricted()))
}

// regfMinor is the hive version of the stores that Windows writes: 1.3.
const regfMinor = 3

// restricted is the descriptor of the objects in a store: administrators may read, and change the descriptor.
func restricted() []byte {
	sd := regf.AdminFull()
	le.PutUint32(sd[firstMask:], 0x60019)
	return sd
}

// firstMask is the offset of the first access mask in the descriptor: after its header, the ACL's and the ACE's.
const firstMask = 0x14 + 8 + 4

// Parse reads a store from a file, and the logs beside it if it was not closed cleanly.
func Parse(file []byte, logs ...[]byte) (*Store, error) {
	h, err := regf.Parse(file, logs...)
	if err != nil {
		return nil, err
	}
	return Of(h)
}

// Of is the store in a hive.
func Of(h *regf.Hive) (*Store, error) {
	for _, name := range []string{objectsKey, descriptionKey} {
		if _, err := h.Root().Subkey(name); err != nil {
			return nil, fmt.Errorf("bcd: not a boot store: %w", err)
		}
	}
	return &Store{h}, nil
}

// Hive is the hive of the store.
func (s *Store) Hive() *regf.Hive { return s.hive }

// Bytes lays out the file of the store.
func (s *Store) Bytes() ([]byte, error) { return s.hive.Bytes() }

// Object is one object of a store.
type Object struct {
	ID   guid.GUID
	Type ObjectType

	key *regf.Key
}

// Objects returns all objects in the order of the store. Keys that are not objects are an error.
func (s *Store) Objects() ([]*Object, error) {
	objects, err := s.hive.Root().Subkey(objectsKey)
	if err != nil {
		return nil, fmt.Errorf("bcd: %w", err)
	}
	keys, err := objects.Subkeys()
	if err != nil {
		return nil, fmt.Errorf("bcd: %w", err)
	}
	list := make([]*Object, 0, len(keys))
	for _, k := range keys {
		o, err := newObject(k)
		if err != nil {
			return nil, err
		}
		list = append(list, o)
	}
	return list, nil
}

func newObject(k *regf.Key) (*Object, error) {
	g, err := guid.Parse(k.Name())
	if err != nil {
		return nil, fmt.Errorf("bcd: object %q: %w", k.Name(), err)
	}
	n, err := k.Uint(descriptionKey, typeName)
	if err != nil {
		return nil, fmt.Errorf("bcd: object %s: %w", Alias(g), err)
	}
	return &Object{g, ObjectType(n), k}, nil
}

// Object finds an object. One that is not there is fs.ErrNotExist.
func (s *Store) Object(id guid.GUID) (*Object, error) {
	k, err := s.hive.Root().Lookup(objectsKey + `\{` + id.String() + `}`)
	if err != nil {
		return nil, fmt.Errorf("bcd: object %s: %w", Alias(id), err)
	}
	return newObject(k)
}

// Create makes an object. One that is there already is fs.ErrExist.
func (s *Store) Create(id guid.GUID, t ObjectType) (*Object, error) {
	path := objectsKey + `\{` + id.String() + `}`
	if _, err := s.hive.Root().Lookup(path); err == nil {
		return nil, fmt.Errorf("bcd: object %s: %w", Alias(id), fs.ErrExist)
	}
	k, err := s.hive.Root().Create(path)
	if err != nil {
		return nil, fmt.Errorf("bcd: %w", err)
	}
	d, err := k.Create(descriptionKey)
	if err != nil {
		return nil, fmt.Errorf("bcd: %w", err)
	}
	if _, err := k.Create(elementsKey); err != nil {
		return nil, fmt.Errorf("bcd: %w", err)
	}
	return &Object{id, t, k}, d.SetDWord(typeName, uint32(t))
}

// Delete removes an object, and takes it out of every list and every reference in the store, as bcdedit /delete /cleanup does.
func (s *Store) Delete(id guid.GUID) error {
	objects, err := s.hive.Root().Subkey(objectsKey)
	if err != nil {
		return fmt.Errorf("bcd: %w", err)
	}
	if err := objects.Delete("{" + id.String() + "}"); err != nil {
		return fmt.Errorf("bcd: %w", err)
	}
	list, err := s.Objects()
	if err != nil {
		return err
	}
	for _, o := range list {
		if err := o.forget(id); err != nil {
			return err
		}
	}
	return nil
}

// forget takes id out of the elements of o.
func (o *Object) forget(id guid.GUID) error {
	elements, err := o.Elements()
	if err != nil {
		return err
	}
	for _, e := range elements {
		switch e.ID.Format() {
		case FormatObject:
			if g, err := e.Object(); err == nil && g == id {
				if err := o.Remove(e.ID); err != nil {
					return err
				}
			}
		case FormatObjects:
			list, err := e.Objects()
			if err != nil {
				continue // what cannot be read names nothing
			}
			kept := list[:0:0]
			for _, g := range list {
				if g != id {
					kept = append(kept, g)
				}
			}
			if len(kept) == len(list) {
				continue
			}
			if err := o.SetObjects(e.ID, kept...); err != nil {
				return err
			}
		}
	}
	return nil
}

// Element is one element of an object, with its value as the hive has it.
type Element struct {
	ID    ElementID
	Value regf.Value
}

// Elements returns the elements of an object in the order of their ids as text.
func (o *Object) Elements() ([]Element, error) {
	k, err := o.key.Subkey(elementsKey)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("bcd: object %s: %w", Alias(o.ID), err)
	}
	keys, err := k.Subkeys()
	if err != nil {
		return nil, fmt.Errorf("bcd: object %s: %w", Alias(o.ID), err)
	}
	list := make([]Element, 0, len(keys))
	for _, k := range keys {
		n, err := strconv.ParseUint(k.Name(), 16, 32)
		if err != nil || len(k.Name()) != 8 {
			return nil, fmt.Errorf("bcd: object %s: element %q, want eight hexadecimal digits", Alias(o.ID), k.Name())
		}
		v, err := k.Value(valueName)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("bcd: object %s: element %s: %w", Alias(o.ID), k.Name(), err)
		}
		list = append(list, Element{ElementID(n), v})
	}
	return list, nil
}

// Element finds an element. One that is not there is fs.ErrNotExist.
func (o *Object) Element(e ElementID) (Element, error) {
	k, err := o.key.Lookup(elementsKey + `\` + e.hex())
	if err != nil {
		return Element{}, fmt.Errorf("bcd: object %s: %w", Alias(o.ID), err)
	}
	v, err := k.Value(valueName)
	if err != nil {
		return Element{}, fmt.Errorf("bcd: object %s: element %s: %w", Alias(o.ID), e.hex(), err)
	}
	return Element{e, v}, nil
}

// Remove removes an element; one that is not there is fs.ErrNotExist.
func (o *Object) Remove(e ElementID) error {
	k, err := o.key.Subkey(elementsKey)
	if err == nil {
		err = k.Delete(e.hex())
	}
	if err != nil {
		return fmt.Errorf("bcd: object %s: %w", Alias(o.ID), err)
	}
	return nil
}

func (e Element) wrong(want string) error {
	return fmt.Errorf("bcd: element %s: %v of %d bytes, want %s", e.ID.hex(), e.Value.Type, len(e.Value.Data), want)
}

// Device is the value of a device element.
func (e Element) Device() (Device, error) {
	if e.Value.Type != regf.Binary {
		return Device{}, e.wrong("a device")
	}
	return ParseDevice(e.Value.Data)
}

// Text is the value of a string element.
func (e Element) Text() (string, error) {
	s, err := e.Value.Text()
	if err != nil {
		return "", e.wrong("a string")
	}
	return s, nil
}

// Object is the value of an object element.
func (e Element) Object() (guid.GUID, error) {
	s, err := e.Value.Text()
	if err == nil {
		var g guid.GUID
		if g, err = guid.Parse(s); err == nil {
			return g, nil
		}
	}
	return guid.GUID{}, e.wrong("the id of an object")
}

// Objects is the value of an object list.
func (e Element) Objects() ([]guid.GUID, error) {
	list, err := e.Value.Strings()
	if err != nil {
		return nil, e.wrong("ids of objects")
	}
	ids := make([]guid.GUID, 0, len(list))
	for _, s := range list {
		g, err := guid.Parse(s)
		if err != nil {
			return nil, e.wrong("ids of objects")
		}
		ids = append(ids, g)
	}
	return ids, nil
}

// Integer is the value of an integer element: one to eight bytes are found.
func (e Element) Integer() (uint64, error) {
	b := e.Value.Data
	if e.Value.Type != regf.Binary || len(b) == 0 || len(b) > 8 {
		return 0, e.wrong("an integer of 1 to 8 bytes")
	}
	var n [8]byte
	copy(n[:], b)
	return le.Uint64(n[:]), nil
}

// Boolean is the value of a boolean element.
func (e Element) Boolean() (bool, error) {
	if e.Value.Type != regf.Binary || len(e.Value.Data) == 0 {
		return false, e.wrong("a boolean")
	}
	return e.Value.Data[0] != 0, nil
}

// Integers is the value of an integer list.
func (e Element) Integers() ([]uint64, error) {
	b := e.Value.Data
	if e.Value.Type != regf.Binary || len(b)%8 != 0 {
		return nil, e.wrong("integers of 8 bytes")
	}
	list := make([]uint64, 0, len(b)/8)
	for ; len(b) > 0; b = b[8:] {
		list = append(list, le.Uint64(b))
	}
	return list, nil
}

// set stores the value of an element, whose format must be want.
func (o *Object) set(e ElementID, want Format, t regf.Type, data []byte) error {
	if e.Format() != want {
		return fmt.Errorf("bcd: element %s holds %v, want %v", e.hex(), e.Format(), want)
	}
	k, err := o.key.Create(elementsKey + `\` + e.hex())
	if err != nil {
		return fmt.Errorf("bcd: object %s: %w", Alias(o.ID), err)
	}
	return k.Set(valueName, t, data)
}

// SetDevice sets a device element.
func (o *Object) SetDevice(e ElementID, d Device) error {
	return o.set(e, FormatDevice, regf.Binary, d.Marshal())
}

// SetText sets a string element.
func (o *Object) SetText(e ElementID, s string) error {
	if strings.ContainsRune(s, 0) {
		return fmt.Errorf("bcd: element %s: a NUL in %q", e.hex(), s)
	}
	return o.set(e, FormatString, regf.SZ, regf.SZData(s))
}

// SetObject sets an object element.
func (o *Object) SetObject(e ElementID, id guid.GUID) error {
	return o.set(e, FormatObject, regf.SZ, regf.SZData("{"+id.String()+"}"))
}

// SetObjects sets an object list; none removes it.
func (o *Object) SetObjects(e ElementID, ids ...guid.GUID) error {
	if len(ids) == 0 {
		if err := o.Remove(e); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	list := make([]string, len(ids))
	for i, id := range ids {
		list[i] = "{" + id.String() + "}"
	}
	return o.set(e, FormatObjects, regf.MultiSZ, regf.MultiSZData(list...))
}

// SetInteger sets an integer element.
func (o *Object) SetInteger(e ElementID, n uint64) error {
	return o.set(e, FormatInteger, regf.Binary, le.AppendUint64(nil, n))
}

// SetBoolean sets a boolean element.
func (o *Object) SetBoolean(e ElementID, on bool) error {
	b := []byte{0}
	if on {
		b[0] = 1
	}
	return o.set(e, FormatBoolean, regf.Binary, b)
}

// SetIntegers sets an integer list.
func (o *Object) SetIntegers(e ElementID, list ...uint64) error {
	var b []byte
	for _, n := range list {
		b = le.AppendUint64(b, n)
	}
	return o.set(e, FormatIntegers, regf.Binary, b)
}

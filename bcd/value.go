package bcd

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"husk/guid"
)

// enumerations are integers that bcdedit shows as words, by element and kind of object.
var enumerations = map[ElementID][]string{
	0x25000020: {"OptIn", "OptOut", "AlwaysOff", "AlwaysOn"},
	0x25000021: {"Default", "ForceEnable", "ForceDisable"},
	0x250000c2: {"Legacy", "Standard"},
	0x250000e0: {"DisplayAllFailures", "IgnoreAllFailures", "IgnoreShutdownFailures", "IgnoreBootFailures", "IgnoreCheckpointFailures"},
	0x250000f0: {"Off", "Auto"},
	0x25000080: {"Minimal", "Network", "DsRepair"},
	0x15000011: {"Serial", "1394", "USB", "Net", "Local"},
	0x15000018: {"Active", "AutoEnable", "Disable"},
	0x1500000c: {"UseNone", "UseAll", "UsePrivate"},
	0x15000052: {"1024x768", "800x600", "1024x600"},
}

// resumeEnumerations are those of objects that resume from hibernation.
var resumeEnumerations = map[ElementID][]string{0x25000008: {"Legacy", "Standard"}}

func wordsFor(e ElementID, t ObjectType) []string {
	if t == Resume || t == ResumeSettings {
		return resumeEnumerations[e]
	}
	if e.class() == classApplication && t != OSLoader && t != LoaderSettings {
		return nil
	}
	return enumerations[e]
}

// Show is the value of an element in bcdedit's words, one string for each line: objects by their names, booleans as Yes and No,
// numbers as words where they mean some, in hexadecimal where ids are meant, else in decimal. What is not of its format is shown as bytes.
func (e Element) Show(t ObjectType) []string {
	lines, err := e.show(t)
	if err != nil {
		return []string{fmt.Sprintf("%v %x", e.Value.Type, e.Value.Data)}
	}
	return lines
}

func (e Element) show(t ObjectType) ([]string, error) {
	switch e.ID.Format() {
	case FormatDevice:
		d, err := e.Device()
		return []string{d.String()}, err
	case FormatString:
		s, err := e.Text()
		return []string{s}, err
	case FormatObject:
		g, err := e.Object()
		return []string{Alias(g)}, err
	case FormatObjects:
		ids, err := e.Objects()
		var lines []string
		for _, g := range ids {
			lines = append(lines, Alias(g))
		}
		return lines, err
	case FormatInteger:
		n, err := e.Integer()
		if words := wordsFor(e.ID, t); n < uint64(len(words)) {
			return []string{words[n]}, err
		}
		return []string{strconv.FormatUint(n, 10)}, err
	case FormatBoolean:
		on, err := e.Boolean()
		return []string{pick(on, "Yes", "No")}, err
	case FormatIntegers:
		list, err := e.Integers()
		var lines []string
		for _, n := range list {
			lines = append(lines, fmt.Sprintf("%#x", n))
		}
		return lines, err
	}
	return nil, e.wrong("a format from 1 to 7")
}

// SetWords sets an element from what a user writes: in the forms of [Element.Show], lists as several words.
func (o *Object) SetWords(e ElementID, words ...string) error {
	one := func() (string, error) {
		if len(words) != 1 {
			return "", fmt.Errorf("bcd: %s: %d values, want one", ElementName(e, o.Type), len(words))
		}
		return words[0], nil
	}
	switch e.Format() {
	case FormatObjects:
		var ids []guid.GUID
		for _, w := range words {
			g, err := ParseID(w)
			if err != nil {
				return err
			}
			ids = append(ids, g)
		}
		return o.SetObjects(e, ids...)
	case FormatIntegers:
		var list []uint64
		for _, w := range words {
			n, err := strconv.ParseUint(w, 0, 64)
			if err != nil {
				return fmt.Errorf("bcd: %s: %q, want a number", ElementName(e, o.Type), w)
			}
			list = append(list, n)
		}
		return o.SetIntegers(e, list...)
	}
	word, err := one()
	if err != nil {
		return err
	}
	switch e.Format() {
	case FormatDevice:
		d, err := ParseDeviceText(word)
		if err != nil {
			return err
		}
		return o.SetDevice(e, d)
	case FormatString:
		return o.SetText(e, word)
	case FormatObject:
		g, err := ParseID(word)
		if err != nil {
			return err
		}
		return o.SetObject(e, g)
	case FormatInteger:
		n, err := o.number(e, word)
		if err != nil {
			return err
		}
		return o.SetInteger(e, n)
	case FormatBoolean:
		switch strings.ToLower(word) {
		case "yes", "on", "true", "1":
			return o.SetBoolean(e, true)
		case "no", "off", "false", "0":
			return o.SetBoolean(e, false)
		}
		return fmt.Errorf("bcd: %s: %q, want yes or no", ElementName(e, o.Type), word)
	}
	return fmt.Errorf("bcd: element %s: its format is unknown", e.hex())
}

// number reads an integer or one of the words that stand for it.
func (o *Object) number(e ElementID, word string) (uint64, error) {
	words := wordsFor(e, o.Type)
	for i, w := range words {
		if strings.EqualFold(w, word) {
			return uint64(i), nil
		}
	}
	n, err := strconv.ParseUint(word, 0, 64)
	if err != nil {
		want := "a number"
		if len(words) > 0 {
			want += " or one of " + strings.Join(words, ", ")
		}
		return 0, fmt.Errorf("bcd: %s: %q, want %s", ElementName(e, o.Type), word, want)
	}
	return n, nil
}

// Find finds an object as a user names it: by bcdedit's name or id, {default}, the number of an entry in the menu, or the description
// of an entry.
func (s *Store) Find(name string) (*Object, error) {
	if strings.EqualFold(strings.Trim(name, "{}"), "default") {
		g, err := s.Default()
		if err != nil {
			return nil, err
		}
		if g == (guid.GUID{}) {
			return nil, errors.New("bcd: the store names no default entry")
		}
		return s.Object(g)
	}
	if g, err := ParseID(name); err == nil {
		return s.Object(g)
	}
	entries, err := s.Entries()
	if err != nil {
		return nil, err
	}
	if n, err := strconv.Atoi(name); err == nil && n >= 1 && n <= len(entries) {
		return entries[n-1], nil
	}
	var found *Object
	for _, o := range entries {
		if o.textOr(DescriptionElement, "") != name {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("bcd: several entries are called %q: name one by its number or id", name)
		}
		found = o
	}
	if found == nil {
		return nil, fmt.Errorf("bcd: no entry %q among the %d of the menu: %w", name, len(entries), fs.ErrNotExist)
	}
	return found, nil
}

// Description is the text of an object in the menu; empty if it has none.
func (o *Object) Description() string { return o.textOr(DescriptionElement, "") }

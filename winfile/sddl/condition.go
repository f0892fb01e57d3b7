package sddl

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"husk/winfile"
)

// Conditional expressions are in postfix order, "artx" first, padded with zeros to four bytes. Tokens, [MS-DTYP] 2.4.4.17:
//
//	0x01 … 0x04  integer of 8 to 64 bits: value i64, sign u8 (1 plus, 2 minus, 3 none), base u8 (1 octal, 2 decimal, 3 hex)
//	0x10         string: bytes u32, UTF-16LE          0x18  octets: bytes u32
//	0x50         list: bytes u32, literals            0x51  SID: bytes u32
//	0x80 … 0xa2  operators                            0xf8 … 0xfb  attribute names: bytes u32, UTF-16LE
const conditionMagic = "artx"

const (
	tokInt64  = 0x04
	tokString = 0x10
	tokOctets = 0x18
	tokList   = 0x50
	tokSID    = 0x51
	tokAttr   = 0xf8 // local, user, resource, device

	maxNesting = 100 // of parentheses
)

var attrPrefix = [4]string{"", "@User.", "@Resource.", "@Device."}

// operators by token. operands is how many they take; a unary one stands before its operand.
type operator struct {
	token    byte
	text     string
	operands int
	level    int // binds the tighter the higher
}

const (
	levelOr = 1 + iota
	levelAnd
	levelTerm
	levelOperand
)

var operators = []operator{
	{0x80, "==", 2, levelTerm}, {0x81, "!=", 2, levelTerm}, {0x83, "<=", 2, levelTerm}, {0x85, ">=", 2, levelTerm},
	{0x82, "<", 2, levelTerm}, {0x84, ">", 2, levelTerm}, {0x86, "Contains", 2, levelTerm}, {0x88, "Any_of", 2, levelTerm},
	{0x8e, "Not_Contains", 2, levelTerm}, {0x8f, "Not_Any_of", 2, levelTerm},
	{0x87, "Exists", 1, levelTerm}, {0x8d, "Not_Exists", 1, levelTerm},
	{0x90, "Member_of_Any", 1, levelTerm}, {0x89, "Member_of", 1, levelTerm},
	{0x91, "Device_Member_of_Any", 1, levelTerm}, {0x8a, "Device_Member_of", 1, levelTerm},
	{0x94, "Not_Member_of_Any", 1, levelTerm}, {0x92, "Not_Member_of", 1, levelTerm},
	{0x95, "Not_Device_Member_of_Any", 1, levelTerm}, {0x93, "Not_Device_Member_of", 1, levelTerm},
	{0xa2, "!", 1, levelTerm}, {0xa0, "&&", 2, levelAnd}, {0xa1, "||", 2, levelOr},
}

var (
	errCondition = errors.New("not a conditional expression")
	errNesting   = fmt.Errorf("more than %d expressions inside each other", maxNesting)
)

// piece is the text of a part of an expression.
type piece struct {
	text  string
	level int
	depth int
}

// formatCondition shows application data that starts with "artx".
func formatCondition(b []byte) (string, error) {
	if len(b) < 4 || string(b[:4]) != conditionMagic {
		return "", errCondition
	}
	b = b[4:]
	var stack []piece
	for len(b) > 0 && b[0] != 0 {
		if i := slices.IndexFunc(operators, func(o operator) bool { return o.token == b[0] }); i >= 0 {
			o := operators[i]
			if len(stack) < o.operands {
				return "", errCondition
			}
			args := stack[len(stack)-o.operands:]
			p, err := o.join(args)
			if err != nil {
				return "", err
			}
			stack = append(stack[:len(stack)-o.operands], p)
			b = b[1:]
			continue
		}
		text, rest, err := formatOperand(b)
		if err != nil {
			return "", err
		}
		stack = append(stack, piece{text, levelOperand, 0})
		b = rest
	}
	if len(stack) != 1 || len(b) > 3 || strings.Trim(string(b), "\x00") != "" {
		return "", errCondition
	}
	return "(" + stack[0].text + ")", nil
}

// join puts an operator to its operands.
func (o operator) join(args []piece) (piece, error) {
	p := piece{level: o.level}
	texts := make([]string, len(args))
	for i, a := range args {
		texts[i] = a.text
		// Without parentheses the text is read from left to right, so an equal level is right on the left side only.
		tighter := a.level > o.level || a.level == o.level && i == 0 && o.operands == 2 && o.level != levelTerm
		if o.level == levelTerm && o.text != "!" && a.level != levelOperand {
			return p, errCondition // relations are between values
		}
		if (o.level != levelTerm || o.text == "!") && a.level == levelOperand && !isAttribute(a.text) {
			return p, errCondition
		}
		if o.text == "!" {
			tighter = false
		}
		if !tighter {
			texts[i] = "(" + a.text + ")"
		}
		p.depth = max(p.depth, a.depth+1)
	}
	if p.depth > maxNesting-2 {
		return p, errNesting
	}
	switch {
	case o.operands == 1 && o.text == "!":
		p.text = "!" + texts[0]
	case o.operands == 1:
		p.text = o.text + " " + texts[0]
	default:
		p.text = texts[0] + " " + o.text + " " + texts[1]
	}
	return p, nil
}

func isAttribute(text string) bool {
	return text != "" && !strings.ContainsAny(text[:1], `"#{+-0123456789`) && !strings.HasPrefix(text, "SID(")
}

// counted cuts a token's u32 length and that many bytes.
func counted(b []byte) (data, rest []byte, err error) {
	if len(b) < 5 {
		return nil, nil, errCondition
	}
	n := le.Uint32(b[1:])
	if uint64(n) > uint64(len(b)-5) {
		return nil, nil, errCondition
	}
	return b[5:][:n], b[5+n:], nil
}

// formatOperand shows the literal or attribute at the start of b.
func formatOperand(b []byte) (text string, rest []byte, err error) {
	if b[0] >= 1 && b[0] <= tokInt64 {
		if len(b) < 11 {
			return "", nil, errCondition
		}
		text, err := formatInteger(int64(le.Uint64(b[1:])), b[9], b[10])
		return text, b[11:], err
	}
	data, rest, err := counted(b)
	if err != nil {
		return "", nil, err
	}
	switch {
	case b[0] == tokString:
		text, err = quoted(data)
	case b[0] == tokOctets:
		text = "#" + hex.EncodeToString(data)
	case b[0] == tokSID:
		var n int
		if text, n, err = sidText(data); err == nil && n != len(data) {
			err = errCondition
		}
		text = "SID(" + text + ")"
	case b[0] == tokList:
		text, err = formatList(data)
	case b[0] >= tokAttr:
		if b[0]-tokAttr > 3 {
			return "", nil, errCondition
		}
		text, err = attributeText(int(b[0]-tokAttr), data)
	default:
		err = errCondition
	}
	return text, rest, err
}

func formatList(b []byte) (string, error) {
	var items []string
	for len(b) > 0 {
		if b[0] == tokList || b[0] >= tokAttr {
			return "", errCondition
		}
		text, rest, err := formatOperand(b)
		if err != nil {
			return "", err
		}
		items, b = append(items, text), rest
	}
	return "{" + strings.Join(items, ", ") + "}", nil
}

func formatInteger(v int64, sign, base byte) (string, error) {
	if sign < 1 || sign > 3 || base < 1 || base > 3 || sign == 1 && v < 0 || sign == 2 && v >= 0 {
		return "", errCondition
	}
	prefix := [...]string{"0", "", "0x"}[base-1]
	digits := strconv.FormatUint(magnitude(v), [...]int{8, 10, 16}[base-1])
	switch {
	case v < 0:
		return "-" + prefix + digits, nil
	case sign == 1:
		return "+" + prefix + digits, nil
	}
	return prefix + digits, nil
}

func magnitude(v int64) uint64 {
	if v < 0 {
		return -uint64(v)
	}
	return uint64(v)
}

// quoted is a string literal, which has no way to hold a quote.
func quoted(utf16 []byte) (string, error) {
	s := winfile.NameFromUTF16LE(utf16)
	if len(utf16)%2 != 0 || strings.ContainsAny(s, "\"") {
		return "", errCondition
	}
	return `"` + s + `"`, nil
}

// plainAttr are the characters of attribute names; others are %XXXX.
func plainAttr(c uint16) bool {
	return c < 0x80 && (c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || strings.IndexByte(":./_", byte(c)) >= 0)
}

func attributeText(kind int, utf16 []byte) (string, error) {
	if len(utf16) == 0 || len(utf16)%2 != 0 {
		return "", errCondition
	}
	var b strings.Builder
	for i := 0; i < len(utf16); i += 2 {
		c := le.Uint16(utf16[i:])
		if plainAttr(c) && !(kind == 0 && i == 0) || kind == 0 && i == 0 && c < 0x80 && (c|0x20 >= 'a' && c|0x20 <= 'z') {
			b.WriteByte(byte(c))
		} else {
			fmt.Fprintf(&b, "%%%04x", c)
		}
	}
	name := b.String()
	if kind == 0 && slices.ContainsFunc(operators, func(o operator) bool { return strings.EqualFold(o.text, name) }) {
		name = fmt.Sprintf("%%%04x", name[0]) + name[1:]
	}
	return attrPrefix[kind] + name, nil
}

// appendCondition reads an expression in parentheses and appends its tokens, padded.
func (p *parser) appendCondition(ace []byte) ([]byte, error) {
	if err := p.need("("); err != nil {
		return nil, err
	}
	start := len(ace)
	ace, err := p.expression(append(ace, conditionMagic...), levelOr, 0)
	if err != nil {
		return nil, err
	}
	for (len(ace)-start)%4 != 0 {
		ace = append(ace, 0)
	}
	return ace, p.need(")")
}

// expression appends operands joined by operators of a level and of those above it.
func (p *parser) expression(b []byte, level, depth int) (_ []byte, err error) {
	if depth > maxNesting {
		return nil, errNesting
	}
	if level == levelTerm {
		return p.term(b, depth)
	}
	token, word := byte(0xa1), "||"
	if level == levelAnd {
		token, word = 0xa0, "&&"
	}
	if b, err = p.expression(b, level+1, depth); err != nil {
		return nil, err
	}
	for p.take(word) {
		if b, err = p.expression(b, level+1, depth); err != nil {
			return nil, err
		}
		b = append(b, token)
	}
	return b, nil
}

// term reads (…), !…, a unary operator with its operand, a relation, or an attribute alone.
func (p *parser) term(b []byte, depth int) ([]byte, error) {
	var err error
	if p.take("(") {
		if b, err = p.expression(b, levelOr, depth+1); err != nil {
			return nil, err
		}
		return b, p.need(")")
	}
	if p.take("!") {
		if depth > maxNesting {
			return nil, errNesting
		}
		if b, err = p.term(b, depth+1); err != nil {
			return nil, err
		}
		return append(b, 0xa2), nil
	}
	for _, o := range operators {
		if o.operands != 1 || o.text == "!" || !p.takeWord(o.text) {
			continue
		}
		if b, _, err = p.operand(b); err != nil {
			return nil, err
		}
		return append(b, o.token), nil
	}
	b, attr, err := p.operand(b)
	if err != nil {
		return nil, err
	}
	for _, o := range operators {
		if o.operands != 2 || o.level != levelTerm || !p.takeOperator(o.text) {
			continue
		}
		if b, _, err = p.operand(b); err != nil {
			return nil, err
		}
		return append(b, o.token), nil
	}
	if !attr {
		return nil, errors.New("want a relation between values")
	}
	return b, nil
}

func (p *parser) takeOperator(text string) bool {
	if text[0]|0x20 >= 'a' {
		return p.takeWord(text)
	}
	return p.take(text)
}

// takeWord is take for a word that must end there.
func (p *parser) takeWord(word string) bool {
	p.space()
	if len(p.s) > len(word) && (plainAttr(uint16(p.s[len(word)])) || p.s[len(word)] == '%') {
		return false
	}
	return p.take(word)
}

// operand appends a literal, a list or an attribute name.
func (p *parser) operand(b []byte) (_ []byte, attr bool, err error) {
	p.space()
	if p.take("{") {
		at := len(b)
		b = append(b, tokList, 0, 0, 0, 0)
		for first := true; !p.take("}"); first = false {
			if !first {
				if err := p.need(","); err != nil {
					return nil, false, err
				}
			}
			if b, err = p.literal(b); err != nil {
				return nil, false, err
			}
		}
		le.PutUint32(b[at+1:], uint32(len(b)-at-5))
		return b, false, nil
	}
	if p.s == "" {
		return nil, false, errors.New("the expression ends early")
	}
	if strings.ContainsAny(p.s[:1], `"#+-0123456789`) || len(p.s) > 3 && strings.EqualFold(p.s[:4], "SID(") {
		b, err = p.literal(b)
		return b, false, err
	}
	b, err = p.attribute(b)
	return b, true, err
}

func appendCounted(b []byte, token byte, data []byte) []byte {
	return append(le.AppendUint32(append(b, token), uint32(len(data))), data...)
}

func (p *parser) literal(b []byte) ([]byte, error) {
	p.space()
	switch {
	case strings.HasPrefix(p.s, `"`):
		s, err := p.quotedString()
		return appendCounted(b, tokString, winfile.AppendUTF16LE(nil, s)), err
	case strings.HasPrefix(p.s, "#"):
		p.s = p.s[1:]
		n := 0
		for n < len(p.s) && strings.IndexByte("0123456789abcdefABCDEF", p.s[n]) >= 0 {
			n++
		}
		data, err := hex.DecodeString(p.s[:n])
		p.s = p.s[n:]
		return appendCounted(b, tokOctets, data), err
	case p.take("SID("):
		sid, err := p.sid()
		if err != nil {
			return nil, err
		}
		return appendCounted(b, tokSID, sid), p.need(")")
	}
	return p.integer(b)
}

func (p *parser) quotedString() (string, error) {
	if err := p.need(`"`); err != nil {
		return "", err
	}
	n := strings.IndexByte(p.s, '"')
	if n < 0 {
		return "", errors.New("a quote is not closed")
	}
	s := p.s[:n]
	p.s = p.s[n+1:]
	return s, nil
}

func (p *parser) integer(b []byte) ([]byte, error) {
	sign, base, negative := byte(3), byte(2), false
	if p.take("+") {
		sign = 1
	} else if p.take("-") {
		sign, negative = 2, true
	}
	n := 0
	for n < len(p.s) && (p.s[n] >= '0' && p.s[n] <= '9' || p.s[n]|0x20 >= 'a' && p.s[n]|0x20 <= 'f' || p.s[n]|0x20 == 'x') {
		n++
	}
	digits := p.s[:n]
	radix := 10
	switch {
	case len(digits) > 2 && strings.EqualFold(digits[:2], "0x"):
		base, radix, digits = 3, 16, digits[2:]
	case len(digits) > 1 && digits[0] == '0':
		base, radix, digits = 1, 8, digits[1:]
	}
	v, err := strconv.ParseUint(digits, radix, 64)
	if err != nil {
		return nil, fmt.Errorf("integer %q: %w", p.s[:n], errors.Unwrap(err))
	}
	if v > 1<<63 || v == 1<<63 && !negative || v == 0 && negative {
		return nil, fmt.Errorf("integer %q is out of range", p.s[:n])
	}
	p.s = p.s[n:]
	if negative {
		v = -v
	}
	b = le.AppendUint64(append(b, tokInt64), v)
	return append(b, sign, base), nil
}

func (p *parser) attribute(b []byte) ([]byte, error) {
	kind := 0
	for k := 1; k < len(attrPrefix); k++ {
		if p.take(attrPrefix[k]) {
			kind = k
			break
		}
	}
	n := 0
	for n < len(p.s) && (plainAttr(uint16(p.s[n])) || p.s[n] == '%' || p.s[n] >= 0x80) {
		n++
	}
	if n == 0 {
		return nil, errors.New("want an attribute name, a literal or {…}")
	}
	var name []byte
	for text := p.s[:n]; text != ""; {
		at := strings.IndexByte(text, '%')
		if at < 0 {
			at = len(text)
		}
		name = winfile.AppendUTF16LE(name, text[:at])
		if text = text[at:]; text == "" {
			break
		}
		if len(text) < 5 {
			return nil, fmt.Errorf("%q, want %% and four hex digits", text)
		}
		c, err := strconv.ParseUint(text[1:5], 16, 16)
		if err != nil {
			return nil, fmt.Errorf("%q, want %% and four hex digits", text[:5])
		}
		name, text = le.AppendUint16(name, uint16(c)), text[5:]
	}
	p.s = p.s[n:]
	return appendCounted(b, tokAttr+byte(kind), name), nil
}

package capconf

import (
	"bytes"
	"strings"

	"husk/winfile"
)

// Matcher tells which pattern of a list a path matches. It is safe for concurrent use.
//
// Base names without wildcards are found in one map look-up per name of the path, whatever their number; paths from the
// root are kept as a tree, so that a path that leaves it costs no more; only base names with wildcards are tried one by one.
type Matcher struct {
	names map[string]int // folded base names to pattern index
	wild  []wildName
	root  node
}

type wildName struct {
	glob  string // folded
	index int
}

// node is one name of anchored patterns; the root's is empty.
type node struct {
	literal map[string]*node
	wild    []wildNode
	index   int // pattern that ends here, -1 if none
}

type wildNode struct {
	glob string // folded
	node *node
}

// NewMatcher compiles a list of patterns.
func NewMatcher(patterns []Pattern) *Matcher {
	m := &Matcher{names: make(map[string]int), root: node{index: -1}}
	for i, p := range patterns {
		folded := winfile.Fold(p.text)
		switch {
		case folded == "":
		case p.Anchored():
			n := &m.root
			for name := range strings.SplitSeq(folded[1:], `\`) {
				n = n.child(name)
			}
			if n.index < 0 {
				n.index = i
			}
		case hasWildcard(folded):
			m.wild = append(m.wild, wildName{folded, i})
		default:
			if _, ok := m.names[folded]; !ok {
				m.names[folded] = i
			}
		}
	}
	return m
}

// child returns the node for a name of a pattern, making it if needed.
func (n *node) child(name string) *node {
	if !hasWildcard(name) {
		if c := n.literal[name]; c != nil {
			return c
		}
		if n.literal == nil {
			n.literal = make(map[string]*node)
		}
		c := &node{index: -1}
		n.literal[name] = c
		return c
	}
	for _, w := range n.wild {
		if w.glob == name {
			return w.node
		}
	}
	c := &node{index: -1}
	n.wild = append(n.wild, wildNode{name, c})
	return c
}

// Match returns the index of the first pattern of the list that matches path or a folder above it, or -1. A path is what
// [winfile.Tree.All] yields; either slash separates, and slashes at its ends do not matter.
func (m *Matcher) Match(path string) int {
	index, _ := m.scan(path)
	return index
}

// scan is Match, and also reports whether some anchored pattern is longer than path and starts with it.
func (m *Matcher) scan(path string) (index int, leads bool) {
	var pathBuf [512]byte
	var activeBuf, nextBuf [16]*node
	rest := foldPath(pathBuf[:0], path)
	active, next := append(activeBuf[:0], &m.root), nextBuf[:0]
	best := -1
	better := func(i int) {
		if i >= 0 && (best < 0 || i < best) {
			best = i
		}
	}
	for {
		var name []byte
		if name, rest = nextName(rest); name == nil {
			break
		}
		if i, ok := m.names[string(name)]; ok {
			better(i)
		}
		for _, w := range m.wild {
			if best >= 0 && w.index > best {
				break
			}
			if globMatch(w.glob, name) {
				better(w.index)
			}
		}
		next = next[:0]
		for _, n := range active {
			for _, w := range n.wild {
				if globMatch(w.glob, name) {
					next = append(next, w.node)
					better(w.node.index)
				}
			}
			if c := n.literal[string(name)]; c != nil {
				next = append(next, c)
				better(c.index)
			}
		}
		active, next = next, active
	}
	for _, n := range active {
		leads = leads || len(n.literal) > 0 || len(n.wild) > 0
	}
	return best, leads
}

// foldPath appends the folded path to b, with slashes between names.
func foldPath(b []byte, path string) []byte {
	start := len(b)
	for i := range len(path) {
		c := path[i]
		switch {
		case c >= 0x80:
			return append(b[:start], strings.ReplaceAll(winfile.Fold(path), `\`, "/")...)
		case c >= 'a' && c <= 'z':
			c -= 'a' - 'A'
		case c == '\\':
			c = '/'
		}
		b = append(b, c)
	}
	return b
}

// nextName cuts the first name off a folded path. Empty names and "." do not count; after the last it returns nil.
func nextName(path []byte) (name, rest []byte) {
	for len(path) > 0 {
		n := 0
		for n < len(path) && path[n] != '/' {
			n++
		}
		name, path = path[:n], path[min(n+1, len(path)):]
		if n > 0 && string(name) != "." {
			return name, path
		}
	}
	return nil, nil
}

func hasWildcard(s string) bool { return strings.ContainsAny(s, "*?") }

// globMatch matches one folded name. Only the last star is ever retried, so the time is at most the product of the lengths.
func globMatch(glob string, name []byte) bool {
	g, n := 0, 0
	star, from := -1, 0 // last star, and where in name the text after it was tried
	for n < len(name) {
		switch {
		case g < len(glob) && glob[g] == '*':
			star, from = g, n
			if g++; g == len(glob) {
				return true
			}
		case g < len(glob) && glob[g] == '?':
			g++
			n += runeLen(name, n)
		case g < len(glob) && glob[g] == name[n]:
			g++
			n++
		case star >= 0:
			from += runeLen(name, from)
			g = star + 1
			if c := glob[g]; c != '?' { // nor a star: that would have become the last
				i := bytes.IndexByte(name[from:], c) // the first byte of a character is none's second
				if i < 0 {
					return false
				}
				from += i
			}
			n = from
		default:
			return false
		}
	}
	for g < len(glob) && glob[g] == '*' {
		g++
	}
	return g == len(glob)
}

// runeLen is the length of the WTF-8 character at b[i:].
func runeLen(b []byte, i int) int {
	n := 1
	switch c := b[i]; {
	case c >= 0xf0:
		n = 4
	case c >= 0xe0:
		n = 3
	case c >= 0xc0:
		n = 2
	}
	return min(n, len(b)-i)
}

package tree

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"unicode"
)

// ExcludeFunc tells whether an entry, and what is below it, is left out. The path has slashes and is relative to the root.
type ExcludeFunc func(path string, isDir bool) bool

// maxListed bounds lists of problems and examples: a broken disk must not fill memory with messages.
const maxListed = 100

// Problem is what went wrong with one path.
type Problem struct {
	Path string // slash-separated, relative to the root of the tree
	Err  error
}

// Error shows the path as it is, or quoted if that could confuse a terminal.
func (p Problem) Error() string {
	path := p.Path
	if strings.ContainsFunc(path, func(r rune) bool { return !unicode.IsPrint(r) }) {
		path = strconv.Quote(path)
	}
	return path + ": " + p.Err.Error()
}

func (p Problem) Unwrap() error { return p.Err }

// Problems counts problems and lists the first of them. It is an error if there are any.
type Problems struct {
	What  string // what they mean together, such as "not scanned"
	Total int
	List  []Problem // the first 100

	mu sync.Mutex
}

func (p *Problems) add(path string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.Total++; len(p.List) < maxListed {
		p.List = append(p.List, Problem{path, err})
	}
}

// Error lists the problems, one per line.
func (p *Problems) Error() string {
	if p.Total == 1 {
		return fmt.Sprintf("%s: %v", p.What, p.List[0])
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d paths", p.What, p.Total)
	for _, q := range p.List {
		b.WriteString("\n\t" + q.Error())
	}
	if more := p.Total - len(p.List); more > 0 {
		fmt.Fprintf(&b, "\n\tand %d more", more)
	}
	return b.String()
}

// Unwrap gives the listed problems to [errors.Is] and [errors.As].
func (p *Problems) Unwrap() []error {
	errs := make([]error, len(p.List))
	for i, q := range p.List {
		errs[i] = q
	}
	return errs
}

func (p *Problems) orNil() error {
	if p.Total == 0 {
		return nil
	}
	return p
}

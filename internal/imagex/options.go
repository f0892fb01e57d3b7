package imagex

import (
	"fmt"
	"slices"
	"strings"
)

// State is what becomes of an option.
type State int

const (
	Works   State = iota
	Refused       // husk says why, and does nothing
	NotHere       // means something on Windows only, as in wimlib
)

func (s State) String() string { return [...]string{"works", "refused", "not on this OS"}[s] }

// Option is one option of a command.
type Option struct {
	Name  string // without dashes
	Arg   string // what its argument is called; "" if it takes none
	State State
	Note  string // why it is refused, or what there is to know
	Alias string // the option that this is another name of
}

// Command is one command of the program.
type Command struct {
	Name     string
	Synopsis string // its arguments
	Options  []Option
	min, max int // number of arguments; max -1 means any
	run      func(*call) error
}

func (c *Command) option(name string) *Option {
	for i := range c.Options {
		if c.Options[i].Name == name {
			return &c.Options[i]
		}
	}
	return nil
}

// parsed is a command line that was taken apart.
type parsed struct {
	args   []string
	values map[string][]string // by option, aliases resolved
}

func (p *parsed) has(name string) bool { return p.values[name] != nil }

// value is the last one that an option was given.
func (p *parsed) value(name string) string {
	v := p.values[name]
	if len(v) == 0 {
		return ""
	}
	return v[len(v)-1]
}

// parse takes a command line apart as getopt_long does: options anywhere, beginnings of names that only one option has, arguments
// behind "=" or as the next word, and "--" as the end of options.
func (c *Command) parse(words []string) (*parsed, error) {
	p := &parsed{values: make(map[string][]string)}
	for i := 0; i < len(words); i++ {
		w := words[i]
		if w == "--" {
			p.args = append(p.args, words[i+1:]...)
			break
		}
		name, ok := strings.CutPrefix(w, "--")
		if !ok {
			if len(w) > 1 && w[0] == '-' {
				return nil, fmt.Errorf("%s: invalid option -- '%s'", c.Name, w[1:2])
			}
			p.args = append(p.args, w)
			continue
		}
		name, value, given := strings.Cut(name, "=")
		o, err := c.find(name)
		if err != nil {
			return nil, err
		}
		switch {
		case o.Arg == "" && given:
			return nil, fmt.Errorf("%s: option '--%s' doesn't allow an argument", c.Name, o.Name)
		case o.Arg != "" && !given:
			if i++; i == len(words) {
				return nil, fmt.Errorf("%s: option '--%s' requires an argument", c.Name, o.Name)
			}
			value = words[i]
		}
		key := o.Name
		if o.Alias != "" {
			key = o.Alias
		}
		if o.State == Refused {
			return nil, fail(codeUnsupported, "--%s: %s", o.Name, o.Note)
		}
		p.values[key] = append(p.values[key], value)
	}
	return p, nil
}

func (c *Command) find(name string) (*Option, error) {
	if o := c.option(name); o != nil {
		return o, nil
	}
	var found []*Option
	for i := range c.Options {
		if o := &c.Options[i]; name != "" && strings.HasPrefix(o.Name, name) {
			same := func(f *Option) bool {
				return f.Alias == o.Name || o.Alias == f.Name || o.Alias != "" && o.Alias == f.Alias
			}
			if !slices.ContainsFunc(found, same) {
				found = append(found, o)
			}
		}
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("%s: unrecognized option '--%s'", c.Name, name)
	case 1:
		return found[0], nil
	}
	return nil, fmt.Errorf("%s: option '--%s' is ambiguous", c.Name, name)
}

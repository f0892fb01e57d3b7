package imagex

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"husk/wim"
)

// Version is the version of wimlib-imagex whose command line this is.
const Version = "1.14.5"

// programName is what the whole program is called.
const programName = "wimlib-imagex"

// Env is what a command line works with.
type Env struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Husk           string // version of husk

	Mount   func(ctx context.Context, m *MountRequest) error   // nil if nothing can be mounted here
	Unmount func(ctx context.Context, u *UnmountRequest) error // nil likewise
}

// MountRequest is what mount and mountrw ask for.
type MountRequest struct {
	WIM        string
	Image      int
	Refs       []string // files, patterns expanded
	Dir        string
	Writable   bool
	Staging    string // directory for what is changed; "" means that of the WIM
	Streams    string // none, xattr or windows
	AllowOther bool
	Unix       bool
	Debug      bool // stay in the foreground
}

// UnmountRequest is what unmount asks for.
type UnmountRequest struct {
	Dir                                           string
	Commit, Force, Check, Rebuild, Lazy, NewImage bool
}

// Persona tells whether a program that is called name acts as wimlib-imagex, and the command that the name stands for, if one.
func Persona(name string) (command string, ok bool) {
	base := strings.TrimSuffix(strings.ToLower(filepath.Base(filepath.ToSlash(name))), ".exe")
	if base == programName {
		return "", true
	}
	command, ok = strings.CutPrefix(base, "wim")
	return command, ok && find(command) != nil
}

// Main runs a command line: the words behind the name of the program, or behind a name that stands for a command. It returns the exit
// code.
func Main(ctx context.Context, env *Env, command string, words []string) int {
	if command == "" {
		if len(words) == 0 {
			fmt.Fprintf(env.Stderr, "ERROR: No command specified!\n\n")
			usageOfAll(env.Stderr)
			return codeCommand
		}
		command, words = words[0], words[1:]
		switch command {
		case "--help", "-h":
			usageOfAll(env.Stdout)
			return 0
		case "--version":
			version(env)
			return 0
		}
	}
	c := find(command)
	if c == nil {
		fmt.Fprintf(env.Stderr, "ERROR: Unrecognized command: `%s'\n\n", command)
		usageOfAll(env.Stderr)
		return codeCommand
	}
	k := &call{ctx: ctx, env: env, command: c, out: env.Stdout}
	err := k.execute(words)
	return k.report(err)
}

func version(env *Env) {
	fmt.Fprintf(env.Stdout, "%s %s (using husk %s)\nhusk is free software under the Apache License 2.0; there is no warranty.\n", programName, Version, env.Husk)
}

func find(name string) *Command {
	i := slices.IndexFunc(Commands, func(c *Command) bool { return c.Name == name })
	if i < 0 {
		return nil
	}
	return Commands[i]
}

// call is one run of a command.
type call struct {
	ctx     context.Context
	env     *Env
	command *Command
	*parsed
	out     io.Writer // for information: progress and the like
	closers []io.Closer
	bar     *progress // that of the writer at work
}

func (k *call) execute(words []string) (err error) {
	if slices.Contains(words, "--help") {
		usageOf(k.env.Stdout, k.command)
		return nil
	}
	if slices.Contains(words, "--version") {
		version(k.env)
		return nil
	}
	if k.parsed, err = k.command.parse(words); err != nil {
		var f *failure
		if errors.As(err, &f) {
			return err
		}
		return &usageError{err}
	}
	if k.has("quiet") {
		k.out = io.Discard
	}
	if n := len(k.args); n < k.command.min || k.command.max >= 0 && n > k.command.max {
		return &usageError{}
	}
	defer func() {
		for _, c := range slices.Backward(k.closers) {
			err = errors.Join(err, c.Close())
		}
	}()
	return k.command.run(k)
}

// report prints what went wrong and returns the exit code.
func (k *call) report(err error) int {
	if err == nil {
		return 0
	}
	var u *usageError
	if errors.As(err, &u) {
		if u.err != nil {
			fmt.Fprintf(k.env.Stderr, "ERROR: %v\n", u.err)
		}
		usageOf(k.env.Stderr, k.command)
		return codeUsage
	}
	var plain *argumentError
	if errors.As(err, &plain) {
		fmt.Fprintf(k.env.Stderr, "ERROR: %v\n", err)
		return codeUsage
	}
	if interrupted(k.ctx) {
		fmt.Fprintf(k.env.Stderr, "ERROR: interrupted\n")
		return 130
	}
	var f *failure
	if !errors.As(coded(err, codeRead), &f) {
		f = &failure{codeRead, err}
	}
	fmt.Fprintf(k.env.Stderr, "[ERROR] %v\nERROR: Exiting with error code %d:\n       %s\n", err, f.code, meanings[f.code])
	return f.code
}

// argumentError is about the value of an option: exit code 255, without the usage.
type argumentError struct{ error }

func badArgument(format string, args ...any) error {
	return &argumentError{fmt.Errorf(format, args...)}
}

func (k *call) warn(format string, args ...any) {
	fmt.Fprintf(k.env.Stderr, "[WARNING] "+format+"\n", args...)
}

func (k *call) say(format string, args ...any) { fmt.Fprintf(k.out, format, args...) }

// arg is an argument, "" if there are not so many.
func (k *call) arg(n int) string {
	if n < len(k.args) {
		return k.args[n]
	}
	return ""
}

func usageOf(w io.Writer, c *Command) {
	fmt.Fprintln(w, "Usage:")
	writeUsage(w, c)
	fmt.Fprintf(w, "\ndocs/wimlib-imagex.md tells of every option; 'husk imagex %s' is the same command.\n", c.Name)
}

func usageOfAll(w io.Writer) {
	b := bufio.NewWriter(w)
	fmt.Fprintln(b, "Usage:")
	for _, c := range Commands {
		writeUsage(b, c)
	}
	fmt.Fprintf(b, "    %[1]s --help\n    %[1]s --version\n\nIMAGE is the number of an image, from 1, or its name; for some commands \"all\".\n", programName)
	b.Flush()
}

func writeUsage(w io.Writer, c *Command) {
	line := fmt.Sprintf("    %s %s %s", programName, c.Name, c.Synopsis)
	for _, o := range c.Options {
		if o.Alias != "" || o.Name == "quiet" || o.Name == "help" || o.Name == "version" {
			continue
		}
		word := "[--" + o.Name + "]"
		if o.Arg != "" {
			word = "[--" + o.Name + "=" + o.Arg + "]"
		}
		if len(line)+1+len(word) > 78 {
			fmt.Fprintln(w, line)
			line = "                   "
		}
		line += " " + word
	}
	fmt.Fprintf(w, "%s\n\n", line)
}

// threads is the number that --threads has, 0 if not given.
func (k *call) threads() (int, error) {
	s := k.value("threads")
	if s == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > 1<<16 {
		return 0, badArgument("Number of threads must be a non-negative integer!")
	}
	return n, nil
}

// open opens a WIM and what --ref has, checking integrity tables if --check is given.
func (k *call) open(name string) (*wim.Reader, error) {
	r, err := k.openOne(name)
	if err != nil {
		return nil, err
	}
	refs, err := k.refs(name)
	if err != nil {
		return nil, err
	}
	for _, ref := range refs {
		o, err := k.openOne(ref)
		if err != nil {
			return nil, err
		}
		r.Reference(o)
	}
	return r, nil
}

func (k *call) openOne(name string) (*wim.Reader, error) {
	if st, err := os.Stat(name); err == nil && st.IsDir() {
		return nil, fail(codeRead, "%q: Error reading header: it is a directory", name)
	}
	r, err := wim.Open(name)
	if err != nil {
		return nil, coded(fmt.Errorf("%s: %w", name, err), codeOpen)
	}
	k.closers = append(k.closers, r)
	for _, p := range r.Problems() {
		k.warn("%s: %v", name, p)
	}
	return r, k.check(r, name)
}

// check verifies the integrity table if --check asks for it.
func (k *call) check(r *wim.Reader, name string) error {
	if !k.has("check") {
		return nil
	}
	if !r.HasIntegrity() {
		k.warn("%q does not contain integrity information.  Skipping integrity check.", name)
		return nil
	}
	if err := r.VerifyIntegrity(k.ctx); err != nil {
		return fail(codeIntegrity, "%s: %w", name, err)
	}
	return nil
}

// refs expands the patterns of --ref; own is not among the result.
func (k *call) refs(own string) ([]string, error) {
	var list []string
	for _, pattern := range k.values["ref"] {
		names, err := filepath.Glob(pattern)
		if err != nil || len(names) == 0 {
			if _, serr := os.Stat(pattern); serr != nil {
				return nil, fail(codeOpen, "Can't open %q read-only: no file has such a name", pattern)
			}
			names = []string{pattern}
		}
		for _, n := range names {
			if !sameFile(n, own) && !slices.Contains(list, n) {
				list = append(list, n)
			}
		}
	}
	return list, nil
}

func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// allImages stands for every image.
const allImages = -1

// image finds what the word of a command line means: the number of an image, or allImages.
func (k *call) image(r *wim.Reader, name, word string) (int, error) {
	images := r.Images()
	if strings.EqualFold(word, "all") {
		return allImages, nil
	}
	if n, err := strconv.Atoi(word); err == nil && n >= 1 && n <= len(images) {
		return n, nil
	}
	for _, i := range images {
		if word != "" && i.Name() == word {
			return i.Index, nil
		}
	}
	if n, err := strconv.Atoi(word); err == nil && n == 0 {
		return 0, nil
	}
	return 0, k.noImage(name, word)
}

func (k *call) noImage(name, word string) error {
	return fail(codeImage, "%q is not a valid image in %q!\n       Give its number or name; '%s info %q' lists them.", word, name, programName, name)
}

// oneImage is image for a command that takes one; without a word it is the only one.
func (k *call) oneImage(r *wim.Reader, name, word string, given bool) (*wim.Image, error) {
	n, err := k.images(r, name, word, given, false)
	if err != nil {
		return nil, err
	}
	return n[0], nil
}

// images are those that a word means; without a word the only one.
func (k *call) images(r *wim.Reader, name, word string, given, all bool) ([]*wim.Image, error) {
	list := r.Images()
	if !given {
		if len(list) == 1 {
			return list, nil
		}
		or := ""
		if all {
			or = " (or all)"
		}
		return nil, usage("%q contains %d images; Please select one%s.", name, len(list), or)
	}
	n, err := k.image(r, name, word)
	switch {
	case err != nil:
		return nil, err
	case n == allImages && !all:
		return nil, fail(codeImage, "Cannot specify all images for this action!")
	case n == allImages:
		return list, nil
	case n == 0:
		return nil, k.noImage(name, word)
	}
	return list[n-1 : n], nil
}

// isDevice reports whether a name is a block device or a regular file: what an NTFS volume may be in.
func isDevice(name string) (bool, error) {
	st, err := os.Stat(name)
	if err != nil {
		return false, err
	}
	m := st.Mode()
	return m.IsRegular() || m&fs.ModeDevice != 0 && m&fs.ModeCharDevice == 0, nil
}

// workers is how many threads work, for the lines that say so.
func workers(n int) int {
	if n == 0 {
		return runtime.GOMAXPROCS(0)
	}
	return n
}

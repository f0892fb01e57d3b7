package guide

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"unicode"

	"husk/internal/convert"
	"husk/internal/store"
	"husk/internal/ui"
)

// Options is what a guide works with.
type Options struct {
	Lang  string                           // "en" or "zh-CN"
	NewUI func(lang string) *ui.UI         // a session on the terminal in a language
	Run   func(args []string) (status int) // runs a command line of husk, without the name of the program
}

// guide is one session.
type guide struct {
	*Options
	ctx context.Context
	ui  *ui.UI
}

// item is a line of the menu.
type item struct {
	title string // message key
	do    func() error
}

// errBack ends a form: the user entered nothing where something is needed.
var errBack = errors.New("back to the menu")

// Run shows the menu until the user leaves, or the input ends.
func Run(ctx context.Context, o *Options) error {
	g := &guide{Options: o, ctx: ctx, ui: o.NewUI(o.Lang)}
	g.ui.Yes = false // a guide that answers itself would ask forever
	t := g.ui.T
	items := []item{
		{t("Find Windows systems"), g.detect}, {t("Make a husk of an installed Windows"), g.convert}, {t("Add a point: keep the state of a system"), g.point},
		{t("Restore a system to a point"), g.restore}, {t("See how a system stands"), g.status}, {t("Make a system small again"), g.slim},
	}
	g.ui.Say("husk keeps whole Windows systems in one WIM. Enter takes what stands in brackets; every step shows its command.")
	for ctx.Err() == nil {
		g.ui.Say("")
		for i, it := range items {
			g.ui.Say("%d. %s", i+1, it.title)
		}
		other := "中文"
		if g.Lang == "zh-CN" {
			other = "English"
		}
		g.ui.Say("%s. %s", "l", other)
		g.ui.Say("%s. %s", "q", t("Leave"))
		answer, err := g.ui.Ask("1", "What is to be done?")
		if err != nil {
			return ended(err)
		}
		switch answer = strings.ToLower(answer); answer {
		case "q", "0":
			return nil
		case "l":
			next := *o
			next.Lang = map[string]string{"en": "zh-CN", "zh-CN": "en"}[g.Lang]
			return Run(ctx, &next)
		}
		k := int(answer[0] - '1')
		if len(answer) != 1 || k < 0 || k >= len(items) {
			g.ui.Say("%q is not in the menu.", answer)
			continue
		}
		if err := items[k].do(); err != nil && !errors.Is(err, errBack) {
			if errors.Is(err, io.EOF) || ctx.Err() != nil {
				return ended(err)
			}
			g.ui.Error(err, g.ui.HintOf(err))
		}
	}
	return ctx.Err()
}

// ended is no error where the input just ended.
func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// run shows a command, and runs it if the user agrees.
func (g *guide) run(args ...string) error {
	g.ui.Say("")
	g.ui.Say("Command: %s", commandLine(args))
	if !g.ui.Accept("Run it?") {
		return errBack
	}
	status := g.Run(append(args, "--lang="+g.Lang))
	if status != 0 {
		g.ui.Say("The command ended with status %d.", status)
	}
	return nil
}

// commandLine is the command as a user would write it.
func commandLine(args []string) string {
	words := []string{"husk"}
	for _, a := range args {
		plain := a != "" && !strings.ContainsFunc(a, func(r rune) bool {
			return unicode.IsSpace(r) || strings.ContainsRune("\"'`$&|;<>()*?!#~", r) || unicode.IsControl(r)
		})
		if !plain {
			a = `"` + strings.ReplaceAll(a, `"`, `\"`) + `"`
		}
		words = append(words, a)
	}
	return strings.Join(words, " ")
}

// need asks for what there must be.
func (g *guide) need(proposal, format string, args ...any) (string, error) {
	for range 3 {
		s, err := g.ui.Ask(proposal, format, args...)
		if err != nil {
			return "", err
		}
		if s != "" {
			return s, nil
		}
	}
	return "", errBack
}

func (g *guide) detect() error {
	path, err := g.ui.Ask("", "Disk, image or folder to look at (Enter: all disks of this machine)")
	if err != nil {
		return err
	}
	if path == "" {
		return g.run("detect")
	}
	return g.run("detect", path)
}

// look detects what there is, for proposals.
func (g *guide) look(quick bool) (*convert.Detection, error) {
	return convert.Detect(g.ctx, nil, &convert.DetectOptions{Quick: quick})
}

func (g *guide) convert() error {
	d, err := g.look(true)
	if err != nil {
		return err
	}
	o := &convert.Options{}
	if len(convert.Propose(d)) == 0 {
		if o.System, err = g.need("", "System to convert: a disk, DISK:PARTITION, or an image"); err != nil {
			return err
		}
		if d, err = convert.Detect(g.ctx, []string{diskOf(o.System)}, &convert.DetectOptions{Quick: true}); err != nil {
			return err
		}
		o.System = ""
	}
	if err := Conversion(g.ui, d, o); err != nil {
		return err
	}
	args := []string{"convert", o.System}
	if o.Target != "" {
		args = append(args, o.Target)
	}
	if o.Store != "" {
		args = append(args, "--store="+o.Store)
	}
	if o.Boot != "" {
		args = append(args, "--boot="+o.Boot)
	}
	return g.run(args...)
}

// diskOf is DISK of DISK:PARTITION. A drive letter is no disk.
func diskOf(spec string) string {
	i := strings.LastIndexByte(spec, ':')
	if i < 2 || strings.Trim(spec[i+1:], "0123456789") != "" {
		return spec
	}
	return spec[:i]
}

// husks lists the disks with pointer files on them.
func husks(d *convert.Detection) []*convert.Volume {
	var list []*convert.Volume
	for _, v := range d.Systems() {
		if f := v.System.Files; f != nil && f.Pointers > 0 {
			list = append(list, v)
		}
	}
	return list
}

// husk asks for a system that is one, and proposes the first that was found.
func (g *guide) husk(proposal string) (string, error) {
	d, err := g.look(false)
	if err != nil {
		return "", err
	}
	for i, v := range husks(d) {
		if i == 0 && proposal == "" {
			proposal = v.Spec
		}
		g.ui.Say("%s: %s", v.Spec, v.System.Title)
	}
	return g.need(proposal, "Disk of the system")
}

// knownDisk is the disk of a system, or of any if none is named, that a store knows, the first if there are several; "" if it knows none.
func knownDisk(dir, system string) string {
	if dir == "" {
		return ""
	}
	s, err := store.Open(dir, nil)
	if err != nil {
		return "" // which whoever uses the store will tell
	}
	defer s.Close()
	for _, d := range s.Disks() {
		if (system == "" || strings.EqualFold(d.System, system)) && filepath.Ext(d.Path) != ".old" && filepath.Ext(d.Path) != ".new" {
			return d.Path
		}
	}
	return ""
}

// nearStore is the first folder at hand that is a store; "" if there is none.
func nearStore() string {
	for _, dir := range []string{".", "wimboot", "store", "husk"} {
		wims, err := filepath.Glob(filepath.Join(dir, convert.WIMName))
		if store.Is(dir) || err == nil && len(wims) > 0 {
			return dir
		}
	}
	return ""
}

// store asks for a store, and proposes the one at hand.
func (g *guide) store() (string, error) { return g.need(nearStore(), "Store (the folder of the WIMs)") }

// points lists the points of a store, and returns the newest.
func (g *guide) points(dir string) (string, error) {
	s, err := store.Open(dir, nil)
	if err != nil {
		return "", err
	}
	defer s.Close()
	newest := ""
	for _, p := range s.Points() {
		line := p.Date.Local().Format("2006-01-02 15:04")
		if p.Note != "" {
			line += "  " + printable(p.Note)
		}
		newest = p.String()
		g.ui.Say("%s: %s", printable(newest), line)
	}
	return newest, nil
}

// printable is a text without control characters.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '?'
		}
		return r
	}, s)
}

func (g *guide) point() error {
	dir, err := g.store()
	if err != nil {
		return err
	}
	newest, err := g.points(dir)
	if err != nil {
		return err
	}
	proposal, _, _ := strings.Cut(newest, "@")
	system, err := g.need(proposal, "Name of the system in the store")
	if err != nil {
		return err
	}
	disk, err := g.husk(knownDisk(dir, system))
	if err != nil {
		return err
	}
	text, err := g.ui.Ask("", "Note on the point (Enter: none)")
	if err != nil {
		return err
	}
	args := []string{"point", "add", dir, system, disk}
	if text != "" {
		args = append(args, "-m", text)
	}
	return g.run(args...)
}

func (g *guide) restore() error {
	dir, err := g.store()
	if err != nil {
		return err
	}
	newest, err := g.points(dir)
	if err != nil {
		return err
	}
	point, err := g.need(newest, "Point to restore")
	if err != nil {
		return err
	}
	system, _, _ := strings.Cut(point, "@")
	disk, err := g.husk(knownDisk(dir, system))
	if err != nil {
		return err
	}
	return g.run("restore", dir+":"+point, disk)
}

func (g *guide) status() error {
	disk, err := g.husk(knownDisk(nearStore(), ""))
	if err != nil {
		return err
	}
	return g.run("status", disk)
}

func (g *guide) slim() error {
	disk, err := g.husk(knownDisk(nearStore(), ""))
	if err != nil {
		return err
	}
	return g.run("slim", disk)
}

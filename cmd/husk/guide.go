package main

import (
	"context"
	"os"

	"golang.org/x/term"

	"husk/internal/guide"
	"husk/internal/ui"
)

// guided runs the guide if there is a terminal to lead somebody on, and reports whether there is.
func (a *app) guided(ctx context.Context, lang string) (bool, error) {
	stdin, stdout, stderr := a.ui.Streams()
	out, ok := stdout.(*os.File)
	if !a.ui.CanAsk() || a.ui.Yes || a.ui.Quiet || !ok || !term.IsTerminal(int(out.Fd())) {
		return false, nil
	}
	return true, guide.Run(ctx, &guide.Options{
		Lang:  ui.Language(lang),
		NewUI: func(lang string) *ui.UI { return ui.New(stdin, stdout, stderr, lang) },
		Run:   func(args []string) int { return run(args, stdin, stdout, stderr) },
	})
}

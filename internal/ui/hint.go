package ui

import "errors"

// ErrUsage marks a command line that cannot be understood.
var ErrUsage = errors.New("wrong usage")

// Usage marks err as ErrUsage without another word.
func Usage(err error) error { return usageError{err} }

type usageError struct{ error }

func (e usageError) Unwrap() error        { return e.error }
func (e usageError) Is(target error) bool { return target == ErrUsage }

// A Hinted error knows what the user can do next. Hint is a message key with its arguments.
type Hinted struct {
	Err  error
	Hint string
	Args []any
}

func (h *Hinted) Error() string { return h.Err.Error() }
func (h *Hinted) Unwrap() error { return h.Err }

// Hint adds what to do next to an error; nil stays nil.
func Hint(err error, hint string, args ...any) error {
	if err == nil {
		return nil
	}
	return &Hinted{err, hint, args}
}

// HintOf returns the translated hint of an error, or "".
func (u *UI) HintOf(err error) string {
	var h *Hinted
	if !errors.As(err, &h) {
		return ""
	}
	return u.T(h.Hint, h.Args...)
}

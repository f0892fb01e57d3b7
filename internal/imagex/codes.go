package imagex

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"husk/capconf"
	"husk/internal/filelock"
	"husk/internal/mount"
	"husk/internal/tree"
	"husk/wim"
)

// Exit codes of wimlib-imagex: those of the library, 255 for a command line that cannot be understood, 2 for no known command.
const (
	codeLocked      = 1
	codeDecompress  = 2
	codeFUSE        = 6
	codeNoGlob      = 8
	codeCollision   = 11
	codeIntegrity   = 13
	codeConfig      = 14
	codeChunkSize   = 15
	codeHeader      = 17
	codeImage       = 18
	codeMetadata    = 21
	codeOverlay     = 23
	codeParam       = 24
	codeHash        = 28
	codeIsDir       = 32
	codeSplit       = 33
	codeNotDir      = 40
	codeNotEmpty    = 41
	codeNotRegular  = 42
	codeNotWIM      = 43
	codeNTFS        = 46
	codeNotPipable  = 44
	codeOpen        = 47
	codePath        = 49
	codeRead        = 50
	codeMissing     = 55
	codeSplitSet    = 62
	codeStat        = 63
	codeEnd         = 65
	codeUnsupported = 68
	codeReadOnly    = 71
	codeWrite       = 72
	codeXML         = 73
	codeBusy        = 79
	codeNotMounted  = 80
	codeReadConfig  = 83

	codeCommand = 2
	codeUsage   = 255
)

// meanings are what the codes say, in husk's words.
var meanings = map[int]string{
	codeLocked: "The WIM is locked by another program.", codeDecompress: "Compressed data is damaged.", codeFUSE: "The file system in user space failed.",
	codeNoGlob: "A --ref pattern matches no file.", codeCollision: "The name is that of another image.", codeIntegrity: "The WIM does not match its integrity table.",
	codeConfig: "The capture configuration is not valid.", codeChunkSize: "There is no such chunk size.", codeHeader: "The header of the WIM is not valid.",
	codeImage: "There is no such image in the WIM.", codeMetadata: "The metadata of an image is damaged.", codeOverlay: "Files or directories are in each other's way.",
	codeParam: "An argument is not valid.", codeHash: "Data does not have the SHA-1 that the WIM gives for it.", codeIsDir: "The path is a directory.",
	codeSplit: "The WIM is a part of a split one.", codeNotDir: "The path is not a directory.", codeNotEmpty: "The directory is not empty.",
	codeNotRegular: "A path to extract is not a regular file.", codeNotWIM: "The file is not a WIM.", codeNotPipable: "The WIM is not one that can be read from a pipe.",
	codeNTFS: "The NTFS volume could not be read or written.",
	codeOpen: "A file could not be opened.", codePath: "There is no such path in the image.", codeRead: "A file could not be read.",
	codeMissing: "The WIM lacks data that the image needs.", codeSplitSet: "The parts are not those of one split WIM.", codeStat: "The metadata of a file could not be read.", codeEnd: "The file ends too early.",
	codeUnsupported: "The operation is not supported.", codeReadOnly: "The WIM is read-only.", codeWrite: "Data could not be written.",
	codeXML: "The XML data of the WIM is not valid.", codeBusy: "The mounted image is in use.", codeNotMounted: "No image is mounted there.",
	codeReadConfig: "The capture configuration could not be read.",
}

// failure is an error with its exit code.
type failure struct {
	code int
	err  error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func fail(code int, format string, args ...any) error {
	return &failure{code, fmt.Errorf(format, args...)}
}

// usageError is about a command line: the usage follows it.
type usageError struct{ err error }

func (u *usageError) Error() string { return u.err.Error() }
func (u *usageError) Unwrap() error { return u.err }

func usage(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// coded gives an error an exit code by what it is; fallback if nothing is known.
func coded(err error, fallback int) error {
	var f *failure
	var u *usageError
	var syntax *capconf.SyntaxError
	var format *wim.FormatError
	switch {
	case err == nil || errors.As(err, &f) || errors.As(err, &u):
		return err
	case errors.Is(err, filelock.ErrLocked):
		return &failure{codeLocked, err}
	case errors.Is(err, mount.ErrBusy):
		return &failure{codeBusy, err}
	case errors.Is(err, wim.ErrChecksum):
		return &failure{codeHash, err}
	case errors.Is(err, wim.ErrMissing):
		return &failure{codeMissing, err}
	case errors.Is(err, errors.ErrUnsupported):
		return &failure{codeUnsupported, err}
	case errors.As(err, &syntax):
		return &failure{codeConfig, err}
	case errors.Is(err, tree.ErrNotEmpty):
		return &failure{codeNotEmpty, err}
	case errors.As(err, &format):
		return &failure{formatCode(format), err}
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return &failure{fallback, err}
	}
	return &failure{fallback, err}
}

// formatCode tells the codes for damaged WIMs apart.
func formatCode(e *wim.FormatError) int {
	switch {
	case e.What == "file" || e.What == "header" && e.Off == 0 && strings.Contains(e.Err.Error(), "magic"):
		return codeNotWIM
	case errors.Is(e.Err, io.ErrUnexpectedEOF), errors.Is(e.Err, io.EOF):
		return codeEnd
	case e.What == "header":
		return codeHeader
	case strings.HasPrefix(e.What, "XML"):
		return codeXML
	case strings.HasPrefix(e.What, "image"):
		return codeMetadata
	case strings.HasPrefix(e.What, "integrity"):
		return codeIntegrity
	}
	return codeDecompress
}

// interrupted reports whether the user ended the command.
func interrupted(ctx context.Context) bool { return ctx.Err() != nil }

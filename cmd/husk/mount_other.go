//go:build !unix

package main

import (
	"context"
	"errors"
	"io"
)

func inBackground(context.Context, *app, []string) error { return errors.ErrUnsupported }

func tellReady() error { return errors.ErrUnsupported }

func startGuard(string) (io.Closer, error) { return nil, errors.ErrUnsupported }

func removeDead(string) error { return errors.ErrUnsupported }

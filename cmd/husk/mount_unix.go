//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"husk/internal/imagex"
	"husk/internal/mount"
)

// readyFD is where a server tells the command that started it that the folder can be used: the first of exec.Cmd.ExtraFiles.
const readyFD = 3

// self is a command that runs this program, under the name by which it was called.
func self(args ...string) (*exec.Cmd, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := exec.Command(exe, args...)
	c.Args[0] = os.Args[0]
	if _, ok := imagex.Persona(os.Args[0]); ok {
		c.Args[0] = "husk" // not the program whose name it was called by
	}
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // away from the terminal and its Ctrl-C
	return c, nil
}

// inBackground starts husk with args as the server, in a session of its own, and waits until it can be used. What it prints until
// then is passed on, and if it fails its exit status is that of this command.
func inBackground(ctx context.Context, a *app, args []string) error {
	c, err := self(args...)
	if err != nil {
		return err
	}
	ready, tell, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ready.Close()
	c.ExtraFiles = []*os.File{tell}
	out, err := c.StdoutPipe()
	if err != nil {
		return errors.Join(err, tell.Close())
	}
	warnings, err := c.StderrPipe()
	if err != nil {
		return errors.Join(err, tell.Close())
	}
	err = c.Start()
	if err = errors.Join(err, tell.Close()); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { c.Process.Signal(syscall.SIGTERM) }) //nolint:errcheck // it may have ended by itself
	defer stop()
	var passing sync.WaitGroup
	passing.Go(func() { io.Copy(a.ui.Raw(), out) })     //nolint:errcheck // the server's end
	passing.Go(func() { io.Copy(os.Stderr, warnings) }) //nolint:errcheck // the server's end
	word, err := io.ReadAll(ready)
	passing.Wait() // it closes its outputs before it gets ready, or ends
	if err == nil && len(word) > 0 {
		return c.Process.Release()
	}
	err = c.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() > 0 {
		return exitStatus(exit.ExitCode())
	}
	if err == nil {
		err = errors.New("it ended without a word")
	}
	return fmt.Errorf("the server of the mount failed: %w", err)
}

// tellReady lets go of the outputs and of the working folder, and tells the command that started this server.
func tellReady() error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	for fd := range 3 {
		if err := unix.Dup2(int(null.Fd()), fd); err != nil {
			return os.NewSyscallError("dup2", err)
		}
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	f := os.NewFile(readyFD, "ready")
	_, err = f.WriteString("ready")
	return errors.Join(err, f.Close())
}

// startGuard starts a process that takes the mount away if this one is killed. Closing the result ends it.
func startGuard(dir string) (io.Closer, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	c, err := self("unmount", "--guard", "--", abs)
	if err != nil {
		return nil, err
	}
	watched, alive, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	c.Stdin, c.Dir = watched, "/"
	unix.CloseOnExec(readyFD) // of a server; the guard would hold it open
	err = c.Start()
	if err = errors.Join(err, watched.Close()); err != nil {
		return nil, errors.Join(err, alive.Close())
	}
	go c.Wait() //nolint:errcheck // its end says nothing
	return alive, nil
}

// removeDead unmounts dir once nobody serves it. The server's end of FUSE may close some moments after its end of the pipe.
func removeDead(dir string) error {
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	for range 50 {
		if mount.Dead(dir) {
			return mount.Unmount(dir, true)
		}
		time.Sleep(20 * time.Millisecond)
	}
	return nil
}

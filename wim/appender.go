package wim

// appender collects what is written behind the end of the file.
type appender struct {
	f   WriteTarget
	at  int64 // where buf begins
	buf []byte
}

const appendSize = 1 << 20

// pos is where the next byte goes.
func (a *appender) pos() int64 { return a.at + int64(len(a.buf)) }

func (a *appender) write(p []byte) error {
	if len(a.buf)+len(p) > appendSize {
		if err := a.flush(); err != nil {
			return err
		}
		if len(p) >= appendSize/2 {
			if _, err := a.f.WriteAt(p, a.at); err != nil {
				return err
			}
			a.at += int64(len(p))
			return nil
		}
	}
	if a.buf == nil {
		a.buf = make([]byte, 0, appendSize)
	}
	a.buf = append(a.buf, p...)
	return nil
}

func (a *appender) flush() error {
	if len(a.buf) == 0 {
		return nil
	}
	if _, err := a.f.WriteAt(a.buf, a.at); err != nil {
		return err
	}
	a.at += int64(len(a.buf))
	a.buf = a.buf[:0]
	return nil
}

// skip leaves n bytes to be written later.
func (a *appender) skip(n int64) error {
	err := a.flush()
	a.at += n
	return err
}

// rewind makes off the end.
func (a *appender) rewind(off int64) {
	if off >= a.at {
		a.buf = a.buf[:off-a.at]
		return
	}
	a.at, a.buf = off, a.buf[:0]
}

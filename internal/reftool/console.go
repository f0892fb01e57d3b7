package reftool

import (
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A Console is the screen of a terminal that Windows' Emergency Management Services write to: 25 rows of 80 characters, in UTF-8 with
// the control sequences of VT100 (VT-UTF8). Sources: Microsoft, "VT100+ Conventions" and "VT-UTF8 Conventions"; ECMA-48.
type Console struct {
	cells    [consoleRows][consoleColumns]cell
	row, col int
	inverse  bool
	rest     []byte // the beginning of a sequence or character whose end has not come
}

type cell struct {
	r       rune // 0 for nothing
	inverse bool
}

const (
	consoleRows    = 25
	consoleColumns = 80
	maxSequence    = 64 // bytes; what is longer is none
)

// Show is the screen after said.
func Show(said []byte) *Console {
	c := &Console{}
	c.Write(said)
	return c
}

// Write shows what comes next. It takes everything.
func (c *Console) Write(p []byte) (int, error) {
	b := append(c.rest, p...)
	c.rest = nil
	for len(b) > 0 {
		n := c.take(b)
		if n == 0 {
			c.rest = append([]byte(nil), b...)
			break
		}
		b = b[n:]
	}
	return len(p), nil
}

// take shows the first character or obeys the first sequence of b, and returns its length; 0 if its end has not come yet.
func (c *Console) take(b []byte) int {
	switch b[0] {
	case 0x1b:
		return c.sequence(b)
	case '\r':
		c.col = 0
	case '\n':
		c.down()
	case '\b':
		c.col = max(c.col-1, 0)
	case '\t':
		c.col = min(c.col/8*8+8, consoleColumns-1)
	default:
		if !utf8.FullRune(b) {
			return 0
		}
		r, n := utf8.DecodeRune(b)
		if r >= ' ' {
			c.put(r)
		}
		return n
	}
	return 1
}

func (c *Console) down() {
	if c.row++; c.row == consoleRows {
		copy(c.cells[:], c.cells[1:])
		c.row, c.cells[consoleRows-1] = consoleRows-1, [consoleColumns]cell{}
	}
}

func (c *Console) put(r rune) {
	if c.col == consoleColumns {
		c.col = 0
		c.down()
	}
	c.cells[c.row][c.col] = cell{r, c.inverse}
	c.col++
}

// sequence obeys a control sequence: ESC [ numbers letter. Others of two bytes are passed over.
func (c *Console) sequence(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	if b[1] != '[' {
		return 2
	}
	for i := 2; i < len(b); i++ {
		if b[i] >= 0x40 && b[i] <= 0x7e {
			c.obey(b[i], string(b[2:i]))
			return i + 1
		}
		if b[i] < ' ' || i > maxSequence {
			return i // it ends in the middle
		}
	}
	return 0
}

func (c *Console) obey(letter byte, text string) {
	numbers := strings.Split(strings.TrimLeft(text, "?="), ";")
	number := func(i, without int) int {
		if i < len(numbers) {
			if n, err := strconv.Atoi(numbers[i]); err == nil && n >= 0 {
				return min(n, 999)
			}
		}
		return without
	}
	move := func(row, col int) {
		c.row, c.col = min(max(row, 0), consoleRows-1), min(max(col, 0), consoleColumns-1)
	}
	switch letter {
	case 'H', 'f':
		move(number(0, 1)-1, number(1, 1)-1)
	case 'A':
		move(c.row-max(number(0, 1), 1), c.col)
	case 'B':
		move(c.row+max(number(0, 1), 1), c.col)
	case 'C':
		move(c.row, c.col+max(number(0, 1), 1))
	case 'D':
		move(c.row, c.col-max(number(0, 1), 1))
	case 'J', 'K':
		c.erase(letter == 'J', number(0, 0))
	case 'm':
		c.render(number)
	}
}

// erase clears from the cursor to the end (0), from the beginning to the cursor (1) or all (2) of the screen or of the row.
func (c *Console) erase(screen bool, what int) {
	here := c.row*consoleColumns + min(c.col, consoleColumns-1)
	from, to := c.row*consoleColumns, (c.row+1)*consoleColumns
	if screen {
		from, to = 0, consoleRows*consoleColumns
	}
	switch what {
	case 0:
		from = here
	case 1:
		to = here + 1
	}
	for i := from; i < to; i++ {
		c.cells[i/consoleColumns][i%consoleColumns] = cell{}
	}
}

// render takes colours: dark letters on light ground, or inverse ones, are how a choice is shown.
func (c *Console) render(number func(i, without int) int) {
	for i := 0; ; i++ {
		switch n := number(i, -1); {
		case n < 0:
			if i == 0 {
				c.inverse = false
			}
			return
		case n == 0 || n == 27 || n == 40 || n == 44 || n == 49:
			c.inverse = false
		case n == 7 || n == 47 || n == 107:
			c.inverse = true
		}
	}
}

// Rows are the texts of the rows, without spaces at the end.
func (c *Console) Rows() []string {
	rows := make([]string, consoleRows)
	for i := range rows {
		rows[i], _ = c.rowText(i)
	}
	return rows
}

// rowText is a row, and whether letters of it are inverse.
func (c *Console) rowText(i int) (text string, inverse bool) {
	var b strings.Builder
	for _, cell := range c.cells[i] {
		if cell.r == 0 {
			cell.r = ' '
		}
		inverse = inverse || cell.inverse && cell.r != ' '
		b.WriteRune(cell.r)
	}
	return strings.TrimRight(b.String(), " "), inverse
}

// A BootMenu is the menu of Windows' boot manager.
type BootMenu struct {
	Entries []string
	Tools   []string
	Chosen  string // the text of the inverse one
	Seconds int    // until it starts; -1 if they do not run
}

var runningSeconds = regexp.MustCompile(`^\S.*:\s*(\d+)$`)

// indent is how far entries and tools stand in from the left, in any language.
const indent = 4

// Menu is the menu on the screen; nil if there is none. The entries are the first block of rows that stand in, and the tools the second.
func (c *Console) Menu() *BootMenu {
	m := &BootMenu{Seconds: -1}
	var blocks [][]string
	in := false
	for i := range consoleRows {
		row, inverse := c.rowText(i)
		title := strings.TrimLeft(row, " ")
		if title == "" || len(row)-len(title) != indent {
			in = false
			if found := runningSeconds.FindStringSubmatch(row); found != nil {
				m.Seconds, _ = strconv.Atoi(found[1])
			}
			continue
		}
		title = strings.TrimRight(strings.TrimSuffix(title, ">"), " ")
		if !in {
			blocks, in = append(blocks, nil), true
		}
		blocks[len(blocks)-1] = append(blocks[len(blocks)-1], title)
		if inverse {
			m.Chosen = title
		}
	}
	if len(blocks) == 0 || m.Chosen == "" {
		return nil
	}
	m.Entries = blocks[0]
	if len(blocks) > 1 {
		m.Tools = blocks[1]
	}
	return m
}

// A BootFailure is what the boot manager shows when something cannot be started.
type BootFailure struct {
	File   string // as far as one is named
	Status uint32 // such as 0xc000000f
	Info   string
}

var (
	failureStatus = regexp.MustCompile(`(?m)^\s*Status:\s*0x([0-9a-fA-F]{8})`)
	failureFile   = regexp.MustCompile(`(?m)^\s*File:\s*(\S.*)$`)
	failureInfo   = regexp.MustCompile(`(?m)^\s*Info:\s*(\S.*)$`)
)

// Failure is the failure on the screen; nil if there is none.
func (c *Console) Failure() *BootFailure {
	text := strings.Join(c.Rows(), "\n")
	found := failureStatus.FindStringSubmatch(text)
	if found == nil {
		return nil
	}
	n, err := strconv.ParseUint(found[1], 16, 32)
	if err != nil {
		return nil
	}
	f := &BootFailure{Status: uint32(n)}
	if found := failureFile.FindStringSubmatch(text); found != nil {
		f.File = found[1]
	}
	if found := failureInfo.FindStringSubmatch(text); found != nil {
		f.Info = found[1]
	}
	return f
}

package system

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

// A Slice is a part of a bar.
type Slice struct {
	Label string
	Bytes int64
	Color string // of pictures: "#4477aa"
	Mark  rune   // of terminals
}

// A Bar is a row of a chart.
type Bar struct {
	Label  string
	Slices []Slice
}

// total is the length of a bar.
func (b *Bar) total() int64 {
	n := int64(0)
	for _, s := range b.Slices {
		n += max(0, s.Bytes)
	}
	return n
}

// longest is the length that all bars are drawn in proportion to.
func longest(bars []Bar) int64 {
	n := int64(1)
	for i := range bars {
		n = max(n, bars[i].total())
	}
	return n
}

// Text draws a bar in so many characters. What is not nothing has at least one.
func (b *Bar) Text(width int, most int64) string {
	var s strings.Builder
	done, drawn := int64(0), 0
	for _, x := range b.Slices {
		if x.Bytes <= 0 {
			continue
		}
		done += x.Bytes
		end := max(int(float64(done)/float64(most)*float64(width)+0.5), drawn+1)
		end = min(end, width)
		s.WriteString(strings.Repeat(string(x.Mark), max(0, end-drawn)))
		drawn = max(drawn, end)
	}
	return s.String()
}

// Longest is the length that a group of bars is drawn in proportion to.
func Longest(bars []Bar) int64 { return longest(bars) }

// A Panel is a group of bars of one scale.
type Panel struct {
	Title string
	Bars  []Bar
}

// WriteSVG draws panels of bars with their legends as a picture. size shows a number of bytes.
func WriteSVG(w io.Writer, title string, panels []Panel, size func(int64) string) error {
	const (
		width, left, right = 960, 240, 110
		row, barHeight     = 30, 18
		font               = "font-family='Segoe UI,Noto Sans,Noto Sans CJK SC,sans-serif'"
	)
	var b strings.Builder
	y := 44
	for _, p := range panels {
		y += 34
		most := longest(p.Bars)
		fmt.Fprintf(&b, "<text x='20' y='%d' font-size='15' font-weight='600' fill='#222222'>%s</text>\n", y-8, escape(p.Title))
		type entry struct{ label, color string }
		var legend []entry
		seen := make(map[string]bool)
		for _, bar := range p.Bars {
			fmt.Fprintf(&b, "<text x='%d' y='%d' font-size='13' text-anchor='end' fill='#333333'>%s</text>\n", left-10, y+barHeight-4, escape(bar.Label))
			at := float64(left)
			for _, s := range bar.Slices {
				if s.Bytes <= 0 {
					continue
				}
				wide := float64(s.Bytes) / float64(most) * (width - left - right)
				fmt.Fprintf(&b, "<rect x='%.1f' y='%d' width='%.1f' height='%d' fill='%s'><title>%s: %s</title></rect>\n", at, y, max(wide, 1), barHeight, s.Color,
					escape(s.Label), escape(size(s.Bytes)))
				at += max(wide, 1)
				if !seen[s.Label] {
					seen[s.Label] = true
					legend = append(legend, entry{s.Label, s.Color})
				}
			}
			fmt.Fprintf(&b, "<text x='%.1f' y='%d' font-size='13' fill='#333333'>%s</text>\n", at+8, y+barHeight-4, escape(size(bar.total())))
			y += row
		}
		x := left
		for _, e := range legend {
			fmt.Fprintf(&b, "<rect x='%d' y='%d' width='12' height='12' fill='%s'/><text x='%d' y='%d' font-size='12' fill='#555555'>%s</text>\n", x, y, e.color, x+17,
				y+11, escape(e.label))
			x += 40 + 8*columns(e.label)
		}
		y += row
	}
	_, err := fmt.Fprintf(w, "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 %d %d' width='%d' height='%d' %s>\n<rect width='100%%' height='100%%' fill='#ffffff'/>\n"+
		"<text x='20' y='32' font-size='18' font-weight='600' fill='#111111'>%s</text>\n%s</svg>\n", width, y+10, width, y+10, font, escape(title), b.String())
	return err
}

// columns is about how wide a text is: a Chinese character takes two.
func columns(s string) int {
	n := 0
	for _, r := range s {
		n++
		if r > 0x2e00 {
			n++
		}
	}
	return n
}

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a Builder does not fail
	return b.String()
}

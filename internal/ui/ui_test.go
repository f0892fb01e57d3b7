package ui

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// messageArg tells which argument of a call is a message key, by the name of the function.
var messageArg = map[string]int{"T": 0, "t": 0, "Say": 0, "Warn": 0, "Confirm": 0, "Start": 0, "Accept": 0, "Ask": 1, "need": 1, "orNone": 2, "refuse": 0, "Hint": 1}

// usedMessages finds every message key in the commands and what they do.
func usedMessages(t *testing.T) map[string]token.Position {
	keys := make(map[string]token.Position)
	files := token.NewFileSet()
	for _, dir := range []string{"../../cmd", "../../internal"} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			f, err := parser.ParseFile(files, path, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(f, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				name := ""
				switch fn := call.Fun.(type) {
				case *ast.Ident:
					name = fn.Name
				case *ast.SelectorExpr:
					name = fn.Sel.Name
				}
				if arg, ok := messageArg[name]; ok && arg < len(call.Args) {
					if lit, ok := call.Args[arg].(*ast.BasicLit); ok && lit.Kind == token.STRING {
						if s, err := strconv.Unquote(lit.Value); err == nil && s != "%s" && s != "%s: %s" && s != "" {
							keys[s] = files.Position(lit.Pos())
						}
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return keys
}

var verb = regexp.MustCompile(`%(\[\d+\])?[-+# 0]*\d*(\.\d+)?[a-zA-Z%]`)

func TestEveryMessageIsTranslated(t *testing.T) {
	messages := Messages()
	used := usedMessages(t)
	if len(used) < 50 {
		t.Fatalf("found only %d messages in the sources: the search is broken", len(used))
	}
	for key, at := range used {
		if _, ok := messages[key]; !ok {
			t.Errorf("%s: no Chinese for %q", at, key)
		}
	}
	for key, msg := range messages {
		if !slices.Equal(verb.FindAllString(key, -1), verb.FindAllString(msg, -1)) {
			t.Errorf("verbs differ: %q, %q", key, msg)
		}
	}
}

func TestLanguage(t *testing.T) {
	for _, v := range []string{"HUSK_LANG", "LC_ALL", "LC_MESSAGES", "LANG"} {
		t.Setenv(v, "")
	}
	if got := Language("zh"); got != "zh-CN" {
		t.Errorf("asked for zh: %s", got)
	}
	t.Setenv("LANG", "zh_CN.UTF-8")
	if got := Language(""); got != "zh-CN" {
		t.Errorf("LANG=zh_CN.UTF-8: %s", got)
	}
	t.Setenv("LC_ALL", "C.UTF-8")
	if got := Language(""); got != "en" {
		t.Errorf("LC_ALL=C.UTF-8 over LANG: %s", got)
	}
	var out bytes.Buffer
	New(nil, &out, &out, "zh-CN").Warn("%s", "x")
	if got := out.String(); got != "警告：x\n" {
		t.Errorf("Chinese warning is %q", got)
	}
}

func TestSizes(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.00 KiB", 10300: "10.1 KiB", 1 << 20: "1.00 MiB", 1023 << 20: "1.00 GiB", 150 << 30: "150 GiB", 1<<63 - 1: "8.00 EiB"} {
		if got := Size(n); got != want {
			t.Errorf("Size(%d) = %q, want %q", n, got, want)
		}
	}
	for s, want := range map[string]int64{"4096": 4096, "4K": 4096, "25G": 25 << 30, "1.5GiB": 3 << 29, " 2 tb": -1, "2TB": 2 << 40, "": -1, "x": -1, "-1": -1, "1e300": -1, "NaN": -1} {
		got, err := ParseSize(s)
		if err != nil {
			got = -1
		}
		if got != want {
			t.Errorf("ParseSize(%q) = %d, %v, want %d", s, got, err, want)
		}
	}
	for d, want := range map[time.Duration]string{420 * time.Millisecond: "0.42 s", 12300 * time.Millisecond: "12.3 s", 185 * time.Second: "3 min 05 s"} {
		if got := Duration(d); got != want {
			t.Errorf("Duration(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestJSONIsAllThatProgramsSee(t *testing.T) {
	var out, err bytes.Buffer
	u := New(nil, &out, &err, "en")
	u.JSON = true
	u.Say("for people")
	u.Warn("odd: %d", 7)
	p := u.Start("capture", 10)
	p.Add(10)
	p.Done()
	u.Error(Hint(errors.New("bad"), "do %s", "this"), "do this")
	if err.Len() > 0 {
		t.Errorf("on stderr: %q", err.String())
	}
	var events []string
	for line := range strings.Lines(out.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		events = append(events, m["event"].(string))
	}
	if want := []string{"warning", "start", "done", "error"}; !slices.Equal(events, want) {
		t.Errorf("events %q, want %q", events, want)
	}
}

func TestQuestionsNeedAnAnswer(t *testing.T) {
	var out bytes.Buffer
	u := New(strings.NewReader("y\n"), &out, &out, "en")
	if u.Confirm("replace it?") {
		t.Error("yes without a terminal to ask on")
	}
	u.Yes = true
	if !u.Confirm("replace it?") {
		t.Error("no with Yes set")
	}
}

func TestTableAlignsChinese(t *testing.T) {
	var out bytes.Buffer
	New(nil, &out, &out, "en").Table([]string{"", "大小"}, []Align{Left, Right}, [][]string{{"中文", "1"}, {"abcd", "22"}})
	want := "      大小\n────────────\n中文     1\nabcd    22\n"
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

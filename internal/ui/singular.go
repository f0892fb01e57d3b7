package ui

import (
	"fmt"
	"regexp"
	"strings"
)

// counted is a verb of a format, and after %d the noun that it counts: " files", " new files", " files have".
var counted = regexp.MustCompile(`%[-+# 0-9.]*(?:[a-ce-zA-Z%]|d((?: [a-z]+)?? (?:bytes|errors|files|folders|fragments|keys|names|notices|problems|values|warnings)\b(?: (?:are|have|were)\b)?)?)`)

var toSingular = strings.NewReplacer("s are", " is", "s have", " has", "s were", " was")

// singular is an English format for its numbers: "1 file", not "1 files".
func singular(format string, args []any) string {
	if !strings.Contains(format, "%d ") || strings.Contains(format, "%[") || strings.Contains(format, "*") {
		return format
	}
	var b strings.Builder
	at, arg := 0, -1
	for _, m := range counted.FindAllStringSubmatchIndex(format, -1) {
		if strings.HasSuffix(format[m[0]:m[1]], "%") {
			continue // %%
		}
		if arg++; m[2] < 0 || arg >= len(args) || fmt.Sprint(args[arg]) != "1" {
			continue
		}
		noun := format[m[2]:m[3]]
		if one := toSingular.Replace(noun); one != noun {
			noun = one
		} else {
			noun = strings.TrimSuffix(noun, "s")
		}
		b.WriteString(format[at:m[2]] + noun)
		at = m[3]
	}
	return b.String() + format[at:]
}

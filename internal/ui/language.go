package ui

import (
	"embed"
	"encoding/json"
	"os"
	"strings"

	"golang.org/x/text/language"
	"golang.org/x/text/message"
	"golang.org/x/text/message/catalog"
)

//go:embed locales/zh-CN.json
var locales embed.FS

// Language picks the output language: "en" or "zh-CN". asked is the user's own word ("" if none); then the environment decides
// as POSIX has it, and on Windows the display language.
func Language(asked string) string {
	for _, l := range []string{asked, os.Getenv("HUSK_LANG"), os.Getenv("LC_ALL"), os.Getenv("LC_MESSAGES"), os.Getenv("LANG"), systemLanguage()} {
		if l == "" {
			continue
		}
		if strings.HasPrefix(strings.ToLower(l), "zh") {
			return "zh-CN"
		}
		return "en"
	}
	return "en"
}

// IsLanguage reports whether a language is one that husk speaks.
func IsLanguage(l string) bool {
	l, _, _ = strings.Cut(strings.ToLower(strings.ReplaceAll(l, "_", "-")), "-")
	return l == "en" || l == "zh"
}

// Messages returns the Chinese text of every message, by its English one.
func Messages() map[string]string {
	b, err := locales.ReadFile("locales/zh-CN.json")
	if err != nil {
		panic("ui: internal error: " + err.Error())
	}
	m := make(map[string]string)
	if err := json.Unmarshal(b, &m); err != nil {
		panic("ui: internal error: locales/zh-CN.json: " + err.Error())
	}
	return m
}

func printerFor(lang string) *message.Printer {
	if lang != "zh-CN" {
		return message.NewPrinter(language.English)
	}
	c := catalog.NewBuilder(catalog.Fallback(language.English))
	for key, msg := range Messages() {
		if err := c.SetString(language.SimplifiedChinese, key, msg); err != nil {
			panic("ui: internal error: message " + key + ": " + err.Error())
		}
	}
	return message.NewPrinter(language.SimplifiedChinese, message.Catalog(c))
}

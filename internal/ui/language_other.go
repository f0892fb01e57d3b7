//go:build !windows

package ui

// systemLanguage is empty where the environment says all there is to say.
func systemLanguage() string { return "" }

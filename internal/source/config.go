package source

import (
	"fmt"
	"io"
	"os"

	"husk/capconf"
)

// MaxConfig bounds a capture configuration, in bytes: Microsoft's has 6 KiB.
const MaxConfig = 1 << 20

// ReadConfig reads a capture configuration file. text is what it holds. warn hears of lines that mean nothing.
func ReadConfig(name string, warn func(format string, args ...any)) (conf *capconf.Config, text []byte, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	// The size of a device or pipe says nothing, so what comes is bounded.
	if text, err = io.ReadAll(io.LimitReader(f, MaxConfig+1)); err != nil {
		return nil, nil, err
	}
	if len(text) > MaxConfig {
		return nil, nil, fmt.Errorf("%s: more than %d bytes, want a capture configuration", name, MaxConfig)
	}
	conf, err = ParseConfig(name, text, warn)
	return conf, text, err
}

// ParseConfig parses the text of the configuration that is called name.
func ParseConfig(name string, text []byte, warn func(format string, args ...any)) (*capconf.Config, error) {
	conf, warnings, err := capconf.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	for _, w := range warnings {
		warn("%s: %s", name, w)
	}
	return conf, nil
}

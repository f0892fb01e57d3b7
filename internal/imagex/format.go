package imagex

import (
	"fmt"
	"strconv"
	"strings"

	"husk/wim"
)

// writing is how a WIM is to be written: what --compress, --chunk-size and their like for solid resources say.
type writing struct {
	codec, solidCodec wim.Codec
	level, solidLevel int // as given, 0 if not
	chunk, solidChunk int // bytes, 0 if not given
	solid, unsorted   bool
}

var codecNames = map[string]wim.Codec{
	"none": wim.None, "xpress": wim.XPRESS, "fast": wim.XPRESS, "lzx": wim.LZX, "maximum": wim.LZX, "lzms": wim.LZMS, "recovery": wim.LZMS,
}

// writing reads the options; without them codecs are wim.Auto.
func (k *call) writing() (w writing, err error) {
	w.solid, w.unsorted = k.has("solid"), k.has("no-solid-sort")
	for _, o := range []struct {
		name  string
		codec *wim.Codec
		level *int
	}{{"compress", &w.codec, &w.level}, {"solid-compress", &w.solidCodec, &w.solidLevel}} {
		if s := k.value(o.name); s != "" {
			if *o.codec, *o.level, err = parseCodec(o.name, s); err != nil {
				return w, err
			}
		}
	}
	for _, o := range []struct {
		name string
		n    *int
	}{{"chunk-size", &w.chunk}, {"solid-chunk-size", &w.solidChunk}} {
		if s := k.value(o.name); s != "" {
			if *o.n, err = parseChunkSize(s); err != nil {
				return w, err
			}
		}
	}
	return w, nil
}

func parseCodec(option, s string) (wim.Codec, int, error) {
	name, level, given := strings.Cut(s, ":")
	codec, ok := codecNames[strings.ToLower(name)]
	if !ok {
		return 0, 0, badArgument("Invalid compression type %q for --%s! There are none, xpress (fast), lzx (maximum) and lzms (recovery).", name, option)
	}
	if !given {
		return codec, 0, nil
	}
	n, err := strconv.Atoi(level)
	if err != nil || n <= 0 || n > 1<<20 {
		return 0, 0, badArgument("Compression level must be a positive integer! e.g. --%s=lzx:80", option)
	}
	return codec, n, nil
}

// parseChunkSize reads a number with K, M or G behind it.
func parseChunkSize(s string) (int, error) {
	digits := strings.TrimRight(s, "KMGiBkmg")
	n, err := strconv.ParseInt(digits, 10, 64)
	shift, ok := map[string]uint{"": 0, "K": 10, "KIB": 10, "M": 20, "MIB": 20, "G": 30, "GIB": 30}[strings.ToUpper(s[len(digits):])]
	if err != nil || !ok || n <= 0 || n > 1<<30>>shift {
		return 0, badArgument("Invalid chunk size %q; must be a power of two with K, M or G, to 1G", s)
	}
	return int(n << shift), nil
}

// chunkLimits are the sizes of chunks that a codec can have.
func chunkLimits(c wim.Codec) (least, most int) {
	switch c {
	case wim.LZX:
		return 32 << 10, 2 << 20
	case wim.LZMS:
		return 32 << 10, 1 << 30
	}
	return 4 << 10, 64 << 10
}

func checkChunk(c wim.Codec, n int) error {
	least, most := chunkLimits(c)
	if n != 0 && (n < least || n > most || n&(n-1) != 0) {
		return fail(codeChunkSize, "chunks of %d bytes, want a power of two from %d to %d for %s", n, least, most, c)
	}
	return nil
}

// levelOf turns a level of wimlib (20 is quick, 50 the default, 100 thorough) into husk's.
func levelOf(n int) wim.Level {
	switch {
	case n == 0:
		return wim.Default
	case n < 35:
		return wim.Fast
	case n < 75:
		return wim.Default
	}
	return wim.Best
}

// using says how data is compressed.
func (k *call) using(c wim.Codec, threads int) {
	if c == wim.None {
		k.say("Using no compression\n")
		return
	}
	s := "s"
	if workers(threads) == 1 {
		s = ""
	}
	k.say("Using %s compression with %d thread%s\n", codecName(c), workers(threads), s)
}

func codecName(c wim.Codec) string {
	switch c {
	case wim.None:
		return "None"
	case wim.XPRESS:
		return "XPRESS"
	case wim.LZX:
		return "LZX"
	case wim.LZMS:
		return "LZMS"
	}
	return fmt.Sprint(c)
}

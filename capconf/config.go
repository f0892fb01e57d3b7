package capconf

import "sync"

// Config is one configuration file. Its lists must not change once Excluded was called.
type Config struct {
	Exclusion            []Pattern // [ExclusionList]
	ExclusionException   []Pattern // [ExclusionException]
	Prepopulate          []Pattern // [PrepopulateList]
	CompressionExclusion []Pattern // [CompressionExclusionList]
	CompressionFolder    []Pattern // [CompressionFolderList]

	once      sync.Once
	excluded  *Matcher
	exception *Matcher
}

// Default returns what is left out of a capture when no file is given: what Windows makes anew, and what is of one volume
// only.
func Default() *Config {
	return &Config{Exclusion: MustPatterns(`
		\$ntfs.log
		\hiberfil.sys
		\pagefile.sys
		\swapfile.sys
		\System Volume Information
		\$Recycle.Bin
		\RECYCLER
		\Windows\CSC
	`)}
}

// Excluded reports whether the file or folder at path is left out of a capture: an exclusion covers it and no exception does.
// A folder that leads to the path of an exception stays, so that the exception can be reached; what else lies in it goes. The
// root is never excluded.
func (c *Config) Excluded(path string) bool {
	c.once.Do(func() {
		c.excluded = NewMatcher(c.Exclusion)
		c.exception = NewMatcher(c.ExclusionException)
	})
	if c.excluded.Match(path) < 0 {
		return false
	}
	index, leads := c.exception.scan(path)
	return index < 0 && !leads
}

// list returns the list that a section fills, or nil.
func (c *Config) list(section string) *[]Pattern {
	switch section {
	case "EXCLUSIONLIST":
		return &c.Exclusion
	case "EXCLUSIONEXCEPTION":
		return &c.ExclusionException
	case "PREPOPULATELIST":
		return &c.Prepopulate
	case "COMPRESSIONEXCLUSIONLIST":
		return &c.CompressionExclusion
	case "COMPRESSIONFOLDERLIST":
		return &c.CompressionFolder
	}
	return nil
}

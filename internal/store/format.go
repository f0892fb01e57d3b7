package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/pelletier/go-toml/v2"
)

const (
	// CatalogueName is the file that makes a folder a store that husk made.
	CatalogueName    = "husk.toml"
	lockName         = "husk.lock"
	catalogueVersion = 1
	maxCatalogue     = 16 << 20 // bytes: some hundred thousand points
)

// Paths of properties of an image.
const (
	propPoint   = "HUSK/POINT"
	propSystem  = "HUSK/SYSTEM"
	propName    = "HUSK/NAME"
	propLayer   = "HUSK/LAYER"
	propFolds   = "HUSK/FOLDS"
	propDropped = "HUSK/DROPPED"
	propTitle   = "NAME"
	propNote    = "DESCRIPTION"
)

// catalogue is husk.toml.
type catalogue struct {
	Version  int          `toml:"version"`
	Compress string       `toml:"compress,omitempty" comment:"how new layers are compressed, as husk capture --compress has it"`
	Chunk    int          `toml:"chunk-size,omitempty"`
	Boot     *BootPlace   `toml:"boot,omitempty" comment:"where this folder is when its systems start"`
	Disks    []diskEntry  `toml:"disk,omitempty" comment:"disks whose pointer files point into the layers"`
	Layers   []layerEntry `toml:"layer,omitempty" comment:"what follows is for people: husk reads it from the layers"`
	Points   []pointEntry `toml:"point,omitempty"`
}

// BootPlace tells where the folder of a store is when its systems start.
type BootPlace struct {
	Disk string `toml:"disk"` // mbr:SIGNATURE:OFFSET or gpt:DISK:PARTITION, as deploy.Location takes it
	Path string `toml:"path"` // of the folder on its volume: \wimboot
}

type diskEntry struct {
	Path   string   `toml:"path"` // relative to the store if it is below it, with slashes
	System string   `toml:"system"`
	Point  string   `toml:"point,omitempty"`  // id of the point that it was made from
	Layers []string `toml:"layers,omitempty"` // GUIDs of the layers that it pointed into when it was last read

	Volumes []string `toml:"volumes,omitempty"` // of a device, which may be another one tomorrow: serial numbers of its NTFS volumes
}

type layerEntry struct {
	File string `toml:"file"`
	GUID string `toml:"guid"`
}

type pointEntry struct {
	System string    `toml:"system"`
	Name   string    `toml:"name"`
	Date   time.Time `toml:"date"`
	Note   string    `toml:"note,omitempty"`
	Layer  string    `toml:"layer"`
	Image  int       `toml:"image"`
}

// readCatalogue reads husk.toml; a missing one is nil.
func readCatalogue(dir string) (*catalogue, error) {
	name := filepath.Join(dir, CatalogueName)
	st, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case !st.Mode().IsRegular() || st.Size() > maxCatalogue:
		return nil, fmt.Errorf("%s: %d bytes, want a file of at most %d", name, st.Size(), maxCatalogue)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	c, err := parseCatalogue(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return c, nil
}

// parseCatalogue reads the text of husk.toml.
func parseCatalogue(b []byte) (*catalogue, error) {
	c := &catalogue{}
	if err := toml.Unmarshal(b, c); err != nil {
		var at *toml.DecodeError
		if errors.As(err, &at) {
			row, col := at.Position()
			return nil, fmt.Errorf("line %d, column %d: %w", row, col, err)
		}
		return nil, err
	}
	if c.Version != catalogueVersion {
		return nil, fmt.Errorf("version %d, want %d", c.Version, catalogueVersion)
	}
	return c, nil
}

// marshal is the text of husk.toml.
func (c *catalogue) marshal() ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("# A store of husk. The layers tell nearly all of this themselves: see 'husk store rebuild'.\n\n")
	e := toml.NewEncoder(&b)
	e.SetIndentTables(false)
	err := e.Encode(c)
	return b.Bytes(), err
}

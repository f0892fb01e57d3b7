package driver

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"husk/internal/winsys"
	"husk/regf"
)

const (
	fileName     = "wofadk.sys"
	hiveName     = "WofAdk.hiv"
	serviceName  = "WofAdk"
	instanceName = "WofAdk Instance"
	driversDir   = "System32/drivers"
	imagePath    = `\SystemRoot\System32\drivers\` + fileName
)

// setting is a value of the service.
type setting struct {
	key   string // below the service's own
	value regf.Value
	must  bool // what a start with the driver depends on: another value gives way; else one that is there stays
}

func dword(n uint32) []byte { return []byte{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)} }

// builtin are the settings of the driver as the kit of Windows 10 (10240) registers it. The altitude belongs to another group than
// the one named; so it is in the original.
func builtin() []setting {
	instance := `Instances\` + instanceName
	return []setting{
		{"", regf.Value{Name: "Type", Type: regf.DWord, Data: dword(2)}, true},
		{"", regf.Value{Name: "Start", Type: regf.DWord, Data: dword(0)}, true},
		{"", regf.Value{Name: "ErrorControl", Type: regf.DWord, Data: dword(1)}, false},
		{"", regf.Value{Name: "Group", Type: regf.SZ, Data: regf.SZData("FSFilter Compression")}, false},
		{"", regf.Value{Name: "Tag", Type: regf.DWord, Data: dword(2)}, false},
		{"", regf.Value{Name: "DependOnService", Type: regf.MultiSZ, Data: regf.MultiSZData("FltMgr")}, false},
		{"", regf.Value{Name: "ImagePath", Type: regf.ExpandSZ, Data: regf.SZData(imagePath)}, true},
		{"", regf.Value{Name: "DisplayName", Type: regf.SZ, Data: regf.SZData(serviceName)}, false},
		{"", regf.Value{Name: "Description", Type: regf.SZ, Data: regf.SZData("WofAdk Mini-Filter Driver")}, false},
		{"", regf.Value{Name: "SupportedFeatures", Type: regf.DWord, Data: dword(3)}, false},
		{"", regf.Value{Name: "DebugFlags", Type: regf.DWord, Data: dword(0)}, false},
		{"", regf.Value{Name: "AutoAttach", Type: regf.DWord, Data: dword(1)}, false},
		{"Instances", regf.Value{Name: "DefaultInstance", Type: regf.SZ, Data: regf.SZData(instanceName)}, false},
		{instance, regf.Value{Name: "Altitude", Type: regf.SZ, Data: regf.SZData("40730")}, false},
		{instance, regf.Value{Name: "Flags", Type: regf.DWord, Data: dword(0)}, false},
	}
}

// hiveBeside finds WofAdk.hiv in the folder of the driver, however its name is written; "" if there is none.
func hiveBeside(file string) (string, error) {
	dir := filepath.Dir(file)
	list, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	for _, d := range list {
		if strings.EqualFold(d.Name(), hiveName) && d.Type().IsRegular() {
			return filepath.Join(dir, d.Name()), nil
		}
	}
	return "", nil
}

// Limits on the hive of the kit, which has three keys.
const (
	maxHiveKeys  = 4096
	maxHiveDepth = 6
)

// imported reads the settings from the kit's hive. Those that a start depends on are as builtin has them, whatever the hive says:
// there the driver may be registered for use by a running system. What the hive lacks comes from builtin, too.
func imported(name string) ([]setting, error) {
	h, err := regf.Open(name)
	if err != nil {
		return nil, err
	}
	service, err := findService(h.Root())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	list := builtin()
	if service == nil {
		return nil, fmt.Errorf("%s: no service %s in it", name, serviceName)
	}
	under := service.Path()
	count := 0
	for k, err := range service.All() {
		if count++; err == nil && count > maxHiveKeys {
			err = fmt.Errorf("more than %d keys", maxHiveKeys)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		values, err := k.Values()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		key := strings.Trim(strings.TrimPrefix(k.Path(), under), `\`)
		for _, v := range values {
			list = overrule(list, setting{key: key, value: regf.Value{Name: v.Name, Type: v.Type, Data: v.Data}})
		}
	}
	return dropInstances(list), nil
}

// overrule puts a setting of the hive in the place of the built-in one.
func overrule(list []setting, s setting) []setting {
	for i, old := range list {
		if strings.EqualFold(old.key, s.key) && strings.EqualFold(old.value.Name, s.value.Name) {
			if !old.must {
				list[i].value = s.value
			}
			return list
		}
	}
	return append(list, s)
}

// dropInstances removes the built-in instance if the hive has its own under another name.
func dropInstances(list []setting) []setting {
	own := ""
	for _, s := range list {
		if strings.EqualFold(s.key, "Instances") && strings.EqualFold(s.value.Name, "DefaultInstance") {
			own, _ = s.value.Text()
		}
	}
	if strings.EqualFold(own, instanceName) {
		return list
	}
	var kept []setting
	for _, s := range list {
		if !strings.EqualFold(s.key, `Instances\`+instanceName) {
			kept = append(kept, s)
		}
	}
	return kept
}

// findService finds the key of the service: one of its name, or the root if the hive is the service's own.
func findService(root *regf.Key) (*regf.Key, error) {
	count := 0
	level := []*regf.Key{root}
	for range maxHiveDepth {
		var next []*regf.Key
		for _, k := range level {
			if strings.EqualFold(k.Name(), serviceName) && k != root {
				return k, nil
			}
			subkeys, err := k.Subkeys()
			if err != nil {
				return nil, err
			}
			if count += len(subkeys); count > maxHiveKeys {
				return nil, fmt.Errorf("more than %d keys", maxHiveKeys)
			}
			next = append(next, subkeys...)
		}
		level = next
	}
	if _, err := root.Value("Type"); err == nil {
		return root, nil
	}
	return nil, nil
}

// Change is one value that is set.
type Change struct {
	Key   string `json:"key"` // below the root of the SYSTEM hive
	Value string `json:"value"`
	Old   string `json:"old,omitempty"` // as text; "" if there was none
	New   string `json:"new"`
}

// register sets the service in one control set.
func register(set *regf.Key, settings []setting) ([]Change, error) {
	var changes []Change
	service := set.Name() + `\Services\` + serviceName
	for _, s := range settings {
		key := strings.TrimRight(service+`\`+s.key, `\`)
		old, err := lookupValue(set.Parent(), key, s.value.Name)
		if err != nil {
			return nil, err
		}
		if old != nil && (!s.must || same(*old, s.value)) {
			continue
		}
		k, err := set.Parent().Create(key)
		if err != nil {
			return nil, err
		}
		if err := k.Set(s.value.Name, s.value.Type, bytes.Clone(s.value.Data)); err != nil {
			return nil, err
		}
		c := Change{Key: key, Value: s.value.Name, New: show(s.value)}
		if old != nil {
			c.Old = show(*old)
		}
		changes = append(changes, c)
	}
	return changes, nil
}

func lookupValue(root *regf.Key, key, name string) (*regf.Value, error) {
	k, err := root.Lookup(key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	v, err := k.Value(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return &v, err
}

// same reports whether a value does what another does. Paths of drivers may start at the Windows folder.
func same(a, b regf.Value) bool {
	if s, err := a.Text(); err == nil && strings.EqualFold(b.Name, "ImagePath") {
		s = strings.TrimPrefix(strings.ToLower(s), `\systemroot\`)
		return s == strings.TrimPrefix(strings.ToLower(imagePath), `\systemroot\`)
	}
	return a.Type == b.Type && bytes.Equal(a.Data, b.Data)
}

func show(v regf.Value) string {
	if n, err := v.Uint(); err == nil {
		return fmt.Sprint(n)
	}
	if s, err := v.Text(); err == nil {
		return s
	}
	if list, err := v.Strings(); err == nil {
		return strings.Join(list, " | ")
	}
	return fmt.Sprintf("%x", v.Data)
}

// bootStart reports whether a service of the current control set is started by the boot loader.
func (s *System) bootStart(name string) bool {
	set, err := winsys.ControlSet(s.Hive.Root())
	if err != nil {
		return false
	}
	n, err := s.Hive.Root().Uint(set+`\Services\`+name, "Start")
	return err == nil && n == 0
}

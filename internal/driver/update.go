package driver

import (
	"fmt"
	"slices"
	"strings"

	"husk/internal/winsys"
	"husk/pe"
	"husk/regf"
)

// Update is what 64-bit Windows 7 shows of the update that teaches it SHA-2 signatures of drivers, KB3033929 of March 2015, which later
// roll-ups contain.
type Update struct {
	Needed   bool       // the driver has no SHA-1 signature
	OK       bool       // the update is there
	Kernel   pe.Version // ntoskrnl.exe; zero if it could not be read
	CI       pe.Version // ci.dll, which checks signatures when Windows runs
	Loader   pe.Version // winload.exe, which checks those of boot-start drivers
	Packages []Package  // of the updates that have it
	Catalogs []string   // of the updates that have it, in CatRoot
	Unread   []error    // files that could not be read
}

// Package is an update in the component store.
type Package struct {
	Name  string
	State uint64 // CurrentState
}

// States of packages: what is staged or pending is not in use.
const (
	stateSuperseded = 0x50
	stateInstalled  = 0x70
	statePermanent  = 0x80
)

// Present reports whether the content of the package, or newer, is in use.
func (p Package) Present() bool {
	return p.State == stateInstalled || p.State == statePermanent || p.State == stateSuperseded
}

// Revisions of Windows 7 SP1 (6.1.7601.N) with the update. Those from ldrBranch on are of the branch for hotfixes.
const (
	kernelRevision  = 18741
	kernelLDR       = 22948
	ldrBranch       = 22000
	ciRevision      = 18519
	servicePack1    = 7601
	updateName      = "KB3033929"
	packagesKey     = `Microsoft\Windows\CurrentVersion\Component Based Servicing\Packages`
	driverCatalogs  = "System32/CatRoot/{F750E6C3-38EE-11D1-85E5-00C04FC295EE}"
	maxUpdateShown  = 64
	maxPackagesRead = 100_000
)

// containing are the updates that have it: itself, the convenience roll-up, the SHA-2 update of 2019, and monthly roll-ups.
var containing = []string{"_for_kb3033929", "_for_kb3125574", "_for_kb4474419", "_for_rollupfix~"}

// findUpdate gathers the signals.
func (s *System) findUpdate() *Update {
	u := &Update{}
	for _, f := range []struct {
		name string
		into *pe.Version
	}{{"System32/ntoskrnl.exe", &u.Kernel}, {"System32/ci.dll", &u.CI}, {"System32/winload.exe", &u.Loader}} {
		i, err := s.program(f.name)
		if err != nil {
			u.Unread = append(u.Unread, err)
			continue
		}
		*f.into = i.FileVersion
	}
	u.packages(s)
	if dir := s.Source.Tree.Lookup(s.Facts.Folder + "/" + driverCatalogs); dir != nil {
		for _, e := range dir.Children {
			if isContaining(e.Name) && len(u.Catalogs) < maxUpdateShown {
				u.Catalogs = append(u.Catalogs, e.Name)
			}
		}
	}
	u.OK = u.decide()
	return u
}

func (u *Update) packages(s *System) {
	h, err := winsys.OpenHive(s.tree(), s.Facts.Folder+"/System32/config/SOFTWARE")
	if err != nil {
		u.Unread = append(u.Unread, err)
		return
	}
	k, err := h.Root().Lookup(packagesKey)
	var keys []*regf.Key
	if err == nil {
		keys, err = k.Subkeys()
	}
	if err != nil {
		return // few systems made by hand have it
	}
	for _, p := range keys[:min(len(keys), maxPackagesRead)] {
		if !isContaining(p.Name()) || len(u.Packages) >= maxUpdateShown {
			continue
		}
		if state, err := p.Uint("", "CurrentState"); err == nil {
			u.Packages = append(u.Packages, Package{p.Name(), state})
		}
	}
}

func isContaining(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc(containing, func(c string) bool { return strings.Contains(name, c) })
}

// decide goes by the files that check signatures; by what the component store says only where they could not be read.
func (u *Update) decide() bool {
	kernel, ci := updatedKernel(u.Kernel), u.CI.Compare(pe.Version{6, 1, servicePack1, ciRevision}) >= 0
	if u.Kernel != (pe.Version{}) && u.CI != (pe.Version{}) {
		return kernel && ci
	}
	if u.Kernel != (pe.Version{}) && !kernel || u.CI != (pe.Version{}) && !ci {
		return false
	}
	return slices.ContainsFunc(u.Packages, Package.Present)
}

func updatedKernel(v pe.Version) bool {
	if v[0] != 6 || v[1] != 1 || v[2] != servicePack1 {
		return v.Compare(pe.Version{6, 1, servicePack1}) > 0
	}
	if v[3] >= ldrBranch {
		return v[3] >= kernelLDR
	}
	return v[3] >= kernelRevision
}

// missing says which signals speak against the update.
func (u *Update) missing() string {
	var list []string
	add := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	switch {
	case u.Kernel == (pe.Version{}):
		add("the version of ntoskrnl.exe is not known")
	case !updatedKernel(u.Kernel):
		add("ntoskrnl.exe is %s, want 6.1.7601.%d or later (%d on the branch of %d)", u.Kernel, kernelRevision, kernelLDR, ldrBranch)
	}
	switch {
	case u.CI == (pe.Version{}):
		add("the version of ci.dll is not known")
	case u.CI.Compare(pe.Version{6, 1, servicePack1, ciRevision}) < 0:
		add("ci.dll is %s, want 6.1.7601.%d or later", u.CI, ciRevision)
	}
	for _, p := range u.Packages {
		if !p.Present() {
			add("%s is not installed yet (state %#x)", p.Name, p.State)
		}
	}
	if len(u.Packages) == 0 {
		add("no such package is installed")
	}
	return strings.Join(list, "; ")
}

package winsys

import (
	"strings"

	"husk/wim"
	"husk/winfile"
)

// Describe fills what the XML data of an image tells of the Windows in its tree, and what is not set yet of FLAGS, DISPLAYNAME and
// DISPLAYDESCRIPTION, as image tools do. A tree without Windows leaves i as it is; an error leaves out what could not be read.
func Describe(i *wim.ImageInfo, t *winfile.Tree) error {
	f, err := Read(t)
	if f == nil || f.Arch < 0 {
		return err
	}
	i.Windows = f.WIM()
	for _, v := range []struct {
		field *string
		value string
	}{{&i.Flags, f.EditionID}, {&i.DisplayName, f.ProductName}, {&i.DisplayDescription, f.ProductName}} {
		if *v.field == "" {
			*v.field = v.value
		}
	}
	return err
}

// WIM is the WINDOWS element that says these facts. SPBUILD is the update revision where the system has one, as DISM writes it.
func (f *Facts) WIM() *wim.WindowsInfo {
	w := &wim.WindowsInfo{
		Arch: f.Arch, ProductName: f.ProductName, EditionID: f.EditionID, InstallationType: f.InstallationType, HAL: f.HAL,
		ProductType: f.ProductType, ProductSuite: f.ProductSuite, Languages: f.Languages, DefaultLanguage: f.DefaultLanguage,
		Major: f.Major, Minor: f.Minor, Build: f.Build, SPBuild: f.SPBuild, SPLevel: f.ServicePack, Branch: f.Branch,
		SystemRoot: strings.ToUpper(f.Folder), ImageState: f.ImageState,
	}
	if f.UBR > 0 {
		w.SPBuild = f.UBR
	}
	return w
}

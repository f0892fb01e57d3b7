package wim

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"husk/winfile"
)

func xmlBytes(s string) []byte { return append([]byte{0xff, 0xfe}, winfile.AppendUTF16LE(nil, s)...) }

func TestXMLRoundTrip(t *testing.T) {
	at := time.Date(2023, 1, 2, 3, 4, 5, 600, time.UTC)
	want := ImageInfo{
		Name: "Windows 7 专业版 😀", Description: `a < b & "c"`, Flags: "Professional", DisplayName: "显示", DisplayDescription: "d",
		WIMBoot: true, Created: at, Modified: at.Add(time.Hour), Dirs: 1, Files: 2, TotalBytes: 3 << 40, HardLinkBytes: 4,
		Windows: &WindowsInfo{Arch: 9, ProductName: "Microsoft® Windows® Operating System", EditionID: "Professional", InstallationType: "Client",
			HAL: "acpiapic", ProductType: "WinNT", ProductSuite: "Terminal Server", Languages: []string{"zh-CN", "en-US"}, DefaultLanguage: "zh-CN",
			Major: 6, Minor: 1, Build: 7601, SPBuild: 17514, SPLevel: 1, Branch: "win7sp1_rtm", SystemRoot: "WINDOWS",
			GDRDURevision: "0", PKeyConfigVersion: "6.1.7601;2009", ImageState: "IMAGE_STATE_GENERALIZE_RESEAL_TO_OOBE"},
	}
	root := &element{name: "WIM", children: []*element{want.element(1)}}
	back, err := parseXML(encodeXML(root))
	if err != nil {
		t.Fatal(err)
	}
	list, err := back.images(1)
	if err != nil {
		t.Fatal(err)
	}
	if got := imageInfo(list[0]); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestXMLKeepsWhatItDoesNotKnow(t *testing.T) {
	const in = `<WIM><TOTALBYTES>5</TOTALBYTES><IMAGE INDEX="1" x:y="z"><NAME>n</NAME><NEW a="&lt;"><DEEP>text</DEEP></NEW></IMAGE><x:OTHER></x:OTHER></WIM>`
	root, err := parseXML(xmlBytes(in))
	if err != nil {
		t.Fatal(err)
	}
	if got := encodeXML(root); string(got) != string(xmlBytes(in)) {
		t.Errorf("%s\nbecame %s", in, winfile.NameFromUTF16LE(got[2:]))
	}
}

func TestXMLIsReadLeniently(t *testing.T) {
	for name, in := range map[string][]byte{
		"no BOM":          xmlBytes(`<WIM><IMAGE INDEX="1"><NAME>n</NAME></IMAGE></WIM>`)[2:],
		"white space":     xmlBytes("\r\n<WIM>\r\n  <IMAGE INDEX = ' 1 '>\r\n    <NAME>n</NAME>\r\n  </IMAGE>\r\n</WIM>\r\n\x00\x00"),
		"comment":         xmlBytes(`<?xml version="1.0" encoding="UTF-16"?><WIM><!-- c --><IMAGE INDEX="1"><NAME><![CDATA[n]]></NAME></IMAGE></WIM>`),
		"reference":       xmlBytes(`<WIM><IMAGE INDEX="1"><NAME>&#110;</NAME></IMAGE></WIM>`),
		"odd last byte":   append(xmlBytes(`<WIM><IMAGE INDEX="1"><NAME>n</NAME></IMAGE></WIM>`), 0),
		"no quotes (old)": xmlBytes(`<WIM><IMAGE INDEX=1><NAME>n</NAME></IMAGE></WIM>`),
	} {
		root, err := parseXML(in)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		list, err := root.images(1)
		if err != nil || list[0].text("NAME") != "n" {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, in := range []string{
		"", "<WIM>", "<WIN></WIN>", "<WIM></WIN>", "</WIM>", "<WIM/>", `<WIM><IMAGE INDEX="2"/></WIM>`, `<WIM><IMAGE/></WIM>`,
		`<WIM><IMAGE INDEX="1"/><IMAGE INDEX="1"/></WIM>`, strings.Repeat("<WIM>", 100),
	} {
		root, err := parseXML(xmlBytes(in))
		if err == nil {
			_, err = root.images(1)
		}
		if err == nil {
			t.Errorf("%q was accepted", in)
		}
	}
}

package sample

import (
	"fmt"
	"strings"

	"husk/winfile"
)

const zoneIdentifier = "[ZoneTransfer]\r\nZoneId=3\r\n"

// profiles adds the users: Default, Public and 张三.
func (s *system) profiles() {
	for _, who := range []string{"Default", "张三"} {
		home := "Users/" + who + "/"
		for _, d := range []string{"Desktop", "Documents", "Downloads", "Pictures", "AppData/Local/Temp", "AppData/Roaming/Microsoft/Windows/Start Menu"} {
			s.dir(home + d)
		}
		s.dir(home + "AppData").Info.Attributes |= winfile.AttrHidden
		s.junction(home+"Application Data", `C:\Users\`+who+`\AppData\Roaming`)
		s.junction(home+"Local Settings", `C:\Users\`+who+`\AppData\Local`)
		s.junction(home+"Documents/My Pictures", `C:\Users\`+who+`\Pictures`)
		hive := s.bytes(home+"NTUSER.DAT", userHive(who))
		hive.Attributes |= winfile.AttrHidden
		log := hideSystem(s.bytes(home+"NTUSER.DAT.LOG1", nil))
		if who == "张三" {
			s.secure(hive, sdProfile)
			s.secure(log, sdOwned)
		}
	}
	s.text("Users/Public/Documents/readme.txt", "")
	s.zhang()
}

// zhang fills the profile of 张三.
func (s *system) zhang() {
	const home = "Users/张三/"
	own := func(i *winfile.Info) *winfile.Info {
		s.secure(i, sdOwned)
		return i
	}
	desktop := hideSystem(own(s.utf16(home+"Desktop/desktop.ini", "[.ShellClassInfo]\r\nLocalizedResourceName=@%SystemRoot%\\system32\\shell32.dll,-21769\r\n")))
	desktop.Streams = []winfile.Stream{{Name: "Zone.Identifier", Data: s.blob([]byte(zoneIdentifier))}}
	report := own(s.bytes(home+"Documents/报告.docx", append([]byte("PK\x03\x04\x14\x00\x06\x00"), newRandom("docx", s.arch).bytes(30000)...)))
	report.Extra = &winfile.Extra{ObjectID: objectID("报告", s.arch)}
	s.symlink(home+"Documents/最新报告.docx", "报告.docx", false)
	own(s.utf16(home+"桌面/会议纪要 2011年4月.txt", strings.Repeat("一、关于系统镜像的讨论；二、其他事项。\r\n", 30)))
	own(s.bytes(home+"Documents/空文件.txt", nil))
	own(s.text(home+"Documents/短.txt", "x"))
	own(s.utf16(home+"Documents/笑脸 😀.txt", "😀\r\n")).Attributes |= winfile.AttrReadOnly
	setup := own(s.bytes(home+"Downloads/安装程序.exe", machineCode(150000, "setup")))
	setup.Streams = []winfile.Stream{
		{Name: "Zone.Identifier", Data: s.blob([]byte(zoneIdentifier))},
		{Name: "备注", Data: s.blob(winfile.AppendUTF16LE(nil, "从网站下载"))},
		{Name: "empty"},
	}
	for i := range s.amount(200, 10) {
		n := fmt.Sprint(i)
		r := newRandom("profile", s.arch, n)
		own(s.text(fmt.Sprintf("%sAppData/Local/Example/Cache/f_%06x", home, i), strings.Repeat(guidOf("cache", s.arch, n)+"\r\n", 1+r.n(60))))
		link := own(s.bytes(fmt.Sprintf("%sAppData/Roaming/Microsoft/Windows/Recent/文档 %03d.lnk", home, i), append([]byte("\x4c\x00\x00\x00\x01\x14\x02\x00"), r.bytes(300+r.n(900))...)))
		if i%5 == 0 {
			link.Extra = &winfile.Extra{ObjectID: objectID("link", s.arch, n)}
		}
	}
	deep := home + "AppData/Local/Example"
	for i := range 24 {
		deep += fmt.Sprintf("/第%d层", i+1)
	}
	own(s.text(deep+"/底.txt", "底\r\n"))
}

func objectID(parts ...string) []byte {
	h := seed(append([]string{"object"}, parts...)...)
	return h[:16]
}

// extremes adds what Options.Extremes promises.
func (s *system) extremes() {
	const folder = "极限/"
	s.secure(s.dir("极限").Info, sdNoDACL)
	s.text(folder+"half \xed\xa0\xbd name.txt", "a name with an unpaired surrogate\r\n")
	s.text(folder+"case.txt", "lower\r\n")
	s.text(folder+strings.Repeat("长", 255), "255 units\r\n")
	s.text(folder+strings.Repeat("n", 251)+".txt", "255 units\r\n")
	many := s.text(folder+"streams.bin", "main stream\r\n")
	for i := range 60 {
		many.Streams = append(many.Streams, winfile.Stream{Name: fmt.Sprintf("stream %02d of many", i), Data: s.blob(machineCode(i*37+1, "stream", fmt.Sprint(i)))})
	}
	many.Streams = append(many.Streams, winfile.Stream{Name: "large", Data: s.blob(machineCode(100000, "large stream"))})
	onlyStream := s.bytes(folder+"only a stream", nil)
	onlyStream.Streams = []winfile.Stream{{Name: "s", Data: s.blob([]byte("unnamed data is empty"))}}
	s.dir(folder + "目录").Info.Streams = []winfile.Stream{{Name: "on a directory", Data: s.blob([]byte("directory stream\r\n"))}}
	eas := s.text(folder+"extended attributes", "has some\r\n")
	eas.Extra = &winfile.Extra{EAs: []winfile.EA{{Name: "USER.FIRST", Value: []byte("value")}, {Flags: 0x80, Name: "USER.NEEDED", Value: make([]byte, 300)}}}
	full := s.text(folder+"object id", "64 bytes\r\n")
	birth := seed("birth")
	full.Extra = &winfile.Extra{ObjectID: append(append(objectID("full"), birth[:]...), make([]byte, 16)...)}
	s.text(folder+"names/0000", "a file with 1500 names\r\n")
	for i := range 1499 {
		s.link(folder+"names/0000", fmt.Sprintf("%snames/%d/%04d", folder, i%3, i+1))
	}
	for i := range 3000 {
		s.text(fmt.Sprintf("%smany/entry with a long name %06d.tmp", folder, i), fmt.Sprint(i%10))
	}
	oldest := s.text(folder+"times", "odd times\r\n")
	oldest.Created, oldest.Written, oldest.Accessed, oldest.Changed = 1, 0x7fffffffffffffff, 116444736000000001, 2
}

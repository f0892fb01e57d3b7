package winsys

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
)

// languageTags are the languages that Windows speaks, by LCID in hex. Source: [MS-LCID] 2.2.
const languageTags = `
0401=ar-SA 0402=bg-BG 0403=ca-ES 0404=zh-TW 0405=cs-CZ 0406=da-DK 0407=de-DE 0408=el-GR 0409=en-US 040a=es-ES 040b=fi-FI 040c=fr-FR
040d=he-IL 040e=hu-HU 040f=is-IS 0410=it-IT 0411=ja-JP 0412=ko-KR 0413=nl-NL 0414=nb-NO 0415=pl-PL 0416=pt-BR 0418=ro-RO 0419=ru-RU
041a=hr-HR 041b=sk-SK 041c=sq-AL 041d=sv-SE 041e=th-TH 041f=tr-TR 0420=ur-PK 0421=id-ID 0422=uk-UA 0423=be-BY 0424=sl-SI 0425=et-EE
0426=lv-LV 0427=lt-LT 0429=fa-IR 042a=vi-VN 042b=hy-AM 042d=eu-ES 042f=mk-MK 0436=af-ZA 0437=ka-GE 0439=hi-IN 043e=ms-MY 043f=kk-KZ
0441=sw-KE 0445=bn-IN 0446=pa-IN 0447=gu-IN 0449=ta-IN 044a=te-IN 044b=kn-IN 044c=ml-IN 044e=mr-IN 0450=mn-MN 0452=cy-GB 0456=gl-ES
045e=am-ET 0461=ne-NP 0464=fil-PH 0480=ug-CN 0804=zh-CN 0807=de-CH 0809=en-GB 080a=es-MX 080c=fr-BE 0813=nl-BE 0814=nn-NO 0816=pt-PT
081a=sr-Latn-CS 0c04=zh-HK 0c09=en-AU 0c0a=es-ES 0c0c=fr-CA 0c1a=sr-Cyrl-CS 1004=zh-SG 1009=en-CA 141a=bs-Latn-BA 241a=sr-Latn-RS
281a=sr-Cyrl-RS
`

var tagOf = sync.OnceValue(func() map[uint32]string {
	m := make(map[uint32]string)
	for pair := range strings.FieldsSeq(languageTags) {
		id, tag, _ := strings.Cut(pair, "=")
		n, err := strconv.ParseUint(id, 16, 32)
		if err != nil {
			panic("winsys: internal error: language " + pair)
		}
		m[uint32(n)] = tag
	}
	return m
})

// languageTag is the name of a language by its LCID; the LCID in hex if Windows does not come in it.
func languageTag(lcid uint32) string {
	if tag := tagOf()[lcid]; tag != "" {
		return tag
	}
	return fmt.Sprintf("0x%04x", lcid)
}

package imagex

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"husk/wim"
	"husk/winfile"
)

// runInfo is info.
func runInfo(k *call) error {
	name := k.args[0]
	edit := len(k.args) > 2 || k.has("boot") || k.has("image-property")
	properties, err := k.properties()
	if err != nil {
		return err
	}
	if k.has("check") && k.has("nocheck") {
		return badArgument("Can't specify both --check and --nocheck!")
	}
	r, err := k.openOne(name)
	if err != nil {
		return err
	}
	n := allImages
	if len(k.args) > 1 {
		if n, err = k.image(r, name, k.args[1]); err != nil {
			return err
		}
		if n == 0 && !k.has("boot") {
			return k.noImage(name, k.args[1])
		}
	}
	if n == allImages && (len(k.args) > 2 || k.has("image-property")) {
		return badArgument("Cannot specify all images for changes: choose one")
	}
	if n == allImages && k.has("boot") && len(r.Images()) == 1 {
		n = 1
	}
	if n == allImages && k.has("boot") {
		return badArgument("Cannot specify the --boot flag without specifying a specific image in a multi-image WIM")
	}
	if edit {
		return k.changeInfo(name, r, n, properties)
	}
	out := bufio.NewWriter(k.env.Stdout)
	if err := k.showInfo(out, r, name, n); err != nil {
		return err
	}
	return coded(out.Flush(), codeWrite)
}

// showInfo prints what the options ask for.
func (k *call) showInfo(out io.Writer, r *wim.Reader, name string, n int) error {
	any := false
	if k.has("header") {
		any = true
		if err := printHeader(out, name); err != nil {
			return err
		}
	}
	if k.has("blobs") {
		any = true
		printBlobs(out, r)
	}
	if k.has("metadata") {
		any = true
		for _, i := range r.Images() {
			printBlob(out, i.MetadataSHA1(), i.Metadata(), 1, true)
		}
	}
	if k.has("xml") {
		any = true
		if _, err := out.Write(append(rawXML(r), '\n', 0)); err != nil {
			return err
		}
	}
	if to := k.value("extract-xml"); to != "" {
		any = true
		if err := os.WriteFile(to, rawXML(r), 0o666); err != nil {
			return coded(err, codeOpen)
		}
	}
	if any {
		return nil
	}
	if n == allImages {
		printWIM(out, r, name)
		fmt.Fprintf(out, "Available Images:\n-----------------\n")
		for _, i := range r.Images() {
			printImage(out, i)
		}
		return nil
	}
	title := fmt.Sprintf("Information for Image %d", n)
	fmt.Fprintf(out, "%s\n%s\n", title, strings.Repeat("-", len(title)))
	printImage(out, r.Images()[n-1])
	return nil
}

// rawXML is the XML data as the WIM has it: UTF-16 with its mark.
func rawXML(r *wim.Reader) []byte { return winfile.AppendUTF16LE([]byte{0xff, 0xfe}, r.XML()) }

func printWIM(out io.Writer, r *wim.Reader, name string) {
	part, parts := r.Part()
	fmt.Fprintf(out, "WIM Information:\n----------------\n")
	fmt.Fprintf(out, "Path:           %s\n", name)
	g := r.GUID()
	fmt.Fprintf(out, "GUID:           0x%x\n", g[:])
	fmt.Fprintf(out, "Version:        %d\n", r.Version())
	fmt.Fprintf(out, "Image Count:    %d\n", len(r.Images()))
	fmt.Fprintf(out, "Compression:    %s\n", codecName(r.Codec()))
	fmt.Fprintf(out, "Chunk Size:     %d bytes\n", r.ChunkSize())
	fmt.Fprintf(out, "Part Number:    %d/%d\n", part, parts)
	fmt.Fprintf(out, "Boot Index:     %d\n", r.BootIndex())
	fmt.Fprintf(out, "Size:           %d bytes\n", totalBytes(r))
	var attributes []string
	for _, a := range []struct {
		set  bool
		name string
	}{
		{r.Pipable(), "Pipable"}, {r.HasIntegrity(), "Integrity info"}, {r.ReparseFix(), "Relative path junction"}, {r.Flags()&4 != 0, "Readonly"},
	} {
		if a.set {
			attributes = append(attributes, a.name)
		}
	}
	fmt.Fprintf(out, "Attributes:     %s\n", strings.Join(attributes, ", "))
	fmt.Fprintln(out)
}

// totalBytes is the size that the XML data tells, which wimlib shows: it leaves out what is behind the blob table.
func totalBytes(r *wim.Reader) int64 {
	var x struct {
		Total int64 `xml:"TOTALBYTES"`
	}
	if err := xml.Unmarshal([]byte(r.XML()), &x); err != nil || x.Total == 0 {
		return r.Size()
	}
	return x.Total
}

var architectures = map[int]string{0: "x86", 5: "ARM", 6: "ia64", 9: "x86_64", 12: "ARM64"}

func printImage(out io.Writer, i *wim.Image) {
	n := i.Info()
	line := func(name, format string, args ...any) {
		fmt.Fprintf(out, "%-24s%s\n", name+":", fmt.Sprintf(format, args...))
	}
	line("Index", "%d", i.Index)
	line("Name", "%s", n.Name)
	line("Description", "%s", n.Description)
	if n.DisplayName != "" {
		line("Display Name", "%s", n.DisplayName)
	}
	if n.DisplayDescription != "" {
		line("Display Description", "%s", n.DisplayDescription)
	}
	line("Directory Count", "%d", n.Dirs)
	line("File Count", "%d", n.Files)
	line("Total Bytes", "%d", n.TotalBytes)
	line("Hard Link Bytes", "%d", n.HardLinkBytes)
	line("Creation Time", "%s", timeOf(n.Created))
	line("Last Modification Time", "%s", timeOf(n.Modified))
	if w := n.Windows; w != nil {
		arch, ok := architectures[w.Arch]
		if !ok {
			arch = "unknown"
		}
		line("Architecture", "%s", arch)
		for _, f := range [][2]string{
			{"Product Name", w.ProductName}, {"Edition ID", w.EditionID}, {"Installation Type", w.InstallationType}, {"HAL", w.HAL},
			{"Product Type", w.ProductType}, {"Product Suite", w.ProductSuite},
		} {
			if f[1] != "" {
				line(f[0], "%s", f[1])
			}
		}
		if len(w.Languages) > 0 {
			line("Languages", "%s ", strings.Join(w.Languages, " "))
		}
		if w.DefaultLanguage != "" {
			line("Default Language", "%s", w.DefaultLanguage)
		}
		if w.SystemRoot != "" {
			line("System Root", "%s", w.SystemRoot)
		}
		line("Major Version", "%d", w.Major)
		line("Minor Version", "%d", w.Minor)
		line("Build", "%d", w.Build)
		line("Service Pack Build", "%d", w.SPBuild)
		line("Service Pack Level", "%d", w.SPLevel)
	}
	if n.Flags != "" {
		line("Flags", "%s", n.Flags)
	}
	boot := "no"
	if n.WIMBoot {
		boot = "yes"
	}
	line("WIMBoot compatible", "%s", boot)
	fmt.Fprintln(out)
}

// timeOf prints a time as wimlib does: in UTC, to the second.
func timeOf(t time.Time) string { return t.UTC().Format("Mon Jan 02 15:04:05 2006 MST") }

func filetimeOf(t winfile.Filetime) string { return timeOf(t.Time()) }

func printBlobs(out io.Writer, r *wim.Reader) {
	part, _ := r.Part()
	for _, i := range r.Images() {
		printBlob(out, i.MetadataSHA1(), i.Metadata(), part, true)
	}
	for _, b := range r.Blobs() {
		info, _ := r.Lookup(b.SHA1)
		printBlob(out, b.SHA1, info, part, false)
	}
}

// printBlob prints one blob, or with the zero value what stands for an empty one.
func printBlob(out io.Writer, h winfile.SHA1, b wim.BlobInfo, part int, metadata bool) {
	fmt.Fprintf(out, "Hash              = 0x%x\n", h[:])
	fmt.Fprintf(out, "Uncompressed size = %d bytes\n", b.Size)
	if b.Solid {
		fmt.Fprintf(out, "Solid offset      = %d bytes\n", b.Offset)
	} else {
		fmt.Fprintf(out, "Compressed size   = %d bytes\n", b.StoredSize)
		fmt.Fprintf(out, "Offset in WIM     = %d bytes\n", b.Offset)
	}
	fmt.Fprintf(out, "Part Number       = %d\n", part)
	fmt.Fprintf(out, "Reference Count   = %d\n", b.RefCount)
	fmt.Fprintf(out, "Flags             = ")
	if b.Compressed {
		fmt.Fprintf(out, "WIM_RESHDR_FLAG_COMPRESSED  ")
	}
	if metadata {
		fmt.Fprintf(out, "WIM_RESHDR_FLAG_METADATA  ")
	}
	if b.Solid {
		fmt.Fprintf(out, "WIM_RESHDR_FLAG_SOLID  ")
	}
	fmt.Fprintf(out, "\n\n")
}

// headerFlags are the flags of a WIM's header that have names.
var headerFlags = []struct {
	bit  uint32
	name string
}{
	{0x1, "RESERVED"}, {0x2, "COMPRESSION"}, {0x4, "READONLY"}, {0x8, "SPANNED"}, {0x10, "RESOURCE_ONLY"}, {0x20, "METADATA_ONLY"},
	{0x40, "WRITE_IN_PROGRESS"}, {0x80, "RP_FIX"}, {0x10000, "COMPRESS_RESERVED"}, {0x20000, "COMPRESS_XPRESS"}, {0x40000, "COMPRESS_LZX"},
	{0x80000, "COMPRESS_LZMS"}, {0x100000, "COMPRESS_XPRESS_2"},
}

// headerBytes is the size of a WIM's header.
const headerBytes = 208

// printHeader prints the header of a WIM field by field.
func printHeader(out io.Writer, name string) error {
	f, err := os.Open(name)
	if err != nil {
		return coded(err, codeOpen)
	}
	h := make([]byte, headerBytes)
	_, err = io.ReadFull(f, h)
	if err == nil && string(h[:5]) == "WLPWM" { // a pipable WIM has the header that counts at its end
		if _, err = f.Seek(-headerBytes, io.SeekEnd); err == nil {
			_, err = io.ReadFull(f, h)
		}
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return coded(fmt.Errorf("%s: %w", name, err), codeEnd)
	}
	u32 := func(off int) uint32 { return binary.LittleEndian.Uint32(h[off:]) }
	u16 := func(off int) uint16 { return binary.LittleEndian.Uint16(h[off:]) }
	u64 := func(off int) uint64 { return binary.LittleEndian.Uint64(h[off:]) }
	line := func(name, format string, args ...any) {
		fmt.Fprintf(out, "%-27s = %s\n", name, fmt.Sprintf(format, args...))
	}
	magic := string(bytes.TrimRight(h[:8], "\x00"))
	line("Magic Characters", "%s", magic+strings.Repeat(`\0`, 8-len(magic)))
	line("Header Size", "%d", u32(8))
	line("Version", "0x%x", u32(0x0c))
	line("Flags", "0x%x", u32(0x10))
	for _, f := range headerFlags {
		if u32(0x10)&f.bit != 0 {
			fmt.Fprintf(out, "    WIM_HDR_FLAG_%s is set\n", f.name)
		}
	}
	line("Chunk Size", "%d", u32(0x14))
	line("GUID", "%x", h[0x18:0x28])
	line("Part Number", "%d", u16(0x28))
	line("Total Parts", "%d", u16(0x2a))
	line("Image Count", "%d", u32(0x2c))
	resource := func(name, original string, off int) {
		line(name+" Size", "%d", u64(off)&(1<<56-1))
		line(name+" Flags", "0x%x", h[off+7])
		line(name+" Offset", "%d", u64(off+8))
		line(name+" "+original, "%d", u64(off+16))
	}
	resource("Blob Table", "Original_size", 0x30)
	resource("XML Data", "Original Size", 0x48)
	resource("Boot Metadata", "Original Size", 0x60)
	line("Boot Index", "%d", u32(0x78))
	resource("Integrity", "Original_size", 0x7c)
	return nil
}

// changeInfo changes what the XML data and the header say, in place.
func (k *call) changeInfo(name string, r *wim.Reader, n int, properties [][2]string) error {
	if len(k.args) > 2 {
		properties = append([][2]string{{"NAME", k.args[2]}}, properties...)
		if k.args[2] != "" {
			for _, i := range r.Images() {
				if i.Name() == k.args[2] && i.Index != n {
					return fail(codeCollision, "There is already an image named %q in the WIM!", k.args[2])
				}
			}
		}
	}
	if len(k.args) > 3 {
		properties = append(properties, [2]string{"DESCRIPTION", k.args[3]})
	}
	f, _, size, err := k.editable(name)
	if err != nil {
		return err
	}
	if r.Pipable() {
		images := imagesOf(r)
		images[n-1].Export = &wim.ExportOptions{Boot: k.has("boot"), Properties: properties}
		return k.rewrite(name, r, images, 0)
	}
	w, err := wim.Append(f, size, k.integrity(&wim.WriterOptions{}))
	if err != nil {
		return coded(fmt.Errorf("%s: %w", name, err), codeParam)
	}
	changed := k.has("include-integrity") && !r.HasIntegrity() || k.has("check") && !r.HasIntegrity() || k.has("nocheck") && r.HasIntegrity()
	for _, p := range properties {
		changed = changed || p[1] == "" || w.Property(n, p[0]) != p[1]
		if err := k.setProperty(w, n, p[0], p[1]); err != nil {
			return errors.Join(err, w.Abort())
		}
	}
	if k.has("boot") && r.BootIndex() == n {
		k.say("Image %d is already marked as bootable.\n", n)
	} else if k.has("boot") {
		changed = true
		k.say("Marking image %d as bootable.\n", n)
		if err := w.SetBootIndex(n); err != nil {
			return errors.Join(coded(err, codeImage), w.Abort())
		}
	}
	if !changed {
		k.say("The file %q was not modified because nothing needed to be done.\n", name)
		return coded(w.Abort(), codeWrite)
	}
	return coded(w.Close(), codeWrite)
}

// hashOf is the SHA-1 that a WIM has for bytes.
func hashOf(b []byte) winfile.SHA1 { return sha1.Sum(b) }

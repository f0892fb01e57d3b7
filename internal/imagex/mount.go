package imagex

import "husk/internal/mount"

// runMount is mount and mountrw.
func runMount(k *call) error {
	name, dir := k.args[0], k.args[len(k.args)-1]
	streams := mount.Streams(k.value("streams-interface"))
	switch streams {
	case "":
		streams = mount.StreamsXattr
	case mount.StreamsNone, mount.StreamsXattr, mount.StreamsWindows:
	default:
		return badArgument("Unknown stream interface %q: want none, xattr or windows", streams)
	}
	r, err := k.open(name)
	if err != nil {
		return err
	}
	i, err := k.oneImage(r, name, k.arg(1), len(k.args) > 2)
	if err != nil {
		return err
	}
	refs, err := k.refs(name)
	if err != nil {
		return err
	}
	if k.env.Mount == nil {
		return fail(codeUnsupported, "images cannot be mounted on this system")
	}
	err = k.env.Mount(k.ctx, &MountRequest{
		WIM: name, Image: i.Index, Refs: refs, Dir: dir, Writable: k.command.Name == "mountrw", Staging: k.value("staging-dir"),
		Streams: string(streams), AllowOther: k.has("allow-other"), Unix: k.has("unix-data"), Debug: k.has("debug"),
	})
	return coded(err, codeFUSE)
}

// runUnmount is unmount.
func runUnmount(k *call) error {
	if k.env.Unmount == nil {
		return fail(codeUnsupported, "images cannot be mounted on this system")
	}
	err := k.env.Unmount(k.ctx, &UnmountRequest{
		Dir: k.args[0], Commit: k.has("commit"), Force: k.has("force"), Check: k.has("check") || k.has("include-integrity"),
		Rebuild: k.has("rebuild"), Lazy: k.has("lazy"), NewImage: k.has("new-image"),
	})
	return coded(err, codeNotMounted)
}

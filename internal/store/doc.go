// Package store keeps the states of systems in layers.
//
// A store is a folder:
//
//	wimboot.wim      the first layer: a whole WIM, by husk, wimlib or DISM
//	layer-0002.wim   later ones hold only blobs that no earlier one has, and the metadata of their images
//	husk.toml        what the layers cannot tell, and a list of them for people; may be missing
//	husk.lock        who is changing the store, while somebody is
//	x64/win7.vhd     disks whose pointer files point into the layers; they may be elsewhere too
//
// A point is an image of a layer: one system at one time. What husk knows of it stands in the XML data of the image:
//
//	NAME               SYSTEM@POINT
//	DESCRIPTION        the note
//	CREATIONTIME       the date
//	HUSK/POINT         an id that stays the same when the point is renamed or merged into another layer
//	HUSK/SYSTEM        the system
//	HUSK/NAME          the name of the point, of which its system has one
//	HUSK/LAYER         the number of the layer
//	HUSK/FOLDS         GUIDs of the layers that the layer was merged from
//	HUSK/DROPPED       when the point was dropped; it is not listed any more, and goes when layers are merged or removed
//
// Images without them, in WIMs that others made, are points too: their system is called as the image is.
//
// A layer never changes but for this XML data. Where two layers have a point of the same id, the later one, which was merged from others,
// counts; a layer that another one was merged from is retired: no point needs it, only disks may.
package store

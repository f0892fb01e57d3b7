// Package capconf reads capture configuration files: WimBootCompress.ini, wimscript.ini and their like.
//
// Such a file lists name patterns in sections, one to a line:
//
//	; a comment, as are lines that start with #
//	[ExclusionList]                   not captured
//	\pagefile.sys                     starts with a slash: a path from the root of the image
//	"\Program Files\*\cache"          quotes are optional; * and ? stay within one name
//	*.tmp                             no slash: the last name of a path, at any depth
//
//	[ExclusionException]              captured all the same
//	[PrepopulateList]                 when pointer files are made: left as ordinary files
//	[CompressionExclusionList]        stored without compression
//	[CompressionFolderList]           folders to be compressed by NTFS
//
// A pattern that names a folder covers everything below it. Case does not matter, as [winfile.Fold] folds it; ? is one
// character. Either slash separates, and several in a row are one. The text is UTF-8 or UTF-16LE.
//
// Section names are taken in any case, as Windows does with ini files; wimlib wants them exact.
//
// Sources: Microsoft, "DISM Configuration List and WimScript.ini Files"; for what that page leaves out, the behaviour of
// wimlib 1.14.5, which the tests compare with.
package capconf

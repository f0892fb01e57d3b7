// Package imagex is a command line that takes what wimlib-imagex 1.14 takes, so that scripts written for that program run with husk.
//
//	wimlib-imagex COMMAND …   ─┐
//	wimCOMMAND …              ─┼─> Main ─> options as getopt_long reads them ─> husk's libraries
//	husk imagex COMMAND …     ─┘
//
// Arguments, exit codes, and lines that programs read are those of wimlib-imagex: the fields of info, the lines of dir, progress.
// Other texts are husk's own. Where husk keeps more than wimlib can (a folder gets the metadata of Windows as extended attributes) it
// does so here too. docs/wimlib-imagex.md lists every option of every command with its state; a test holds it to [Commands].
//
// Sources: the manual pages of wimtools 1.13.6 and 1.14.5; the behaviour of wimlib-imagex, which the tests compare with.
package imagex

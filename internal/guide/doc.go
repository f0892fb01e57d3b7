// Package guide leads through the work with systems by questions: find them, convert one, add points, restore, look at the state. Every answer
// has a proposal that Enter takes, and every step shows the command that does the same and runs just that.
//
// It writes and reads lines, and nothing else: no cursor, no colours. So it works on a serial line, in the console of Windows PE, and
// wherever a screen reader does.
package guide

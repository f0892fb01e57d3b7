package atomicfile

// NTFS journals renames, and Windows has no handle of a folder that could be flushed without more rights.
const cannotSyncDirs = true

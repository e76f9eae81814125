// Package demo counts the lines, words and bytes of a source tree on a set of nodes,
// crashes random nodes at intervals meanwhile, and compares the sums with a direct count
// of the same files.
//
// Every regular text file is a task. The task's transaction adds the counts of the file
// to the sums in the cluster's cache, so each file is in the sums exactly once, however
// often its handler was started.
//
// With [Config].Steps one task counts all files, and stores a checkpoint after each, with
// which the counts of the file are committed. The node that runs the task is crashed again and again.
//
// A file is text if its first 8 KiB hold no NUL byte and are valid UTF-8.
// Symbolic links are not followed. If a file changes or vanishes while the demo runs,
// the two counts cannot be compared: the direct count then uses the counts of the nodes
// for that file, and the report gives the number of such files.
package demo

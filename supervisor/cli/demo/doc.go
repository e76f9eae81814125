// Package demo counts the lines, words and bytes of a source tree on a set of
// nodes while it crashes one of them again and again, and compares the sums with
// a direct count of the same files.
//
// Every regular text file is a task. Its counts are added up in the cluster's
// cache through the task's transaction, so each file is in the sums exactly once,
// however often its handler was started.
//
// A file is text if its first 8 KiB hold no NUL byte and are valid UTF-8.
// Symbolic links are not followed. A file that changes or vanishes while the demo
// runs would make the comparison unfair: for it the direct count takes what the
// nodes counted, and the report says so.
package demo

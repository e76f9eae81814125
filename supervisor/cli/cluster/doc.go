// Package cluster is a command's way to a running cluster, over Redis or over the
// socket of a set on this machine, and the form of its output: tables for people,
// JSON for scripts.
package cluster

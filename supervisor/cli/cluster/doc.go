// Package cluster connects commands to a running cluster, through Redis or through the
// socket of a set on this machine, and writes their output: tables for people, JSON for
// scripts.
package cluster

//go:build !linux

package service

// Reloading returns the message that the program replaces its processes, until [Ready] follows.
func Reloading() string { return reloading }

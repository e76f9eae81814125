//go:build !linux

package service

// Undumpable does nothing: on this system there is no way to close a process to its user.
func Undumpable() (done bool, err error) { return false, nil }

//go:build !unix

package cluster

import "io/fs"

// ownedByUs trusts the directory: its rights are not in its mode here.
func ownedByUs(fs.FileInfo) bool { return true }

//go:build !unix

package config

import "math"

// fileLimit returns how many files this process may have open: there is no limit.
func fileLimit() uint64 { return math.MaxUint64 }

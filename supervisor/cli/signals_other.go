//go:build !unix

package cli

import "os"

// orders is empty: this system has no such signals. Commands do the same.
var orders = map[os.Signal]order{}

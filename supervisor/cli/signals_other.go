//go:build !unix

package cli

import "os"

// orders are none: there are no such signals here. The commands do the same.
var orders = map[os.Signal]order{}

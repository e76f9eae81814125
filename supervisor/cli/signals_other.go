//go:build !unix

package cli

import "os"

// orders is empty: this system has no such signals. The commands scale, roll, reload,
// quiet and resume do the same.
var orders = map[os.Signal]order{}

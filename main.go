// Stellar runs a set of supervised nodes that share a cache, a task queue and
// RPC through Redis. "stellar help" lists what it can do.
package main

import (
	"context"
	"os"

	"github.com/stellarfw/stellar/supervisor/cli"
	"github.com/stellarfw/stellar/supervisor/cli/echo"
)

func main() {
	os.Exit(cli.Main(context.Background(), cli.Program{Name: "stellar", App: echo.App}, cli.OS()))
}

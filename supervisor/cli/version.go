package cli

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"

	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/supervisor/cli/cluster"
	"github.com/stellarfw/stellar/supervisor/cli/config"
)

func versionCommand(e *cluster.Env, version string) *urfave.Command {
	return &urfave.Command{
		Name: "version", Usage: "print the version", ArgValidator: config.NoArguments, Flags: []urfave.Flag{e.OutputFlag()},
		Action: e.Action(func(_ context.Context, e *cluster.Env, _ []string) error {
			return e.WriteResult(map[string]string{"program": e.Program, "version": version}, e.Program+" "+version)
		}),
	}
}

// buildVersion returns the main module's version and revision from the build
// information, with the Go version and the platform.
func buildVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return runtime.Version()
	}
	v := info.Main.Version
	if v == "" || v == "(devel)" {
		v = "development"
	}
	built := slices.IndexFunc(info.Settings, func(s debug.BuildSetting) bool { return s.Key == "vcs.revision" })
	if built >= 0 {
		v += fmt.Sprintf(" %.12s", info.Settings[built].Value)
	}
	return fmt.Sprintf("%s (%s %s/%s)", v, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

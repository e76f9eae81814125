package cli

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"

	urfave "github.com/urfave/cli/v3"
)

func (p *program) versionCommand() *urfave.Command {
	return &urfave.Command{
		Name: "version", Usage: "print the version", ArgValidator: arguments(0, 0, "none"),
		Action: func(context.Context, *urfave.Command) error {
			_, err := fmt.Fprintf(p.Stdout, "stellar %s\n", version())
			return err
		},
	}
}

// version is what the build says of itself.
func version() string {
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

package cli

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"

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
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			v += " " + s.Value[:12]
		}
	}
	return fmt.Sprintf("%s (%s %s/%s)", v, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

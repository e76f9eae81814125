package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/supervisor/cli/cluster"
	"github.com/stellarfw/stellar/supervisor/cli/config"
	"github.com/stellarfw/stellar/worker"
)

// tree returns the command line with the settings of that environment.
func tree(env environment) (*urfave.Command, *config.Settings) {
	e := &cluster.Env{Settings: config.New(env.lookup), Program: "stellar", Stdout: io.Discard, Stderr: io.Discard}
	program := Program{Name: "stellar", App: func() (*worker.App, error) { return worker.NewApp(), nil }}
	return root(e, program, &runner{env: e, newApp: program.App}), e.Settings
}

// leaves returns the names of all commands below c that do something themselves.
func leaves(c *urfave.Command, above ...string) (all [][]string) {
	for _, sub := range c.Commands {
		path := append(slices.Clone(above), sub.Name)
		if len(sub.Commands) == 0 {
			all = append(all, path)
		}
		all = append(all, leaves(sub, path...)...)
	}
	return all
}

// commandAt returns the command of that path.
func commandAt(c *urfave.Command, path []string) *urfave.Command {
	for _, name := range path {
		c = c.Command(name)
	}
	return c
}

// sourced returns the flags of a command that have other sources than the command line.
func sourced(c *urfave.Command) (all []urfave.Flag) {
	for _, f := range c.Flags {
		if documented, ok := f.(urfave.DocGenerationFlag); ok && len(documented.GetEnvVars()) > 0 && f.Names()[0] != "config" {
			all = append(all, f)
		}
	}
	return all
}

// kindOf returns the type of a flag, as the flag library names it.
func kindOf(f urfave.Flag) string { return f.(urfave.SchemaTyper).SchemaType() }

// given is a value of the flag that tells the n-th source, as it is written there. A number
// begins with a zero, as only a decimal may.
func given(f urfave.Flag, n int) string {
	switch kindOf(f) {
	case "integer":
		return fmt.Sprintf("01%d", n)
	case "duration":
		return fmt.Sprintf("%ds", n)
	case "boolean":
		return "true"
	default:
		return fmt.Sprintf("x%d", n)
	}
}

// taken is that value in Go.
func taken(f urfave.Flag, n int) any {
	switch kindOf(f) {
	case "integer":
		return 10 + n
	case "duration":
		return time.Duration(n) * time.Second
	case "boolean":
		return true
	case "array":
		return []string{fmt.Sprintf("x%d", n)}
	default:
		return fmt.Sprintf("x%d", n)
	}
}

func TestEveryCommandReadsEverySettingFromEverySource(t *testing.T) {
	t.Parallel()
	known, _ := tree(nil)
	without := []string{"version", "help", "manual", "completion", "config", completeWord} // config check runs the command run: see TestCheckAndRunKnowTheSameMistakes
	withRun := map[string]bool{}
	for _, f := range sourced(known.Command("run")) {
		withRun[f.Names()[0]] = true
	}
	for _, path := range leaves(known) {
		name := strings.Join(path, " ")
		flags := sourced(commandAt(known, path))
		if len(flags) == 0 {
			require.Contains(t, without, path[0], name)
			continue
		}
		for _, highest := range []config.Rank{config.FromDefault, config.FromFile, config.FromEnvironment, config.FromFlag} {
			t.Run(fmt.Sprintf("%s %s", name, highest), func(t *testing.T) {
				t.Parallel()
				env, args, file := environment{}, path, ""
				for _, f := range flags {
					name := f.Names()[0]
					require.True(t, withRun[name], "%s is no setting of run", name)
					if highest >= config.FromFile {
						file += fmt.Sprintf("%s: %s\n", name, given(f, int(config.FromFile)))
					}
					if highest >= config.FromEnvironment {
						env[f.(urfave.DocGenerationFlag).GetEnvVars()[0]] = given(f, int(config.FromEnvironment))
					}
					if highest >= config.FromFlag {
						args = append(slices.Clone(args), "--"+name+"="+given(f, int(config.FromFlag)))
					}
				}
				if file != "" {
					env["STELLAR_CONFIG"] = write(t, "stellar.yaml", file)
				}
				requireTaken(t, env, args, path, highest)
			})
		}
	}
}

// requireTaken runs the command up to its action and requires the values of that source.
func requireTaken(t *testing.T, env environment, args, path []string, from config.Rank) {
	t.Helper()
	c, settings := tree(env)
	command := commandAt(c, path)
	defaults := map[string]any{}
	for _, f := range sourced(command) {
		defaults[f.Names()[0]] = f.(interface{ Get() any }).Get()
	}
	ran := false
	command.ArgValidator, command.Action = nil, func(context.Context, *urfave.Command) error {
		ran = true
		settings.Use(command.Flags)
		for _, f := range sourced(command) {
			name, want := f.Names()[0], taken(f, int(from))
			if from == config.FromDefault {
				want = defaults[name]
			}
			require.Equal(t, fmt.Sprint(want), fmt.Sprint(f.(interface{ Get() any }).Get()), name)
			require.Equal(t, from, settings.Origin(name).Rank, name)
		}
		return nil
	}
	require.NoError(t, c.Run(t.Context(), append([]string{"stellar"}, args...)))
	require.True(t, ran)
}

// TestEveryCommandGoesWhereEachSourceSays asks every command which namespace and which Redis
// it takes from which source: in each of the namespaces is a layout that it must refuse.
func TestEveryCommandGoesWhereEachSourceSays(t *testing.T) {
	t.Parallel()
	cfg := redistest.Start(t).Config()
	client := redistest.Client(t, cfg)
	for _, namespace := range []string{"stellar", "filed", "environed", "flagged"} {
		require.NoError(t, client.Set(t.Context(), "{"+namespace+"}:layout", 99, 0).Err())
	}
	file := write(t, "stellar.yaml", "redis-url: "+cfg.URL+"\nnamespace: filed\n")
	more := map[string][]string{
		"tasks reschedule": {"--now"}, "tasks cancel": {"--all"}, "tasks retry": {"--all"}, "tasks delete": {"--all"}, "tasks limit": {"--reset"}, "tasks defaults": {"--reset"},
		"tasks edit": {"--priority", "high"}, "tasks periodic set": {"--task", "echo", "--every", "1h"},
	}
	known, _ := tree(nil)
	for _, command := range leaves(known) {
		c := commandAt(known, command)
		if !slices.ContainsFunc(c.Flags, func(f urfave.Flag) bool { return f.Names()[0] == "namespace" }) || command[0] == "config" || command[0] == "demo" ||
			command[0] == "namespace" { // that lists and removes data of any layout
			continue
		}
		args := slices.Concat(command, more[strings.Join(command, " ")])
		for word := range strings.FieldsSeq(c.ArgsUsage) {
			if !strings.HasPrefix(word, "[") {
				args = append(args, argumentFor(t, word))
			}
		}
		for namespace, source := range map[string]struct {
			env  environment
			args []string
		}{
			"filed":     {environment{"STELLAR_CONFIG": file}, nil},
			"environed": {environment{"STELLAR_CONFIG": file, "STELLAR_NAMESPACE": "environed"}, nil},
			"flagged":   {environment{"REDIS_URL": "redis://127.0.0.1:1", "STELLAR_NAMESPACE": "environed"}, []string{"--config", file, "--redis-url", cfg.URL, "--namespace", "flagged"}},
			"stellar":   {environment{"REDIS_URL": cfg.URL}, nil},
		} {
			r := stellar(t, source.env.with("XDG_RUNTIME_DIR", t.TempDir()), slices.Concat(args, source.args)...)
			require.Equal(t, exitConfig, r.code, "%v: %s", args, r.err)
			require.Regexp(t, `the namespace \\?"`+namespace+`\\?" on Redis has layout 99`, r.err, args)
		}
	}
	written, err := client.DBSize(t.Context()).Result()
	require.NoError(t, err)
	require.EqualValues(t, 4, written)
}

// argumentFor returns an argument that a command accepts where its help says word.
func argumentFor(t *testing.T, word string) string {
	t.Helper()
	switch {
	case strings.Contains(word, "JSON"), word == "N":
		return "1"
	case word == "FILE":
		file := filepath.Join(t.TempDir(), "file")
		require.NoError(t, os.WriteFile(file, nil, 0o600))
		return file
	default:
		return "x"
	}
}

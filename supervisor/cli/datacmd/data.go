// Package datacmd has the command data, whose subcommands check, back up and restore the data
// directory of a redis-server of one's own.
package datacmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"

	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/supervisor/cli/cluster"
	"github.com/stellarfw/stellar/supervisor/cli/config"
	"github.com/stellarfw/stellar/supervisor/cli/files"
	"github.com/stellarfw/stellar/supervisor/ownredis"
)

// Commands returns the command data.
func Commands(e *cluster.Env) []*urfave.Command {
	flags := func(own ...urfave.Flag) []urfave.Flag { return e.Declare(append(own, e.DataFlag(), e.OutputFlag())...) }
	replace := false
	return []*urfave.Command{{
		Name: "data", Usage: "check, back up and restore the data of --data DIR",
		Description: "The directory of a set that runs a redis-server of its own.\n\n" +
			"   $0 data check --data ./data\n" +
			"   $0 data backup --data ./data today.rdb\n" +
			"   $0 data restore --data ./new today.rdb",
		Commands: []*urfave.Command{
			{
				Name: "check", Usage: "tell whether the data can be loaded, and what would be lost",
				Description: "A server of its own loads a copy: it needs as much room on the disk, and in memory, as the data. A set that runs\n" +
					"on the directory goes on. The exit code is 1 if something is damaged.",
				ArgValidator: config.NoArguments, Flags: flags(), Action: e.Action(check),
			},
			{
				Name: "backup", Usage: "write the data, as it is at one moment, to a file", ArgsUsage: "FILE",
				Description: "A set that runs on the directory goes on. The file, in Redis's format RDB, is for this user alone; one that is\n" +
					"there is replaced when the new one is whole.",
				ArgValidator: config.Arguments(1, 1, "FILE"), Flags: flags(), Action: e.Action(backup),
			},
			{
				Name: "restore", Usage: "make a backup the data of a directory", ArgsUsage: "FILE",
				Description:  "No set may run on the directory. A server loads the backup first: nothing is changed if it cannot.",
				ArgValidator: config.Arguments(1, 1, "FILE"),
				Flags: flags(&urfave.BoolFlag{
					Name: "replace", Destination: &replace, HideDefault: true,
					Usage: "move the data that is there into a directory beside the new one",
				}),
				Action: e.Action(func(ctx context.Context, e *cluster.Env, args []string) error {
					return restore(ctx, e, args[0], replace)
				}),
			},
		},
		Action: config.WhichCommand,
	}}
}

// directory returns the configuration of a server on the directory of --data.
func directory(e *cluster.Env) (ownredis.Config, error) {
	if e.Data == "" {
		return ownredis.Config{}, config.Usagef("which directory? Give it with --data, or in STELLAR_DATA")
	}
	return e.ServerOfData(), nil
}

var errDamaged = errors.New("the data is damaged")

func check(ctx context.Context, e *cluster.Env, _ []string) error {
	cfg, err := directory(e)
	if err != nil {
		return err
	}
	r, err := ownredis.Check(ctx, cfg)
	if err != nil {
		return cluster.Cause(ctx, err)
	}
	if e.JSON() {
		err = e.WriteJSON(r)
	} else {
		err = e.WriteLine(lines(r)...)
	}
	if err == nil && r.Damaged != "" {
		err = fmt.Errorf("%w: %s", errDamaged, r.Dir)
	}
	return err
}

// lines says in words what a check has found.
func lines(r ownredis.Report) []string {
	size := link.Count(r.Bytes, "byte")
	switch {
	case r.Damaged != "" && r.File != "":
		return []string{
			r.Damaged,
			fmt.Sprintf("%s: %d bytes can be read, the last %d cannot: they would be lost. To cut them off, copy the directory, then run",
				r.File, r.Whole, r.Lost),
			"   redis-check-aof --fix " + strconv.Quote(r.AOFToFix()),
		}
	case r.Damaged != "":
		return []string{r.Damaged}
	case r.Bytes == 0:
		return []string{r.Dir + ": there is no data"}
	case r.Torn > 0:
		return []string{
			fmt.Sprintf("%s: %s in %s can be loaded", r.Dir, link.Count(r.Keys, "key"), size),
			fmt.Sprintf("the last %s are a write that was cut off: the next start leaves it out, and nothing else", link.Count(r.Torn, "byte")),
		}
	default:
		return []string{fmt.Sprintf("%s: %s in %s can be loaded; nothing is damaged", r.Dir, link.Count(r.Keys, "key"), size)}
	}
}

func backup(ctx context.Context, e *cluster.Env, args []string) error {
	cfg, err := directory(e)
	if err != nil {
		return err
	}
	if err := outside(cfg.Dir, args[0]); err != nil {
		return err
	}
	var size int64
	err = files.Replace(ctx, args[0], func(to io.Writer) error {
		size, err = ownredis.Backup(ctx, cfg, to)
		return cluster.Cause(ctx, err)
	})
	if err != nil {
		return err
	}
	if e.JSON() {
		return e.WriteJSON(map[string]any{"file": args[0], "bytes": size})
	}
	return e.WriteLine(fmt.Sprintf("%s: %s", args[0], link.Count(size, "byte")))
}

// outside returns an error if the file is in the data directory, whose names are the server's: the next backup would remove a
// dump.rdb there.
func outside(dir, file string) error {
	var at [2]string
	for i, path := range []string{dir, filepath.Dir(file)} {
		full, err := filepath.Abs(path)
		if err == nil {
			full, err = filepath.EvalSymlinks(full)
		}
		if err != nil {
			return nil //nolint:nilerr // what is not there is told where it is used
		}
		at[i] = full
	}
	if within, err := filepath.Rel(at[0], at[1]); err == nil && filepath.IsLocal(within) {
		return config.Usagef("%s is in the data directory: write the backup elsewhere, best on another disk", file)
	}
	return nil
}

func restore(ctx context.Context, e *cluster.Env, file string, replace bool) error {
	cfg, err := directory(e)
	if err != nil {
		return err
	}
	r, err := ownredis.Restore(ctx, cfg, file, replace)
	if err != nil {
		return cluster.Cause(ctx, err)
	}
	if e.JSON() {
		return e.WriteJSON(r)
	}
	said := []string{fmt.Sprintf("%s: %s restored", r.Dir, link.Count(r.Keys, "key"))}
	if r.Replaced != "" {
		said = append(said, "what was there is in "+r.Replaced)
	}
	return e.WriteLine(said...)
}

// Package eventscmd has the command events, which shows the cluster's timeline and writes marks into it.
package eventscmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/supervisor/cli/cluster"
	"github.com/stellarfw/stellar/supervisor/cli/config"
	"github.com/stellarfw/stellar/worker/timeline"
)

// Commands returns the command events.
func Commands(e *cluster.Env) []*urfave.Command {
	l := &looking{}
	return []*urfave.Command{{
		Name: "events", Usage: "show what happened in the cluster, and write marks",
		Description: "Joins, crashes and their reasons, take-overs, what operators did, deploys and the like. A TIME is\n" +
			"one such as 2027-01-31T08:00:00Z, or how long ago: 90m.\n\n" +
			"   $0 events --since 24h --kind crash,takeover\n" +
			"   $0 events --kind crash -o json      with the stacks\n" +
			"   $0 events --follow\n" +
			"   $0 events mark 'campaign 7 begins'",
		Commands: []*urfave.Command{
			{
				Name: "list", Usage: "show the latest events, the oldest first", ArgValidator: config.NoArguments,
				Flags: l.flags(e), Action: e.Action(l.run),
			}, {
				Name: "mark", Usage: "write a text into the timeline", ArgsUsage: "TEXT", ArgValidator: config.Arguments(1, 1, "TEXT"),
				Flags: e.ClientFlags(), Action: e.Action(mark),
			},
		},
		DefaultCommand: "list",
	}}
}

// shown is how many events are shown without --limit, and followed how many before --follow goes on.
const (
	shown    = 100
	followed = 10
)

// looking implements the command events list.
type looking struct {
	since, until, node string
	kinds              []string
	limit              int
	follow             bool
}

func (l *looking) flags(e *cluster.Env) []urfave.Flag {
	return e.ClientFlags(
		&urfave.StringFlag{Name: "since", Destination: &l.since, Usage: "only what happened since that `TIME`"},
		&urfave.StringFlag{Name: "until", Destination: &l.until, Usage: "only what happened before that `TIME`"},
		&urfave.StringSliceFlag{
			Name: "kind", Destination: &l.kinds, Config: urfave.StringConfig{TrimSpace: true},
			Usage: "only events of these `KINDS`, separated by commas, such as crash", DefaultText: "all",
		},
		&urfave.StringFlag{Name: "node", Destination: &l.node, Usage: "only events about that `NODE`"},
		&urfave.IntFlag{
			Name: "limit", Config: config.Decimal(), Value: shown, Destination: &l.limit, Usage: "how many at most (`N`); 0 for all",
			DefaultText: fmt.Sprintf("%d; %d with --follow", shown, followed),
		},
		&urfave.BoolFlag{
			Name: "follow", Destination: &l.follow, Usage: "go on with those to come, a line each; Ctrl-C ends it", HideDefault: true,
		},
	)
}

func (l *looking) run(ctx context.Context, e *cluster.Env, _ []string) error {
	since, err := config.ParseInstant("since", l.since, true)
	if err != nil {
		return err
	}
	until, err := config.ParseInstant("until", l.until, true)
	if err != nil {
		return err
	}
	f := timeline.Filter{Node: l.node, Limit: l.limit}
	for _, k := range l.kinds {
		f.Kinds = append(f.Kinds, timeline.Kind(k))
	}
	if l.follow && !e.Given("limit") {
		f.Limit = followed
	}
	if err := f.Validate(); err != nil {
		return config.As(config.ErrUsage, err)
	}
	c, err := e.Connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	now, err := c.Time(ctx)
	if err != nil {
		return err
	}
	f.Since, f.Until = since.On(now), until.On(now)
	if l.follow {
		return follow(ctx, e, c, f)
	}
	events, err := c.Timeline.List(ctx, f)
	if err != nil {
		return err
	}
	return write(e, events, now)
}

// write writes the events as a table.
func write(e *cluster.Env, events []timeline.Event, now time.Time) error {
	if e.JSON() {
		return e.WriteJSON(events)
	}
	if len(events) == 0 {
		return e.WriteLine("no events")
	}
	rows := [][]string{{"WHEN", "KIND", "WHAT", "BY"}}
	for _, x := range events {
		rows = append(rows, []string{when(x.At) + " (" + age(now.Sub(x.At)) + ")", string(x.Kind), x.Words(), by(x)})
	}
	return e.WriteTable(rows)
}

// when returns a time as people here write it.
func when(at time.Time) string { return at.Local().Format("2006-01-02 15:04:05") }

// age returns how long ago something was, in its largest unit.
func age(d time.Duration) string {
	switch {
	case d < time.Second:
		return "now"
	case d < time.Minute:
		return fmt.Sprintf("%ds ago", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm ago", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh ago", d/time.Hour)
	default:
		return fmt.Sprintf("%dd ago", d/(24*time.Hour))
	}
}

// by says who did it, or else which process told of it.
func by(e timeline.Event) string {
	if e.By != "" {
		return e.By
	}
	if e.Process.Host == "" {
		return "-"
	}
	return fmt.Sprintf("%s/%d", e.Process.Host, e.Process.PID)
}

// follow writes events as they come, a line each.
func follow(ctx context.Context, e *cluster.Env, c *cluster.Client, f timeline.Filter) error {
	for x, err := range c.Timeline.Follow(ctx, f) {
		if err == nil {
			err = writeOne(e, x)
		}
		if err != nil {
			return err
		}
	}
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil // somebody ended it, which is its usual end
}

func writeOne(e *cluster.Env, x timeline.Event) error {
	if !e.JSON() {
		return e.WriteLine(strings.Join([]string{when(x.At), string(x.Kind), x.Words(), "- " + by(x)}, " "))
	}
	text, err := json.Marshal(x)
	if err != nil {
		return err
	}
	return e.WriteLine(string(text))
}

// mark implements the command events mark.
func mark(ctx context.Context, e *cluster.Env, args []string) error {
	c, err := e.Connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Timeline.Mark(ctx, args[0], ""); err != nil {
		if errors.Is(err, timeline.ErrMark) {
			return config.As(config.ErrUsage, err)
		}
		return err
	}
	return e.WriteResult(map[string]string{"mark": args[0]}, "marked: "+args[0])
}

package builtin

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/worker/tasks"
)

// taskPeriodic are the arguments of methods about one periodic task.
type taskPeriodic struct {
	Name string `json:"name"`
}

// SetPeriodic are the arguments of api.tasks.setPeriodic, which sets a periodic task at run time. It
// has either Cron, in a Timezone (UTC without one), or Every.
type SetPeriodic struct {
	Name     string          `json:"name,omitempty"` // that of the task without one
	Task     string          `json:"task"`
	Cron     string          `json:"cron,omitempty"`
	Timezone string          `json:"timezone,omitempty"` // such as Europe/Berlin
	Every    time.Duration   `json:"every,omitempty"`
	Payload  json.RawMessage `json:"payload,omitempty"`
	CatchUp  bool            `json:"catchUp,omitempty"`
}

// Periodic returns the periodic task. The error is an ErrBadArguments.
func (s SetPeriodic) Periodic() (tasks.Periodic, error) {
	p := tasks.Periodic{Name: s.Name, Task: s.Task, CatchUp: s.CatchUp}
	if s.Payload != nil {
		p.Payload = s.Payload
	}
	switch {
	case (s.Cron == "") == (s.Every == 0):
		return p, fmt.Errorf("%w: say when: by cron, or every so many milliseconds", rpcregistry.ErrBadArguments)
	case s.Every != 0 && s.Timezone != "":
		return p, fmt.Errorf("%w: timezone belongs to cron", rpcregistry.ErrBadArguments)
	case s.Every != 0:
		p.Schedule = tasks.Every(s.Every)
	default:
		zone, err := time.LoadLocation(s.Timezone) // "" is UTC
		if err != nil || s.Timezone == "Local" {
			return p, fmt.Errorf("%w: timezone %.40q is not known here: use one such as Europe/Berlin", rpcregistry.ErrBadArguments, s.Timezone)
		}
		p.Schedule = tasks.Cron(s.Cron, zone)
	}
	if err := p.Schedule.Err(); err != nil {
		return p, fmt.Errorf("%w: %w", rpcregistry.ErrBadArguments, err)
	}
	return p, nil
}

// registerPeriodic adds the methods about periodic tasks.
func registerPeriodic(r rpcregistry.Registrar, c *tasks.Client, i *tasks.Inspector) {
	handleTask(r, "periodic", func(ctx context.Context, _ none) ([]tasks.PeriodicInfo, error) {
		infos, err := i.Periodic(ctx)
		for n := range infos {
			if len(infos[n].Payload) > listedTask {
				infos[n].Payload = nil
			}
		}
		return infos, err
	})
	handleTask(r, "setPeriodic", func(ctx context.Context, in SetPeriodic) (none, error) {
		p, err := in.Periodic()
		if err == nil {
			err = c.SetPeriodic(ctx, p)
		}
		return none{}, err
	})
	handleTask(r, "periodicHistory", func(ctx context.Context, in taskPeriodic) ([]tasks.PastTick, error) {
		return i.PeriodicHistory(ctx, in.Name)
	})
	handleTask(r, "runPeriodic", func(ctx context.Context, in taskPeriodic) (tasks.Receipt, error) { return c.RunPeriodic(ctx, in.Name) })
	handleTask(r, "pausePeriodic", func(ctx context.Context, in taskPeriodic) (none, error) {
		return none{}, i.PausePeriodic(ctx, in.Name, true)
	})
	handleTask(r, "resumePeriodic", func(ctx context.Context, in taskPeriodic) (none, error) {
		return none{}, i.PausePeriodic(ctx, in.Name, false)
	})
	handleTask(r, "removePeriodic", func(ctx context.Context, in taskPeriodic) (none, error) {
		return none{}, i.RemovePeriodic(ctx, in.Name)
	})
}

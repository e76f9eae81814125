package builtin

import (
	"context"

	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/worker/tasks"
)

// taskPeriodic are the arguments of methods about one periodic task.
type taskPeriodic struct {
	Name string `json:"name"`
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

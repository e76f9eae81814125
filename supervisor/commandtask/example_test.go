package commandtask_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/redisbus/embedded"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/commandtask"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

// A task that runs a program. Its payload is the program's standard input, and
// what the program writes is its result.
func ExampleRegister() {
	app := worker.NewApp()
	upper := commandtask.Command{
		Definition: tasks.Definition{Name: "text.upper", Timeout: time.Minute, Retention: time.Minute},
		Program:    []string{"tr", "a-z", "A-Z"},
	}
	err := commandtask.Register(app, upper, commandtask.Options{Environment: []string{"PATH=" + os.Getenv("PATH")}})
	fmt.Println(err)

	redis := embedded.New()
	defer redis.Close()
	set, err := supervisor.New(supervisor.Config{Workers: 1, Redis: redis.Config()}, app, zerolog.Nop())
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error)
	go func() { served <- set.Serve(ctx) }()
	if err := set.AwaitReady(ctx); err != nil {
		fmt.Println(err)
	}
	queue := set.Nodes()[0].API().Tasks
	result, err := queue.EnqueueAndWait(ctx, "text.upper", "quiet please", tasks.Options{})
	fmt.Println(string(result), err)
	stop()
	fmt.Println(<-served)
	// Output:
	// <nil>
	// "QUIET PLEASE" <nil>
	// <nil>
}

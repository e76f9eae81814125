package cli_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/stellarfw/stellar/supervisor/cli"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

// newApp makes the tasks of the program.
func newApp() (*worker.App, error) {
	app := worker.NewApp()
	tasks.Handle(app, tasks.Definition{Name: "greet"}, func(ctx context.Context, name string) error {
		tasks.Tx(ctx).Result("hello, " + name)
		return nil
	})
	return app, nil
}

var shop = cli.Program{Name: "shop", Version: "1.2.3", App: newApp}

// A program with tasks of its own has the whole command line. Its main function is
//
//	func main() { os.Exit(cli.Main(context.Background(), shop, cli.OS())) }
//
// Here two such programs run: "shop --workers 2", which a signal stops, and
// "shop enqueue", which asks it for a task's result.
func ExampleMain() {
	dir, err := os.MkdirTemp("", "shop-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	env := map[string]string{"STELLAR_SOCKET": filepath.Join(dir, "shop.sock")} // of the embedded Redis
	main := func(signals <-chan os.Signal, args ...string) int {
		return cli.Main(context.Background(), shop, cli.Process{
			Args: append([]string{"shop"}, args...), Signals: signals, Stdout: os.Stdout, Stderr: io.Discard,
			Env: func(name string) (string, bool) { value, set := env[name]; return value, set },
		})
	}

	signals, code := make(chan os.Signal, 1), make(chan int)
	go func() { code <- main(signals, "--workers", "2") }()
	for main(nil, "enqueue", "greet", `"Ada"`, "--wait") != 0 {
		time.Sleep(10 * time.Millisecond) // the nodes do not run yet
	}
	signals <- syscall.SIGTERM
	fmt.Println("exit code", <-code)
	// Output:
	// "hello, Ada"
	// exit code 0
}

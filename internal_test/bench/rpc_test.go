package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/worker"
)

// echoed is what every call carries there and back.
var echoed = strings.Repeat("x", 100)

type echoArgs struct {
	Text string `json:"text"`
}

// caller calls another node of so many from the node with the number from, and waits for
// the echo.
type caller func(from, to int) error

// overTCP starts a Redis that is reached over loopback.
func overTCP(b *scope) link.Config {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(b, err)
	address := l.Addr().String()
	must(b, l.Close())
	_, port, err := net.SplitHostPort(address)
	must(b, err)
	redistest.Start(b, "--port", port)
	return link.Config{URL: "redis://" + address}
}

// rpcSet starts a whole set with a method that echoes, and returns the endpoints of its
// nodes: signed messages, with ids, deadlines and typed methods.
func rpcSet(b *scope, nodes int) []*rpcregistry.Endpoint {
	b.Helper()
	app := worker.NewApp()
	rpcregistry.Handle(app, "echo", func(_ context.Context, a echoArgs) (echoArgs, error) { return a, nil })
	set := startApp(b, supervisor.Config{Workers: nodes, Redis: overTCP(b)}, app)
	var all []*rpcregistry.Endpoint
	for _, n := range set.Nodes() {
		all = append(all, n.API().RPC)
	}
	return all
}

func stellarCaller(b *scope, nodes int) caller {
	b.Helper()
	all := rpcSet(b, nodes)
	return func(from, to int) error {
		got, err := rpcregistry.Do[echoArgs](context.Background(), all[from], "echo", echoArgs{echoed}, rpcregistry.Node(all[to].Self().ID))
		if err == nil && got.Text != echoed {
			err = errors.New("another echo")
		}
		return err
	}
}

// rpcSide starts something and returns its caller.
type rpcSide struct {
	name  string
	start func(b *scope) caller
}

// rpcSides are those of a whole set and its peers, over TCP. grouped is the floor with
// grouped publishes: several callers need them.
func rpcSides(nodes int, grouped bool) []rpcSide {
	return []rpcSide{
		{stellar, func(b *scope) caller { return stellarCaller(b, nodes) }},
		{"psrpc", func(b *scope) caller { return psrpcCaller(b, overTCP(b), nodes) }},
		{bare, func(b *scope) caller {
			f := floorNodes(b, overTCP(b), nodes, grouped)
			return func(_, to int) error { return f.call(context.Background(), to) }
		}},
	}
}

// BenchmarkRPC is calls between the nodes of a whole set, over TCP loopback.
func BenchmarkRPC(b *testing.B) {
	run(b, "RPC of whole sets over TCP", sequential(10), sequential(100), parallel(false), parallel(true), gather(10), gather(100))
}

// sequential is one caller, one call after the other.
func sequential(nodes int) trial {
	work := fmt.Sprintf("one caller, %d nodes", nodes)
	tr := trial{name: work, calls: sized(2000), rows: []row{
		{work: work + ", p50", unit: "µs", lower: true, goal: goal{1.15, bare}},
		{work: work + ", p99", unit: "µs", lower: true},
	}}
	for _, s := range rpcSides(nodes, false) {
		tr.sides = append(tr.sides, side{name: s.name, start: func(b *scope) func(i int) error {
			call := s.start(b)
			return func(i int) error { return call(0, 1+i%(nodes-1)) }
		}})
	}
	return tr
}

// parallel is 64 callers, on one of ten nodes or spread over them. The peers have one
// client in either case.
func parallel(spread bool) trial {
	const nodes = 10
	work := "64 callers on one of 10 nodes"
	if spread {
		work = "64 callers spread over 10 nodes"
	}
	tr := trial{name: work, rows: []row{{work: work, unit: "/s", goal: goal{0.7, bare}}}}
	for _, s := range rpcSides(nodes, true) {
		tr.sides = append(tr.sides, side{name: s.name, run: func(b *scope) []float64 {
			call, next := s.start(b), make([]int, 64)
			return []float64{calls(b, 64, func(caller int) error {
				next[caller]++
				from := 0
				if spread {
					from = caller % nodes
				}
				return call(from, (from+1+(caller+next[caller])%(nodes-1))%nodes)
			})}
		}})
	}
	return tr
}

// gather is a call of all nodes, with a verdict of each. The floor is one PUBLISH that
// every node answers with another, grouped ones.
func gather(nodes int) trial {
	work := fmt.Sprintf("gather, %d nodes: time for each", nodes)
	each := func(b *scope, f func() error) []float64 {
		must(b, f())
		took := repeated(b, sized(200), func(int) error { return f() })
		slices.Sort(took)
		return []float64{micros(took[len(took)/2]) / float64(nodes)}
	}
	return trial{name: work, rows: []row{{work: work, unit: "µs", lower: true, goal: goal{at: 25}}}, sides: []side{
		{name: stellar, run: func(b *scope) []float64 {
			from := rpcSet(b, nodes)[0]
			return each(b, func() error {
				ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
				defer cancel()
				verdicts, err := from.DoAll(ctx, "echo", echoArgs{echoed})
				for _, v := range verdicts {
					err = errors.Join(err, v.Err)
				}
				if err == nil && len(verdicts) != nodes {
					err = fmt.Errorf("%d verdicts of %d nodes", len(verdicts), nodes)
				}
				return err
			})
		}},
		{name: bare, run: func(b *scope) []float64 {
			f := floorNodes(b, overTCP(b), nodes, true)
			return each(b, func() error { return f.ask(context.Background(), "all", nodes) })
		}},
	}}
}

package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/supervisor/cli/config"
	"github.com/stellarfw/stellar/supervisor/ownredis"
)

// SaveTime is how long the server of --data may take to save its data when its set has stopped.
const SaveTime = time.Minute

// Data is the server on the directory of --data, which this process runs.
type Data struct {
	*ownredis.Server

	endServe context.CancelFunc
	served   chan error
}

// ServerOfData returns the configuration of the server on the directory of --data, without a log.
func (e *Env) ServerOfData() ownredis.Config {
	cfg := e.OwnRedis()
	cfg.RuntimeDir, cfg.Log = runtimeDir(e.Settings), zerolog.Nop()
	return cfg
}

// OpenData runs the server on the directory of --data. It returns when the data is loaded. owner is
// the lock of the directory, if this process has it already; nil otherwise.
func (e *Env) OpenData(ctx context.Context, owner *os.File, log zerolog.Logger) (*Data, error) {
	cfg := e.ServerOfData()
	cfg.Owner, cfg.Log = owner, log
	server, err := ownredis.Open(ctx, cfg)
	if err != nil {
		if known(err) {
			return nil, err
		}
		return nil, config.As(link.ErrUnavailable, err)
	}
	log.Info().Str("data", server.Dir()).Int("pid", server.PID()).Str("version", server.Version()).Str("durability", string(cfg.Durability)).
		Msg("a redis-server of one's own has loaded its data")
	e.abandon.Store(new(server.Abandon))
	ctx, endServe := context.WithCancel(context.WithoutCancel(ctx)) // nodes that drain need it
	d := &Data{Server: server, endServe: endServe, served: make(chan error, 1)}
	go func() { d.served <- server.Serve(ctx) }()
	return d, nil
}

// known reports whether the error is one of a directory or a program that has an exit code of its own.
func known(err error) bool {
	for _, kind := range []error{ownredis.ErrNotInstalled, ownredis.ErrDir, ownredis.ErrInUse, ownredis.ErrUnsupported} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// Close has the server save its data and end. It is called when nothing uses the server any more.
func (d *Data) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), SaveTime)
	defer cancel()
	d.endServe()
	return errors.Join(<-d.served, d.Server.Close(ctx))
}

// SharedData is the part that a child process has in the server of its guardian.
type SharedData struct {
	*ownredis.Member

	lost <-chan struct{}
}

// JoinData takes part in the server on the directory of --data, which the guardian of this process runs. lost is
// closed when the guardian is gone.
func (e *Env) JoinData(ctx context.Context, lost <-chan struct{}, log zerolog.Logger) (*SharedData, error) {
	m, err := ownredis.Join(ctx, e.Data, log)
	if err != nil {
		return nil, config.As(link.ErrUnavailable, err)
	}
	d := &SharedData{m, lost}
	e.abandon.Store(new(func() { m.Abandon(d.orphaned()) }))
	return d, nil
}

// AbandonData asks the server of --data to save its data and end, if it would otherwise be left behind by this process, which
// ends at once. It may be called at any time.
func (e *Env) AbandonData() {
	if abandon := e.abandon.Load(); abandon != nil {
		(*abandon)()
	}
}

// Close has the server save its data and end if the guardian is gone and no other process uses it.
func (d *SharedData) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), SaveTime)
	defer cancel()
	return d.Leave(ctx, d.orphaned())
}

// orphaned reports whether the guardian is gone.
func (d *SharedData) orphaned() bool {
	select {
	case <-d.lost:
		return true
	default:
		return false
	}
}

// findData returns the way to the server that runs on the directory of --data.
func (e *Env) findData(ctx context.Context) (link.Config, error) {
	cfg, err := ownredis.Find(ctx, e.Data)
	if errors.Is(err, ownredis.ErrNotRunning) {
		err = config.As(ErrNoSet, fmt.Errorf("%w: start a set (%s run --data %s)", err, e.Program, e.Data))
	}
	return cfg, err
}

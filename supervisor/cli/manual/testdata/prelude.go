// Package docs is what the Go blocks of the README and the manual stand on: the
// tests check each page's blocks together with this file. A block may declare a
// name again; the page's own declaration counts then.
package docs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"github.com/stellarfw/stellar/cache"
	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/admin/metrics"
	"github.com/stellarfw/stellar/supervisor/cli"
	"github.com/stellarfw/stellar/supervisor/otel"
	"github.com/stellarfw/stellar/supervisor/supervisortest"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/connections"
	"github.com/stellarfw/stellar/worker/tasks"
	"github.com/stellarfw/stellar/worker/timeline"
)

var (
	ctx context.Context
	t   *testing.T
	log zerolog.Logger
	app *worker.App
	api *worker.API
	set *supervisor.Set
	c   *cache.Cache
)

type Welcome struct{ To string }

var in Welcome

func welcome(ctx context.Context, in Welcome) error { return nil }

func send(ctx context.Context, to string) error { return nil }

type (
	Charge struct{ Cents int64 }
	Table  struct{ Rows int }
)

func charge(ctx context.Context, o Order, key string) (Charge, error) { return Charge{}, nil }

func parcel(ctx context.Context, o Order) (string, error) { return "", nil }

type User struct{ Visits int }

var user User

func fromDatabase(ctx context.Context) (User, error) { return User{}, nil }

var report string

func store(ctx context.Context, report string, fence int64) error { return nil }

type (
	FlushArgs  struct{ Box string }
	FlushReply struct{ Node string }
)

var (
	args    FlushArgs
	message any
	id      string
)

func tenantOf(ctx context.Context) string                           { return "" }
func withTenant(ctx context.Context, tenant string) context.Context { return ctx }

func read(ctx context.Context, socket connections.Client) error { return nil }

type Price struct{ EUR float64 }

var price Price

func handle(ctx context.Context, m redisbus.Message) {}
func lost(ctx context.Context, gap redisbus.Gap)     {}

type Order struct{ Cents int }

type account struct{}

func (account) Charge(ctx context.Context, order Order, id string, fence int64) error { return nil }

var bank account

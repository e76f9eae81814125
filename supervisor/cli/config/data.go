package config

import (
	"context"
	"errors"
	"fmt"

	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/supervisor/ownredis"
)

// Flags of a redis-server of one's own.
const (
	dataFlag       = "data"
	durabilityFlag = "durability"
)

// data holds where a set keeps the data of a redis-server of its own.
type data struct {
	Data       string // the directory; "" for none
	durability string
}

// DataFlag returns the flag --data.
func (s *Settings) DataFlag() *urfave.StringFlag {
	return s.fileFlag(GroupRedis, dataFlag, "STELLAR_DATA", &s.Data,
		"`DIR` with the data of a redis-server that the set runs itself, in place of an address: durable, for this machine's user alone")
}

// DurabilityFlag returns the flag of the commands that run such a server.
func (s *Settings) DurabilityFlag() *urfave.StringFlag {
	return &urfave.StringFlag{
		Name: durabilityFlag, Category: GroupRedis, Value: string(ownredis.EverySecond), Destination: &s.durability,
		Sources: s.from(durabilityFlag, "STELLAR_DURABILITY"),
		Usage:   "`WHEN` the server of --data flushes to the disk: everysec, or always, before each answer",
	}
}

func (s *Settings) checkData(require requirement) {
	err := ownredis.Durability(s.durability).Validate()
	require(durabilityFlag, err == nil, "%w", err)
	require(durabilityFlag, s.Data != "", "it is for the server of --data, and no directory is given")
}

// checkDataAlone returns an error if Redis is given twice: place is the flag of the address, "" for none.
func (s *Settings) checkDataAlone(place string) error {
	if s.Data == "" || place == "" {
		return nil
	}
	return Usagef("%s and %s: give the directory of a Redis of one's own, or the address of another, not both",
		s.Origin(dataFlag).Where, s.Origin(place).Where)
}

// checkDataDir returns an error if the server of --data cannot be run. It changes nothing. A
// directory that another process uses, and what could not be seen for now, is returned apart, see [Prepared]. A child
// process checks nothing: its guardian runs the server.
func (s *Settings) checkDataDir(ctx context.Context) (momentary []error, err error) {
	if s.Data == "" || s.guarded {
		return nil, nil
	}
	err = ownredis.Usable(ctx, ownredis.Config{Dir: s.Data})
	if err == nil {
		return nil, nil
	}
	told := fmt.Errorf("%s: %w", s.Origin(dataFlag).Where, err)
	switch {
	case ctx.Err() != nil, errors.Is(err, context.DeadlineExceeded), errors.Is(err, ownredis.ErrInUse):
		return []error{told}, nil //nolint:nilerr // it is among those
	case errors.Is(err, ownredis.ErrNotInstalled):
		return nil, As(ErrUsage, told)
	default:
		return nil, As(ErrInvalid, told)
	}
}

// OwnRedis returns the configuration of the server on the directory of --data, without its log and
// its run-time directory.
func (s *Settings) OwnRedis() ownredis.Config {
	return ownredis.Config{Dir: s.Data, Durability: ownredis.Durability(s.durability)}
}

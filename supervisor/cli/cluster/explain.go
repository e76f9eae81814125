package cluster

import (
	"errors"
	"fmt"
	"strings"

	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/supervisor/cli/config"
)

// ExplainCall adds advice for the user to the error of a remote call.
func ExplainCall(e *Env, err error) error {
	remote, ok := errors.AsType[*rpcregistry.Error](err)
	if !ok {
		return err
	}
	switch remote.Code {
	case rpcregistry.ErrNoSuchMethod:
		advice := ""
		if remote.Message != "" {
			advice = strings.Replace(remote.Message+"; ", "?; ", "? ", 1)
		}
		return config.As(err, fmt.Errorf("unknown method %s: %s\"%s call api.methods\" lists what there is", remote.Method, advice, e.Program))
	case rpcregistry.ErrBadArguments:
		where := remote.Method
		if remote.Node != "" {
			where += " on " + remote.Node
		}
		// Unlike in its Error, the message is not quoted: it may say what to write.
		return config.As(err, fmt.Errorf("call of %s: %s: %s: \"%s call api.methods\" tells what it takes",
			where, string(remote.Code), remote.Message, e.Program))
	case rpcregistry.ErrNoSuchTarget:
		return fmt.Errorf("%w: \"%s status\" lists the live nodes", err, e.Program)
	case rpcregistry.ErrNoSuchConnection:
		return fmt.Errorf("%w: \"%s call api.connections.list --all\" lists the connections", err, e.Program)
	case rpcregistry.ErrTimeout:
		return fmt.Errorf("%w: nobody knows whether it ran; a node with another token (STELLAR_TOKEN) drops calls, and says so in its log", err)
	case rpcregistry.ErrNodeDown:
		return fmt.Errorf("%w: nobody knows whether it ran", err)
	default:
		return err
	}
}

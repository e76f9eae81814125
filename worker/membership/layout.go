package membership

import (
	"context"
	"errors"
	"fmt"

	"github.com/stellarfw/stellar/redisbus/link"
)

// layouts are the versions of data on Redis that a program takes over (from min
// on) and writes (max).
type layouts struct{ min, max int }

// layouts returns those of this program; tests pass others.
func (d Directory) layouts() layouts {
	if d.speaks != (layouts{}) {
		return d.speaks
	}
	return layouts{link.LayoutMin, link.Layout}
}

// AdmitNode checks before a process starts nodes what each join checks again:
// whether they may work with the data of the namespace. The error is a
// [*link.LayoutError], or one of link.Explain.
func (d Directory) AdmitNode(ctx context.Context) error { return d.admit(ctx, true) }

// AdmitClient checks whether a program that is no node may work with the data of
// the namespace. Such a program does not raise its layout. Errors are those of
// [Directory.AdmitNode].
func (d Directory) AdmitClient(ctx context.Context) error { return d.admit(ctx, false) }

func (d Directory) admit(ctx context.Context, node bool) error {
	own := d.layouts()
	_, err := layoutScript.Call(ctx, d.Client, d.layoutKeys(), own.min, own.max, node)
	if err != nil {
		return fmt.Errorf("layout on Redis: %w", d.layoutError(err))
	}
	return nil
}

// layoutKeys are the keys that admit.lua looks at, in its order.
func (d Directory) layoutKeys() []string {
	return []string{d.Keys.Layout(), d.Keys.Epoch(), d.Keys.Tasks(), d.Keys.Members(), d.Keys.Leases()}
}

// layoutError turns the refusal of admit.lua into a [*link.LayoutError].
func (d Directory) layoutError(err error) error {
	refused, ok := errors.AsType[*link.RefusedError](err)
	if !ok || refused.Word != "LAYOUT" {
		return err
	}
	own := d.layouts()
	e := &link.LayoutError{Namespace: d.Keys.Channel(), Min: own.min, Max: own.max}
	if err := refused.Details.Row(0).Scan(&e.Found); err != nil {
		return err
	}
	var malformed error
	e.Older, malformed = refused.Details.From(1).Texts()
	if malformed != nil {
		return malformed
	}
	return e
}

package membership

import (
	"context"
	"errors"
	"fmt"

	"github.com/stellarfw/stellar/redisbus/link"
)

// layouts says which versions of the data on Redis (see link.Layout) a program can work
// with: it takes over versions from min on, and writes max.
type layouts struct{ min, max int }

// layouts returns the layouts of this program, unless a test has set others.
func (d Directory) layouts() layouts {
	if d.testLayouts != (layouts{}) {
		return d.testLayouts
	}
	return layouts{link.LayoutMin, link.Layout}
}

// AdmitNode checks whether nodes of this program may work with the data of the namespace. A
// process calls it before it starts nodes; [Keeper.Join] checks again. The error is a
// [*link.LayoutError], or one of link.Explain.
func (d Directory) AdmitNode(ctx context.Context) error { return d.admit(ctx, true) }

// AdmitClient checks whether a program that is no node may work with the data of
// the namespace. Unlike a node, such a program does not raise the data's layout. Errors are
// those of [Directory.AdmitNode].
func (d Directory) AdmitClient(ctx context.Context) error { return d.admit(ctx, false) }

func (d Directory) admit(ctx context.Context, node bool) error {
	own := d.layouts()
	_, err := layoutScript.Call(ctx, d.Client, d.layoutKeys(), own.min, own.max, node)
	if err != nil {
		return fmt.Errorf("layout on Redis: %w", d.layoutError(err))
	}
	return nil
}

// layoutKeys returns the keys that admit.lua reads, in its order.
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
	e := &link.LayoutError{Namespace: d.Keys.Namespace(), Min: own.min, Max: own.max}
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

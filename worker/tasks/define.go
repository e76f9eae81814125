package tasks

import (
	"context"
	"encoding/json"
	"fmt"
)

// Defined is a task with the type of its payload, for both sides: the program of the nodes
// handles it, any program enqueues it, and neither can mistake its name, payload or queue.
// Make it with [Define], as a variable of a package that both import:
//
//	var Welcome = tasks.Define[WelcomeIn](tasks.Definition{Name: "email.welcome", Queue: "mail"})
//
//	Welcome.Handle(app, send)                                    // in the program of the nodes
//	receipt, err := Welcome.Enqueue(ctx, client.Tasks, in)       // anywhere
//	err = Welcome.EnqueueAndWait(ctx, client.Tasks, in, options) // until it has ended
type Defined[In any] struct{ definition Definition }

// Define returns the task of a definition. An invalid definition is an error of its Handle
// (see [Registry.Err]) and of its enqueues.
func Define[In any](d Definition) Defined[In] { return Defined[In]{d.withDefaults()} }

// Definition returns the task's definition, with its defaults.
func (d Defined[In]) Definition() Definition { return d.definition }

// Handle is [Handle] of the task.
func (d Defined[In]) Handle(r Registrar, h func(ctx context.Context, in In) error) {
	Handle(r, d.definition, h)
}

// HandleBatch is [HandleBatch] of the task.
func (d Defined[In]) HandleBatch(r Registrar, b Batch, h func(ctx context.Context, in []In) error) {
	HandleBatch(r, d.definition, b, h)
}

// Request returns the task with a payload, for [Client.EnqueueMany] and [Request].Then.
func (d Defined[In]) Request(in In, o Options) Request {
	o.definition = &d.definition
	return Request{Name: d.definition.Name, Payload: in, Options: o}
}

// Enqueue is [Client.Enqueue] of the task. The client needs not know its definition.
func (d Defined[In]) Enqueue(ctx context.Context, c *Client, in In) (Receipt, error) {
	return d.EnqueueWith(ctx, c, in, Options{})
}

// EnqueueWith is [Client.EnqueueWith] of the task.
func (d Defined[In]) EnqueueWith(ctx context.Context, c *Client, in In, o Options) (Receipt, error) {
	r := d.Request(in, o)
	return c.EnqueueWith(ctx, r.Name, r.Payload, r.Options)
}

// EnqueueTx is [Transaction.EnqueueWith] of the task.
func (d Defined[In]) EnqueueTx(tx *Transaction, in In, o Options) {
	r := d.Request(in, o)
	tx.EnqueueWith(r.Name, r.Payload, r.Options)
}

// EnqueueAndWait is [Client.EnqueueAndWait] of the task.
func (d Defined[In]) EnqueueAndWait(ctx context.Context, c *Client, in In, o Options) error {
	_, err := d.enqueueAndWait(ctx, c, in, o)
	return err
}

func (d Defined[In]) enqueueAndWait(ctx context.Context, c *Client, in In, o Options) (json.RawMessage, error) {
	r := d.Request(in, o)
	return c.EnqueueAndWait(ctx, r.Name, r.Payload, r.Options)
}

// Wait is [Client.Wait] for the task with that id.
func (d Defined[In]) Wait(ctx context.Context, c *Client, id string) error {
	_, err := c.Wait(ctx, id)
	return err
}

// DefinedResult is [Defined] for a task with a result of type Out.
type DefinedResult[In, Out any] struct{ Defined[In] }

// DefineResult is [Define] for a task with a result:
//
//	var Sum = tasks.DefineResult[[]int, int](tasks.Definition{Name: "sum"})
//
//	Sum.Handle(app, func(ctx context.Context, in []int) (int, error) { … })
//	sum, err := Sum.EnqueueAndWait(ctx, client.Tasks, []int{1, 2, 3}, tasks.Options{})
func DefineResult[In, Out any](d Definition) DefinedResult[In, Out] {
	return DefinedResult[In, Out]{Define[In](d)}
}

// Handle is [HandleResult] of the task.
func (d DefinedResult[In, Out]) Handle(r Registrar, h func(ctx context.Context, in In) (Out, error)) {
	HandleResult(r, d.definition, h)
}

// HandleBatch is [HandleBatchResult] of the task.
func (d DefinedResult[In, Out]) HandleBatch(r Registrar, b Batch, h func(ctx context.Context, in []In) ([]Out, error)) {
	HandleBatchResult(r, d.definition, b, h)
}

// EnqueueAndWait is [Client.EnqueueAndWait] of the task; it returns the task's result.
func (d DefinedResult[In, Out]) EnqueueAndWait(ctx context.Context, c *Client, in In, o Options) (Out, error) {
	result, err := d.enqueueAndWait(ctx, c, in, o)
	return decodeResult[Out](result, d.definition.Name, err)
}

// Wait is [WaitFor] the task with that id.
func (d DefinedResult[In, Out]) Wait(ctx context.Context, c *Client, id string) (Out, error) {
	return WaitFor[Out](ctx, c, id)
}

// decodeResult decodes the result of a task; the zero value when there is an error or its
// handler set none.
func decodeResult[Out any](result json.RawMessage, of string, err error) (Out, error) {
	var out Out
	if err != nil || result == nil {
		return out, err
	}
	if err := json.Unmarshal(result, &out); err != nil {
		return out, fmt.Errorf("result of %s does not fit %T: %w", of, out, err)
	}
	return out, nil
}

package rpcregistry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/wire"
)

// Method is one thing that nodes can be asked to do.
type Method struct {
	// Name is what callers say, such as "api.mail.flush".
	Name string
	// Arguments and Result are their types, for people to read.
	Arguments, Result string
	// Call runs it. args is valid JSON or nil, the response JSON or nil.
	Call func(ctx context.Context, args json.RawMessage) (json.RawMessage, error)
}

// Registrar takes methods: a [Registry], or what collects registrations for one.
type Registrar interface {
	RegisterMethod(m Method)
}

// Handle registers f under that name. Arguments are JSON and reach Req in one
// of two ways, as the caller prefers:
//
//   - by name: an object is decoded into Req as encoding/json does it;
//   - by position, as doCluster("api.log", ["text", "info"]) sends them: the
//     elements of a list are decoded one by one into the exported fields of a
//     struct Req, in their order. Fields without an element keep their zero value;
//     more elements than fields are an error. A list whose only element is an
//     object is that object by name, unless the first field can hold an object
//     itself; one with a single element is that element where Req is no struct.
//
// A Req that is a slice, an array or implements json.Unmarshaler gets the whole
// list, and a json.RawMessage or any Req gets what was sent. No arguments, null
// and [] are the zero Req. A missing or unknown field is no error, so that
// neighbouring versions understand each other.
//
// The response is Res as JSON; a nil one is none. An error of f crosses the wire
// as its text and its [Code], a panic as [Panicked]. ctx ends at the caller's
// deadline; [FromContext] tells who calls.
func Handle[Req, Res any](r Registrar, name string, f func(ctx context.Context, req Req) (Res, error)) {
	decode := decoder[Req]()
	r.RegisterMethod(Method{
		Name:      name,
		Arguments: describe(reflect.TypeFor[Req]()),
		Result:    describe(reflect.TypeFor[Res]()),
		Call: func(ctx context.Context, args json.RawMessage) (json.RawMessage, error) {
			var req Req
			if err := decode(args, &req); err != nil {
				return nil, fmt.Errorf("%w: %w", BadArguments, err)
			}
			res, err := f(ctx, req)
			if err != nil {
				return nil, err
			}
			text, err := wire.Encode(res)
			if err != nil {
				return nil, fmt.Errorf("response: %w", err)
			}
			return text, nil
		},
	})
}

// Registry holds the methods of a node. The zero value is empty; it is safe for
// concurrent use.
type Registry struct {
	mu      sync.RWMutex
	methods map[string]Method
	deny    []string
	errs    []error
}

// NewRegistry returns an empty registry.
func NewRegistry() *Registry { return &Registry{} }

// RegisterMethod implements [Registrar]. What is wrong with the method is told
// by [Registry.Err].
func (r *Registry) RegisterMethod(m Method) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch _, twice := r.methods[m.Name]; {
	case !redisbus.ValidName(m.Name):
		r.errs = append(r.errs, fmt.Errorf("method %q: use 1 to 200 letters, digits and . _ : -", m.Name))
	case twice:
		r.errs = append(r.errs, fmt.Errorf("method %s is registered twice", m.Name))
	case m.Call == nil:
		r.errs = append(r.errs, fmt.Errorf("method %s has no function", m.Name))
	default:
		if r.methods == nil {
			r.methods = map[string]Method{}
		}
		r.methods[m.Name] = m
	}
}

// Deny forbids methods by pattern: "api.stop", or with * for any text,
// "api.cache.*". A denied method answers [Denied], also one that does not exist.
func (r *Registry) Deny(patterns ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range patterns {
		if !redisbus.ValidName(strings.ReplaceAll(p, "*", "x")) {
			r.errs = append(r.errs, fmt.Errorf("denied method %q: use letters, digits and . _ : - and * for any text", p))
			continue
		}
		r.deny = append(r.deny, p)
	}
}

// Err reports everything that was wrong with the registrations.
func (r *Registry) Err() error {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return errors.Join(r.errs...)
}

// Clone returns a copy, for a node to add its own methods to those of the app.
func (r *Registry) Clone() *Registry {
	c := NewRegistry()
	r.mu.RLock()
	defer r.mu.RUnlock()
	c.methods = make(map[string]Method, len(r.methods)+16)
	maps.Copy(c.methods, r.methods)
	c.deny, c.errs = slices.Clone(r.deny), slices.Clone(r.errs)
	return c
}

// Methods returns what may be called, by name.
func (r *Registry) Methods() []Method {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var all []Method
	for name, m := range r.methods {
		if !r.denied(name) {
			all = append(all, m)
		}
	}
	slices.SortFunc(all, func(a, b Method) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Lookup returns a method, or [NoSuchMethod] or [Denied].
func (r *Registry) Lookup(name string) (Method, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.denied(name) {
		return Method{}, Denied
	}
	m, ok := r.methods[name]
	if !ok {
		return Method{}, NoSuchMethod
	}
	return m, nil
}

func (r *Registry) has(name string) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	_, ok := r.methods[name]
	return ok
}

func (r *Registry) denied(name string) bool {
	return slices.ContainsFunc(r.deny, func(p string) bool { return matches(p, name) })
}

// matches reports whether the name fits the pattern, whose * stand for any text.
func matches(pattern, name string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == name
	}
	rest, ok := strings.CutPrefix(name, parts[0])
	if !ok {
		return false
	}
	for _, part := range parts[1 : len(parts)-1] {
		i := strings.Index(rest, part)
		if i < 0 {
			return false
		}
		rest = rest[i+len(part):]
	}
	return strings.HasSuffix(rest, parts[len(parts)-1])
}

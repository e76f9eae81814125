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

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/wire"
)

// Method is a function that nodes can be asked to run.
type Method struct {
	// Name is the name that callers use, such as "api.mail.flush".
	Name string
	// Arguments and Result describe the types of the arguments and of the response, for
	// people to read. For methods of [Handle], [Registry.Methods] fills them in.
	Arguments, Result string
	// Call runs the method.
	Call MethodFunc
	// Control: the method serves to ask and to steer the node, and returns soon. Its calls have
	// slots of their own (see [Config].MaxCalls).
	Control bool

	// describe returns Arguments and Result. It is called on demand: texts made in advance
	// would cost memory on each of a thousand nodes.
	describe func() (arguments, result string)
}

// Registrar collects methods. [Registry] and worker.App are Registrars.
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
//     object is decoded by name like that object, unless the first field can hold an
//     object itself. For a Req that is no struct, a list of one element is decoded as
//     that element.
//
// A Req that is a slice, an array or implements json.Unmarshaler gets the whole
// list; a Req of type json.RawMessage or any gets the arguments as they were sent. No
// arguments, null and [] are the zero Req. A missing or unknown field is no error, so that
// neighbouring versions understand each other; [HandleStrict] refuses unknown fields.
// Arguments that do not fit end the call with [ErrBadArguments] and a text that says
// what the method takes.
//
// The response is Res as JSON; a nil Res is no response. The caller gets an error of f as
// its text and its [Code], and a panic as [ErrPanicked]. ctx ends at the caller's
// deadline; [FromContext] names the caller.
func Handle[Req, Res any](r Registrar, name string, f func(ctx context.Context, req Req) (Res, error)) {
	HandleDecoded(r, name, Decoder{Decode: json.Unmarshal}, f)
}

// HandleStrict is [Handle] for a method that must never do something else than its
// caller meant: a member of an object that is no field of Req, or of a struct inside
// Req, ends the call with [ErrBadArguments] instead of being ignored. As with Handle,
// the case of letters does not matter, and a type with its own UnmarshalJSON
// decides for itself.
//
// The built-in methods are strict. So a node refuses a call with a field that only later
// versions know. That is the lesser evil: to ignore a new or misspelt filter could mean
// to delete all tasks.
func HandleStrict[Req, Res any](r Registrar, name string, f func(ctx context.Context, req Req) (Res, error)) {
	HandleDecoded(r, name, Decoder{Decode: unmarshalStrict}, f)
}

// Decoder decodes arguments whose JSON form differs from the form that encoding/json would read.
type Decoder struct {
	// Decode fills v, which points to a value of the type of the arguments or, for arguments by position, to
	// one of its fields.
	Decode func(text []byte, v any) error
	// Form returns the type by which api.methods describes what Decode reads into a type; see [Formed]. Nil:
	// the types themselves.
	Form func(reflect.Type) reflect.Type
}

// HandleDecoded is [Handle] with the caller's own decoder of JSON.
func HandleDecoded[Req, Res any](
	r Registrar, name string, decoding Decoder, f func(ctx context.Context, req Req) (Res, error),
) {
	if f == nil || decoding.Decode == nil {
		r.RegisterMethod(Method{Name: name}) // which refuses it
		return
	}
	decodeArgs := decoder[Req](decoding.Decode)
	r.RegisterMethod(Method{
		Name: name,
		describe: func() (arguments, result string) {
			return decoding.describe(reflect.TypeFor[Req]()), describe(reflect.TypeFor[Res]())
		},
		Call: func(ctx context.Context, args json.RawMessage) (json.RawMessage, error) {
			var req Req
			if err := decodeArgs(args, &req); err != nil {
				return nil, fmt.Errorf("%w: %w: it takes %s", ErrBadArguments, err, decoding.describe(reflect.TypeFor[Req]()))
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

// describe returns the JSON form of a type of arguments.
func (d Decoder) describe(t reflect.Type) string {
	if d.Form != nil {
		t = d.Form(t)
	}
	return describe(t)
}

// ByPosition returns a registrar whose methods get lists of arguments as rewrite returns them:
// for callers with another order or number of arguments. An error of rewrite is an
// [ErrBadArguments].
func ByPosition( //nolint:ireturn // a registrar around another
	r Registrar, rewrite func(list []json.RawMessage) ([]json.RawMessage, error),
) Registrar {
	return positional{r, rewrite}
}

type positional struct {
	Registrar

	rewrite func(list []json.RawMessage) ([]json.RawMessage, error)
}

func (p positional) RegisterMethod(m Method) {
	if call := m.Call; call != nil {
		m.Call = func(ctx context.Context, args json.RawMessage) (json.RawMessage, error) {
			args, err := p.rewritten(args)
			if err != nil {
				return nil, fmt.Errorf("%w: %w", ErrBadArguments, err)
			}
			return call(ctx, args)
		}
	}
	p.Registrar.RegisterMethod(m)
}

func (p positional) rewritten(args json.RawMessage) (json.RawMessage, error) {
	if len(args) == 0 || args[0] != '[' {
		return args, nil
	}
	list, err := elements(args)
	if err != nil {
		return nil, err
	}
	if list, err = p.rewrite(list); err != nil {
		return nil, err
	}
	return wire.Encode(list)
}

// Registry holds the methods of a node. The zero value is empty; it is safe for
// concurrent use.
type Registry struct {
	base *Registry // has further methods and denials, or is nil

	mu      sync.RWMutex
	methods map[string]*Method
	deny    []string
	advise  func(method string) string
	errs    []error
}

// NewRegistry returns an empty registry.
func NewRegistry() *Registry { return &Registry{} }

// RegisterMethod implements [Registrar]. [Registry.Err] reports what is wrong with the
// method.
func (r *Registry) RegisterMethod(m Method) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch _, twice := r.methods[m.Name]; {
	case !link.ValidName(m.Name):
		r.errs = append(r.errs, link.CheckName("method", m.Name))
	case twice || r.base.has(m.Name):
		r.errs = append(r.errs, fmt.Errorf("method %s is registered twice", m.Name))
	case m.Call == nil:
		r.errs = append(r.errs, fmt.Errorf("method %s has no function", m.Name))
	default:
		if r.methods == nil {
			r.methods = map[string]*Method{}
		}
		r.methods[m.Name] = &m
	}
}

// Deny forbids methods by pattern: "api.stop", or with * for any text,
// "api.cache.*". A call of a denied method ends with [ErrDenied], also if there is no such
// method. Only calls are forbidden: what the method does may be done in other ways, such as
// by whoever can write to Redis.
func (r *Registry) Deny(patterns ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range patterns {
		if !link.ValidName(strings.ReplaceAll(p, "*", "x")) {
			r.errs = append(r.errs, fmt.Errorf("denied method %q: use letters, digits and . _ : - and * for any text", p))
			continue
		}
		r.deny = append(r.deny, p)
	}
}

// CheckDenials returns an error for each pattern of [Registry.Deny] that none of the registry's
// methods and none of the names also fits: who meant to forbid something has forbidden nothing.
func (r *Registry) CheckDenials(also []string) error {
	names := slices.Clone(also)
	var patterns []string
	for part := r; part != nil; part = part.base {
		part.mu.RLock()
		names = slices.AppendSeq(names, maps.Keys(part.methods))
		patterns = append(patterns, part.deny...)
		part.mu.RUnlock()
	}
	slices.Sort(names)
	var errs []error
	for _, p := range patterns {
		if slices.ContainsFunc(names, func(name string) bool { return matches(p, name) }) {
			continue
		}
		hint := "; api.methods lists those of a running node"
		if like := link.Nearest(p, names); like != "" {
			hint = fmt.Sprintf(": did you mean %q?", like)
		}
		errs = append(errs, fmt.Errorf("denied method %q: there is no such method%s", p, hint))
	}
	return errors.Join(errs...)
}

// Advise has the error for a method that the registry does not have say what advise returns
// for its name, such as another method that does the same. "" is no advice.
func (r *Registry) Advise(advise func(method string) string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.advise = advise
}

// Err reports everything that was wrong with the registrations.
func (r *Registry) Err() error {
	if r == nil {
		return nil
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	return errors.Join(r.base.Err(), errors.Join(r.errs...))
}

// Extend returns a registry for one node: it has all methods of r, also those that r
// gets later, and further methods can be registered in the new registry without changing
// r. So all nodes of a process share the methods of their app.
func (r *Registry) Extend() *Registry { return &Registry{base: r} }

// Methods returns the methods that may be called, ordered by name.
func (r *Registry) Methods() []Method {
	var all []Method
	for part := r; part != nil; part = part.base {
		part.mu.RLock()
		for _, m := range part.methods {
			all = append(all, *m)
		}
		part.mu.RUnlock()
	}
	all = slices.DeleteFunc(all, func(m Method) bool { return r.denied(m.Name) })
	for i := range all {
		if m := &all[i]; m.describe != nil {
			m.Arguments, m.Result = m.describe()
		}
	}
	slices.SortFunc(all, func(a, b Method) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Lookup returns a method, or [ErrNoSuchMethod] or [ErrDenied].
func (r *Registry) Lookup(name string) (Method, error) {
	if r.denied(name) {
		return Method{}, ErrDenied
	}
	if m := r.find(name); m != nil {
		return *m, nil
	}
	return Method{}, r.missing(name)
}

// missing returns the error for a method that the registry does not have.
func (r *Registry) missing(name string) error {
	for part := r; part != nil; part = part.base {
		part.mu.RLock()
		advise := part.advise
		part.mu.RUnlock()
		if advise == nil {
			continue
		}
		if text := advise(name); text != "" {
			return fmt.Errorf("%w: %s", ErrNoSuchMethod, text)
		}
	}
	return ErrNoSuchMethod
}

func (r *Registry) has(name string) bool { return r.find(name) != nil }

func (r *Registry) find(name string) *Method {
	if r == nil {
		return nil
	}
	r.mu.RLock()
	m := r.methods[name]
	r.mu.RUnlock()
	if m == nil {
		return r.base.find(name)
	}
	return m
}

func (r *Registry) denied(name string) bool {
	if r == nil {
		return false
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.base.denied(name) || slices.ContainsFunc(r.deny, func(p string) bool { return matches(p, name) })
}

// matches reports whether the name fits the pattern, in which * stands for any text.
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

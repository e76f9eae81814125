package embedded

import (
	"strings"
	"sync"

	luajson "github.com/alicebob/miniredis/v2/gopher-json"
	"github.com/alicebob/miniredis/v2/server"
	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/parse"
)

// script is a script that compiles.
type script struct {
	source, sha string
	proto       *lua.FunctionProto
}

// compiled are the scripts of all servers by their source, nil for one that does not
// compile. A program has a few dozen; those that make up scripts begin anew at mostCompiled.
var compiled struct { //nolint:gochecknoglobals // a cache of what never changes
	sync.Mutex
	scripts map[string]*script
}

const mostCompiled = 1000

// compile returns the script, nil for one that does not compile.
func compile(source string) *script {
	compiled.Lock()
	defer compiled.Unlock()
	made, known := compiled.scripts[source]
	if known {
		return made
	}
	if chunk, err := parse.Parse(strings.NewReader(source), chunkName); err == nil {
		if proto, err := lua.Compile(chunk, chunkName); err == nil {
			made = &script{source, sha1Hex(source), proto}
		}
	}
	if compiled.scripts == nil || len(compiled.scripts) >= mostCompiled {
		compiled.scripts = map[string]*script{}
	}
	compiled.scripts[source] = made
	return made
}

// chunkName is what a script is called in its error messages.
const chunkName = "user_script"

// The most values on the interpreter's stack, and how many there is room for at first.
const (
	stackSize    = 5 << 10
	maxStackSize = 64 << 10
)

// interpreter runs one script after the other, as Redis's does: what they share are the
// libraries, whose tables they can write to, and no global variables.
type interpreter struct {
	state   *lua.LState
	inner   *inner
	serving *server.Server
	call    string // the error of the last redis.call that failed
}

func newInterpreter(serving *server.Server, nested any) *interpreter {
	l := lua.NewState(lua.Options{SkipOpenLibs: true, RegistrySize: stackSize, RegistryMaxSize: maxStackSize, RegistryGrowStep: stackSize})
	i := &interpreter{state: l, inner: newInner(nested), serving: serving}
	for name, open := range map[string]lua.LGFunction{
		"": lua.OpenBase, lua.TabLibName: lua.OpenTable, lua.StringLibName: lua.OpenString, lua.MathLibName: lua.OpenMath,
		lua.CoroutineLibName: lua.OpenCoroutine,
	} {
		l.Push(l.NewFunction(open))
		l.Push(lua.LString(name))
		l.Call(1, 0)
	}
	global := l.G.Global
	for _, name := range []string{"dofile", "loadfile", "module", "newproxy", "print", "_printregs", "require"} {
		global.RawSetString(name, lua.LNil) // Redis has none of them
	}
	luajson.Loader(l)
	global.RawSetString("cjson", l.Get(-1))
	l.Pop(1)
	redis := l.SetFuncs(l.NewTable(), i.functions())
	for level, name := range []string{"LOG_DEBUG", "LOG_VERBOSE", "LOG_NOTICE", "LOG_WARNING"} {
		redis.RawSetString(name, lua.LNumber(level))
	}
	global.RawSetString("redis", redis)
	global.RawSetString("server", redis)
	global.Metatable = l.SetFuncs(l.NewTable(), map[string]lua.LGFunction{"__index": noGlobal, "__newindex": noNewGlobal})
	return i
}

// noGlobal fails where a script reads a global variable that does not exist.
func noGlobal(l *lua.LState) int {
	l.RaiseError("Script attempted to access nonexistent global variable '%s'", l.ToString(2))
	return 0
}

// noNewGlobal fails where a script makes a global variable.
func noNewGlobal(l *lua.LState) int {
	l.RaiseError("Attempt to modify a readonly table")
	return 0
}

// run runs a script, answers to c, and reports whether the interpreter can be used again.
func (i *interpreter) run(c *server.Peer, what *script, keys, args []string) bool {
	l := i.state
	i.call = ""
	l.G.Global.RawSetString("KEYS", texts(l, keys))
	l.G.Global.RawSetString("ARGV", texts(l, args))
	l.Push(l.NewFunctionFromProto(what.proto))
	if err := l.PCall(0, 1, nil); err != nil {
		c.WriteError(i.explain(err, what))
		return false
	}
	answer(c, l.Get(-1))
	l.Pop(1)
	return true
}

// explain returns the error of a script in Redis's form.
func (i *interpreter) explain(err error, what *script) string {
	text := err.Error()
	if failed, ok := err.(*lua.ApiError); ok { //nolint:errorlint // the interpreter wraps nothing
		text = failed.Object.String()
		if table, ok := failed.Object.(*lua.LTable); ok {
			text = table.RawGetString("err").String()
		}
	}
	if i.call != "" && strings.HasSuffix(text, i.call) {
		return i.call + " script: " + what.sha
	}
	return "ERR " + text + " script: " + what.sha
}

func texts(l *lua.LState, list []string) *lua.LTable {
	table := l.CreateTable(len(list), 0)
	for _, text := range list {
		table.Append(lua.LString(text))
	}
	return table
}

// answer writes what a script returned.
func answer(c *server.Peer, value lua.LValue) {
	switch v := value.(type) {
	case lua.LBool:
		if !v {
			c.WriteNull()
			return
		}
		c.WriteInt(1)
	case lua.LNumber:
		c.WriteRaw(":" + integer(v) + "\r\n")
	case lua.LString:
		c.WriteBulk(string(v))
	case *lua.LTable:
		if text, ok := v.RawGetString("err").(lua.LString); ok {
			c.WriteError(string(text))
			return
		}
		if text, ok := v.RawGetString("ok").(lua.LString); ok {
			c.WriteInline(string(text))
			return
		}
		n := 0
		for v.RawGetInt(n+1) != lua.LNil {
			n++
		}
		c.WriteLen(n)
		for i := range n {
			answer(c, v.RawGetInt(i+1))
		}
	default:
		c.WriteNull()
	}
}

package internal_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/stellarfw/stellar/redisbus/redistest"
)

// oldest is the version of Redis that the manual promises to work with: no script and no line of Go
// may use a command or an option that is newer. The server that the tests run on says which are,
// and knows those that are newer than itself not at all.
var oldest = []int{6, 2}

// docs are what the server says of a command, by its name in lower case, as "client|setname".
type docs map[string]struct {
	since  string
	tokens map[string]string // options with a version of their own
}

func newerThanOldest(version string) bool {
	for i, part := range strings.SplitN(version, ".", 3) {
		n, err := strconv.Atoi(part)
		if err != nil || i == len(oldest) {
			break
		}
		if n != oldest[i] {
			return n > oldest[i]
		}
	}
	return false
}

// pairs makes a map of the flat list that stands for one.
func pairs(list any) map[string]any {
	all := map[string]any{}
	items, _ := list.([]any)
	for i := 0; i+1 < len(items); i += 2 {
		all[fmt.Sprint(items[i])] = items[i+1]
	}
	return all
}

func (d docs) add(list any) {
	for name, about := range pairs(list) {
		fields := pairs(about)
		c := d[name]
		c.since, c.tokens = fmt.Sprint(fields["since"]), map[string]string{}
		addTokens(c.tokens, fields["arguments"], "")
		d[name] = c
		d.add(fields["subcommands"])
	}
}

// addTokens adds the options among the arguments; since is the version of what they are in.
func addTokens(tokens map[string]string, arguments any, since string) {
	list, _ := arguments.([]any)
	for _, argument := range list {
		fields, since := pairs(argument), since
		if own, ok := fields["since"].(string); ok {
			since = own
		}
		if word, ok := fields["token"].(string); ok {
			word = strings.ToUpper(word)
			if before, twice := tokens[word]; !twice || newerThanOldest(before) {
				tokens[word] = since
			}
		}
		addTokens(tokens, fields["arguments"], since)
	}
}

// newer returns what of a command line is newer than the oldest Redis.
func (d docs) newer(words []string) (what []string) {
	if len(words) == 0 {
		return nil
	}
	name := strings.ToLower(words[0])
	c, known := d[name]
	if !known || newerThanOldest(c.since) {
		return []string{name}
	}
	if len(words) > 1 {
		if sub, ok := d[name+"|"+strings.ToLower(words[1])]; ok {
			if c = sub; newerThanOldest(c.since) {
				return []string{name + " " + words[1]}
			}
		}
	}
	for _, word := range words[1:] {
		if newerThanOldest(c.tokens[strings.ToUpper(word)]) {
			what = append(what, name+" … "+word)
		}
	}
	return what
}

// theDocs asks a server of Redis 7 or newer.
func theDocs(t *testing.T) docs {
	t.Helper()
	c := redistest.Client(t, redistest.Start(t).Config())
	list, err := c.Do(t.Context(), "COMMAND", "DOCS").Result()
	if err != nil {
		t.Skipf("the server is so old that the tests themselves show it: %v", err)
	}
	d := docs{}
	d.add(list)
	require.Greater(t, len(d), 200)
	require.Equal(t, []string{"lmpop"}, d.newer([]string{"LMPOP"}))
	require.Equal(t, []string{"expire … NX"}, d.newer([]string{"EXPIRE", "k", "1", "NX"}))
	require.Equal(t, []string{"client NO-EVICT"}, d.newer([]string{"client", "NO-EVICT"}))
	require.Empty(t, d.newer([]string{"ZADD", "k", "GT", "1", "a"}))
	return d
}

// sources calls f with each file of the module with that ending, but for tests and modules of their own.
func sources(t *testing.T, ending string, f func(path string, text []byte)) {
	t.Helper()
	require.NoError(t, filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir():
			name := entry.Name()
			if strings.HasPrefix(name, ".") && name != ".." || name == "testdata" || strings.HasSuffix(path, "internal_test") || name == "redistest" {
				return fs.SkipDir
			}
			return nil
		case !strings.HasSuffix(path, ending) || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(path)
		if err == nil {
			f(path, text)
		}
		return err
	}))
}

var (
	luaCall    = regexp.MustCompile(`redis\.p?call\(`)
	luaLiteral = regexp.MustCompile(`'([^']*)'|"([^"]*)"`)
	luaWord    = regexp.MustCompile(`'([A-Z]{3,})'`)
	luaAPI     = regexp.MustCompile(`\b(redis|server)\.(\w+)`)
)

// luaOfOldest are the functions that scripts have in the oldest Redis.
var luaOfOldest = []string{
	"call", "pcall", "error_reply", "status_reply", "sha1hex", "log", "LOG_DEBUG", "LOG_VERBOSE", "LOG_NOTICE", "LOG_WARNING",
	"replicate_commands", "set_repl", "setresp", "breakpoint", "debug",
}

// argumentsOf returns the text up to the bracket that closes the one before it.
func argumentsOf(text string) string {
	depth := 1
	for i, r := range text {
		switch r {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return text[:i]
			}
		}
	}
	return text
}

func TestScriptsUseNothingThatTheOldestRedisLacks(t *testing.T) {
	t.Parallel()
	d, calls := theDocs(t), 0
	sources(t, ".lua", func(path string, bytes []byte) {
		var code strings.Builder
		for line := range strings.Lines(string(bytes)) {
			code.WriteString(strings.SplitN(line, "--", 2)[0] + "\n")
		}
		text := code.String()
		require.False(t, strings.HasPrefix(text, "#!"), "%s: flags of scripts are newer", path)
		for _, m := range luaAPI.FindAllStringSubmatch(text, -1) {
			require.True(t, m[1] == "redis" && slices.Contains(luaOfOldest, m[2]), "%s: %s is newer", path, m[0])
		}
		for _, word := range luaWord.FindAllStringSubmatch(text, -1) { // also where a variable names the command
			if c, ok := d[strings.ToLower(word[1])]; ok {
				require.False(t, newerThanOldest(c.since), "%s: %s is newer", path, word[1])
			}
		}
		for _, at := range luaCall.FindAllStringIndex(text, -1) {
			var words []string
			arguments := argumentsOf(text[at[1]:])
			for _, m := range luaLiteral.FindAllStringSubmatch(arguments, -1) {
				words = append(words, m[1]+m[2])
			}
			if !strings.HasPrefix(arguments, "'") && !strings.HasPrefix(arguments, `"`) {
				continue // looked at above
			}
			calls++
			require.Empty(t, d.newer(words), "%s: redis.call(%s)", path, arguments)
		}
	})
	require.Greater(t, calls, 400)
}

// words is a hook that keeps a command from being sent.
type words struct{ sent [][]string }

var errNotSent = errors.New("not sent")

func (w *words) DialHook(next redis.DialHook) redis.DialHook { return next }

func (w *words) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(_ context.Context, cmd redis.Cmder) error {
		var line []string
		for _, word := range cmd.Args() {
			line = append(line, fmt.Sprint(word))
		}
		w.sent = append(w.sent, line)
		cmd.SetErr(errNotSent)
		return errNotSent
	}
}

func (w *words) ProcessPipelineHook(redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(context.Context, []redis.Cmder) error { return errNotSent }
}

// methods returns the command that each method of the client sends, with the words that it always has.
func methods(t *testing.T) map[string][]string {
	t.Helper()
	hook := &words{}
	c := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", DisableIdentity: true})
	defer c.Close()
	c.AddHook(hook)
	all := map[string][]string{}
	of := reflect.ValueOf(c)
	for i := range of.NumMethod() {
		name := of.Type().Method(i).Name
		if _, sends := reflect.TypeFor[redis.Cmdable]().MethodByName(name); !sends {
			continue
		}
		hook.sent = nil
		func() {
			defer func() { _ = recover() }() // an argument is needed
			kind := of.Method(i).Type()
			var in []reflect.Value
			for j := range kind.NumIn() {
				switch {
				case j == 0 && kind.In(0) == reflect.TypeFor[context.Context]():
					in = append(in, reflect.ValueOf(t.Context()))
				case kind.IsVariadic() && j == kind.NumIn()-1:
				default:
					in = append(in, reflect.Zero(kind.In(j)))
				}
			}
			of.Method(i).Call(in)
		}()
		if len(hook.sent) > 0 {
			all[name] = hook.sent[0]
		}
	}
	require.Greater(t, len(all), 200)
	require.Equal(t, "hset", all["HSet"][0])
	return all
}

func TestGoUsesNoCommandThatTheOldestRedisLacks(t *testing.T) {
	t.Parallel()
	d, sent, used := theDocs(t), methods(t), map[string]bool{}
	sources(t, ".go", func(path string, text []byte) {
		if !bytes.Contains(text, []byte("redis/go-redis")) && !bytes.Contains(text, []byte("stellar/redisbus/resp")) {
			return
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, text, parser.SkipObjectResolution)
		require.NoError(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			method, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			line := literals(call.Args)
			if fixed := sent[method.Sel.Name]; method.Sel.Name != "Do" {
				if line = append(slices.Clone(fixed), line...); len(fixed) == 0 {
					return true
				}
			}
			if len(line) > 0 && d[strings.ToLower(line[0])].since != "" || method.Sel.Name != "Do" {
				used[strings.ToLower(line[0])] = true
				require.Empty(t, d.newer(line), set.Position(call.Pos()))
			}
			return true
		})
	})
	require.Greater(t, len(used), 20)
	require.Contains(t, used, "bgsave")
}

// literals returns the texts among the arguments.
func literals(arguments []ast.Expr) (all []string) {
	for _, a := range arguments {
		if text, ok := a.(*ast.BasicLit); ok && text.Kind == token.STRING {
			if value, err := strconv.Unquote(text.Value); err == nil {
				all = append(all, value)
			}
		}
	}
	return all
}

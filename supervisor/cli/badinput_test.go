package cli

import (
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// secret must not occur in any output.
const secret = "hunter22-hunter22"

func TestBadInputIsExplained(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		env  environment
		args []string
		file string // of configuration
		code int
		says []string
	}{
		"unknown command":              {args: []string{"frob"}, code: 2, says: []string{`"frob" is not a command`, "enqueue"}},
		"command after flags":          {args: []string{"--workers", "2", "status"}, code: 2, says: []string{"unknown flag --workers", "stellar status --help"}},
		"empty command":                {args: []string{""}, code: 2, says: []string{"not a command"}},
		"unknown flag":                 {args: []string{"--wrokers", "2"}, code: 2, says: []string{"--wrokers", "--workers", "stellar run --help"}},
		"unknown flag of a command":    {args: []string{"status", "--frob"}, code: 2, says: []string{"--frob", "stellar status --help"}},
		"flag without value":           {args: []string{"run", "--workers"}, code: 2, says: []string{"--workers needs a value"}},
		"negative workers":             {args: []string{"--workers", "-3"}, code: 2, says: []string{"--workers: -3 is not between 0 and 5000"}},
		"absurd workers":               {args: []string{"--workers", "1000000"}, code: 2, says: []string{"1000000 is not between"}},
		"workers no number":            {args: []string{"--workers", "many"}, code: 2, says: []string{`--workers: "many" is not a whole number`}},
		"workers in environment":       {env: environment{"STELLAR_WORKERS": "-1"}, code: 2, says: []string{"STELLAR_WORKERS: -1"}},
		"no number in environment":     {env: environment{"STELLAR_WORKERS": "x"}, code: 2, says: []string{`STELLAR_WORKERS: "x" is not a whole number`}},
		"timeout in environment":       {env: environment{"STELLAR_SHUTDOWN_TIMEOUT": "soon"}, code: 2, says: []string{"STELLAR_SHUTDOWN_TIMEOUT", "20s"}},
		"drain of nothing":             {args: []string{"--drain", "0s"}, code: 2, says: []string{"--drain: 0s is too short"}},
		"concurrency":                  {args: []string{"--concurrency", "0"}, code: 2, says: []string{"--concurrency: 0"}},
		"namespace":                    {args: []string{"--namespace", "a b"}, code: 2, says: []string{"--namespace", "letters, digits"}},
		"namespace with a colon":       {args: []string{"--namespace", "shop:eu"}, code: 2, says: []string{"--namespace", `use "shop-eu"`}},
		"worker prefix":                {args: []string{"--worker-prefix", "{x}"}, code: 2, says: []string{"--workerPrefix"}},
		"queue":                        {args: []string{"--queues", "ok,no good"}, code: 2, says: []string{"--queues", "no good"}},
		"id of many":                   {args: []string{"--workers", "2", "--id", "x"}, code: 2, says: []string{"--id", "one node only"}},
		"id":                           {args: []string{"--id", "a b"}, code: 2, says: []string{"--id", "letters, digits"}},
		"log level":                    {args: []string{"--log-level", "loud"}, code: 2, says: []string{"--log-level", "debug"}},
		"log format":                   {args: []string{"--log-format", "xml"}, code: 2, says: []string{"--log-format", "console"}},
		"output format":                {args: []string{"status", "-o", "xml"}, code: 2, says: []string{"--output", "table"}},
		"port":                         {env: environment{"REDIS_PORT": "70000"}, code: 2, says: []string{"REDIS_PORT: 70000"}},
		"database":                     {env: environment{"REDIS_DB": "-1"}, code: 2, says: []string{"REDIS_DB: -1 is negative"}},
		"scheme of the URL":            {env: environment{"REDIS_URL": "http://:" + secret + "@h:1"}, code: 2, says: []string{"REDIS_URL", "redis://host:6379/0"}},
		"no URL":                       {env: environment{"REDIS_URL": "redis://:" + secret + "@[bad"}, code: 2, says: []string{"REDIS_URL", "redis://host:6379/0"}},
		"password in a flag":           {args: []string{"--redis-url", "redis://:" + secret + "@h:1"}, code: 2, says: []string{"REDIS_PASS_FILE"}},
		"password as a flag":           {args: []string{"--redis-pass=" + secret}, code: 2, says: []string{"secrets do not belong", "REDIS_PASS"}},
		"token as a flag":              {args: []string{"status", "--token", secret}, code: 2, says: []string{"STELLAR_TOKEN_FILE"}},
		"password without Redis":       {env: environment{"REDIS_PASS": secret}, code: 78, says: []string{"REDIS_URL or REDIS_HOST"}},
		"password twice":               {env: environment{"REDIS_HOST": "h", "REDIS_PASS": secret, "REDIS_PASS_FILE": "/x"}, code: 78, says: []string{"both set"}},
		"no file with a password":      {env: environment{"REDIS_HOST": "h", "REDIS_PASS_FILE": "/no/such"}, code: 78, says: []string{"REDIS_PASS_FILE: /no/such: no such file"}},
		"short token":                  {env: environment{"STELLAR_TOKEN": "short"}, code: 78, says: []string{"STELLAR_TOKEN", "at least 16 bytes"}},
		"everybody's token":            {env: environment{"STELLAR_TOKEN": "change-me"}, code: 78, says: []string{"STELLAR_TOKEN", "everybody's"}},
		"a token of spaces":            {env: environment{"STELLAR_TOKEN": strings.Repeat(" ", 16)}, code: 78, says: []string{"1 different character"}},
		"admin token":                  {env: environment{"STELLAR_ADMIN_TOKEN": "x"}, args: []string{"--admin-addr", "127.0.0.1:0"}, code: 78, says: []string{"STELLAR_ADMIN_TOKEN", "1 byte is too few"}},
		"short second token":           {env: environment{"STELLAR_TOKEN_ALSO": "short"}, code: 78, says: []string{"accept as well", "at least 16 bytes"}},
		"no token":                     {args: []string{"--require-token"}, code: 2, says: []string{"--require-token", "STELLAR_TOKEN"}},
		"no token for a command":       {env: environment{"STELLAR_REQUIRE_TOKEN": "true"}, args: []string{"status"}, code: 2, says: []string{"STELLAR_TOKEN"}},
		"token mode":                   {args: []string{"--token-mode", "rot13"}, code: 2, says: []string{"--token-mode", "hmac"}},
		"token on the command line":    {args: []string{"--token-also", secret}, code: 2, says: []string{"STELLAR_TOKEN_ALSO_FILE"}},
		"a method that is not there":   {args: []string{"--deny", "api.stpo"}, code: 2, says: []string{`"api.stpo"`, `did you mean "api.stop"?`}},
		"a method in capitals":         {args: []string{"--deny", "api.ping,api.STOP"}, code: 2, says: []string{`"api.STOP"`, `did you mean "api.stop"?`}},
		"methods that are not there":   {args: []string{"--deny", "api.mail.*"}, code: 2, says: []string{`"api.mail.*"`, "api.methods lists"}},
		"nobody to deny":               {args: []string{"--deny", "no spaces"}, code: 2, says: []string{"no spaces"}},
		"admin address":                {args: []string{"--admin-addr", "8080"}, code: 2, says: []string{"--admin-addr", "127.0.0.1:8080"}},
		"admin without token":          {args: []string{"--admin-addr", ":0"}, code: 78, says: []string{"STELLAR_ADMIN_TOKEN"}},
		"file missing":                 {args: []string{"--config", "/no/such.yaml"}, code: 78, says: []string{"/no/such.yaml", "no such file"}},
		"file is a directory":          {args: []string{"--config", "/"}, code: 78, says: []string{"directory"}},
		"file named by environment":    {env: environment{"STELLAR_CONFIG": "/no/such.yaml"}, args: []string{"status"}, code: 78, says: []string{"/no/such.yaml"}},
		"no YAML":                      {file: "workers: [", code: 78, says: []string{"stellar.yaml"}},
		"nothing but a list":           {file: "[]", code: 78, says: []string{"stellar.yaml:1: it must consist of settings"}},
		"no mapping":                   {file: "- workers", code: 78, says: []string{"it must consist of settings, each a name and its value"}},
		"two documents":                {file: "workers: 1\n---\nworkers: 2\n", code: 78, says: []string{"more than one document"}},
		"unknown key":                  {file: "# mine\nwrokers: 4\n", code: 78, says: []string{"stellar.yaml:2: wrokers: unknown key", "redis-url", "workers"}},
		"secret as a key":              {file: "redis-pass: " + secret, code: 78, says: []string{"redis-pass: unknown key", "set the variable REDIS_PASS, or redis-pass-file: FILE"}},
		"token as a key":               {file: "admin-token: " + secret, code: 78, says: []string{"set the variable STELLAR_ADMIN_TOKEN, or admin-token-file: FILE"}},
		"key twice":                    {file: "workers: 4\nworkers: 5\n", code: 78, says: []string{"stellar.yaml:2", "set before"}},
		"key under two names":          {file: "workerPrefix: a\nworker-prefix: b\n", code: 78, says: []string{"set before"}},
		"text for a number":            {file: "workers: \"4\"", code: 78, says: []string{"stellar.yaml:1: workers: a whole number is needed"}},
		"number for a text":            {file: "namespace: 4", code: 78, says: []string{"namespace: a text is needed"}},
		"number for a time":            {file: "drain: 20", code: 78, says: []string{"drain: a time such as"}},
		"list for a text":              {file: "namespace: [" + secret + "]", code: 78, says: []string{"namespace: a text is needed"}},
		"text for yes":                 {file: "silent: maybe", code: 78, says: []string{"silent: true or false"}},
		"nothing as a value":           {file: "workers:\n", code: 78, says: []string{"a whole number is needed"}},
		"value out of range":           {file: "workers: -1", code: 78, says: []string{"stellar.yaml:1: workers: -1 is not between"}},
		"bad URL in the file":          {file: "redis-url: http://:" + secret + "@h", code: 78, says: []string{"stellar.yaml:1: redis-url", "redis://host:6379/0"}},
		"two at once":                  {args: []string{"--workers", "-1", "--concurrency", "0"}, code: 2, says: []string{"--workers", "--concurrency"}},
		"file behind a good flag":      {args: []string{"--workers", "1"}, file: "frob: 1", code: 78, says: []string{"frob: unknown key"}},
		"no method":                    {args: []string{"call"}, code: 2, says: []string{"METHOD"}},
		"a word is no JSON":            {args: []string{"enqueue", "echo", "hello"}, code: 2, says: []string{`PAYLOAD-JSON: "hello" is not JSON: write '"hello"' for a text; for example`}},
		"too many arguments":           {args: []string{"call", "a", "{}", "{}"}, code: 2, says: []string{"are one list"}},
		"arguments no JSON":            {args: []string{"call", "api.ping", "{a:1}"}, code: 2, says: []string{"not JSON", "invalid character 'a'", `'{"key": "a"}'`}},
		"two targets":                  {args: []string{"call", "api.ping", "--node", "a", "--all"}, code: 2, says: []string{"one of --node, --connection and --all"}},
		"timeout of nothing":           {args: []string{"call", "api.ping", "--timeout", "0s"}, code: 2, says: []string{"--timeout"}},
		"no task":                      {args: []string{"enqueue"}, code: 2, says: []string{"TASK"}},
		"payload no JSON":              {args: []string{"enqueue", "echo", "hello"}, code: 2, says: []string{"not JSON", `'"text"'`}},
		"task no name":                 {args: []string{"enqueue", "a b"}, code: 2, says: []string{"letters, digits"}},
		"both times":                   {args: []string{"enqueue", "echo", "--in", "1s", "--at", "2030-01-01T00:00:00Z"}, code: 2, says: []string{"not both"}},
		"no time":                      {args: []string{"enqueue", "echo", "--at", "tomorrow"}, code: 2, says: []string{"2027-01-31T08:00:00Z"}},
		"bad id":                       {args: []string{"enqueue", "echo", "--id", "a b"}, code: 2, says: []string{"--id"}},
		"demo of nothing":              {args: []string{"demo", "/no/such"}, code: 2, says: []string{"/no/such: no such file"}},
		"demo of a file":               {args: []string{"demo", "/etc/passwd"}, code: 2, says: []string{"not a directory"}},
		"demo without nodes":           {args: []string{"demo", "/", "--workers", "0"}, code: 2, says: []string{"at least one node"}},
		"demo without crashes":         {args: []string{"demo", "/", "--crash-every", "-1s"}, code: 2, says: []string{"negative"}},
		"help for nothing":             {args: []string{"help", "frob"}, code: 2, says: []string{"frob"}},
		"version of what":              {args: []string{"version", "x"}, code: 2, says: []string{`"x" is an argument too many: "stellar version" takes none`}},
		"flag after a negative number": {args: []string{"enqueue", "echo", "-5", "--wait"}, code: 2, says: []string{"--wait comes after -5 and counts as an argument: put flags before a negative number"}},
		"as many as arguments":         {args: []string{"call", "-5", "--all"}, code: 2, says: []string{"--all comes after -5"}},
		"short flag after a number":    {args: []string{"enqueue", "echo", "-1e3", "-o", "json"}, code: 2, says: []string{"-o comes after -1e3"}},
		"mistyped flag after a number": {args: []string{"enqueue", "echo", "-5", "--wiat"}, code: 2, says: []string{"--wiat comes after -5", "did you mean --wait?"}},
		"mistyped flag after --":       {args: []string{"enqueue", "echo", "--", "-5", "--wiat"}, code: 2, says: []string{"an argument too many", "--wiat comes after -- and counts as an argument: put flags before it; did you mean --wait?"}},
		"flag for a payload after --":  {args: []string{"enqueue", "echo", "--", "--wait"}, code: 2, says: []string{"not JSON", "--wait comes after --"}},
		"flags of run after --":        {args: []string{"run", "--", "--workers=2"}, code: 2, says: []string{"is an argument too many", "--workers=2 comes after --"}},
		"flag of a group after --":     {args: []string{"cache", "--", "--frob"}, code: 2, says: []string{"--frob comes after --"}},
		"no running set":               {args: []string{"status"}, code: 69, says: []string{"no running set found", "REDIS_URL"}},
		"no Redis":                     {env: environment{"REDIS_URL": "redis://:" + secret + "@127.0.0.1:1/0"}, args: []string{"status"}, code: 69, says: []string{"redis://127.0.0.1:1/0", "not reachable"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := home(t)
			maps.Copy(env, c.env)
			args := c.args
			if c.file != "" {
				args = append(args, "--config", write(t, "stellar.yaml", c.file))
			}
			r := stellar(t, env, args...)
			require.Equal(t, c.code, r.code, r.err)
			require.Empty(t, r.out)
			require.Equal(t, 1, strings.Count(r.err, "stellar: "), r.err)
			for _, text := range c.says {
				require.Contains(t, r.err, text)
			}
			require.NotContains(t, r.err, secret)
		})
	}
}

func TestHelpIsForEveryCommand(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"help"}, {"help", "call"}, {"run", "--help"}, {"demo", "-h"}, {"enqueue", "--help"}, {"completion", "--help"}} {
		r := stellar(t, home(t), args...)
		require.Zero(t, r.code, r.err)
		require.Contains(t, r.out, "USAGE:")
		require.Empty(t, r.err)
	}
	require.Contains(t, stellar(t, home(t), "version").out, "stellar ")
	for _, args := range []string{"version", "version -o json"} {
		want := stellar(t, home(t), strings.Fields(args)...)
		require.Zero(t, want.code)
		require.Equal(t, want, stellar(t, home(t), strings.Fields(strings.Replace(args, "version", "--version", 1))...))
		require.Equal(t, want, stellar(t, home(t), strings.Fields(strings.Replace(args, "version", "-v", 1))...))
	}
}

func TestArgumentsMayLookLikeFlagsBehindTwoDashes(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, at place) {
		require.Zero(t, stellar(t, at.env, "cache", "set", "--ttl", "1h", "--", "--ttl", "-5").code)
		require.Equal(t, result{0, "-5\n", ""}, stellar(t, at.env, "cache", "get", "--", "--ttl"))
		require.Zero(t, stellar(t, at.env, "cache", "set", "--ttl", "1h", "-7", "-7").code, "numbers need no dashes")
		require.Equal(t, result{0, "-7\n", ""}, stellar(t, at.env, "cache", "get", "-7"))
	})
}

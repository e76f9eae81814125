package cli

// transcript is what the built program says for one command, in one golden file.
//
// A new command gets an entry here: the arguments of a run that succeeds, with what
// [prepareTranscripts] has made, and those of one that fails. {n} is another text in each of
// the runs, for commands that change something. Then "go test ./supervisor/cli -run
// Transcripts -update" writes testdata/COMMAND.txt: read it before it is committed.
type transcript struct {
	ok  []string // nil: what it does is not shown, such as a set that runs on
	bad []string // nil: every input is good
	// alone: the command is run without a cluster, for it needs none.
	alone bool
	// archive: the command is run on a Redis without nodes that has the data of a few namespaces.
	archive bool
}

var transcripts = map[string]transcript{
	"":                       {bad: []string{"statu"}},
	"run":                    {bad: []string{"--workers", "-3", "--log-level", "loud"}},
	"status":                 {ok: []string{}, bad: []string{"--frob"}},
	"events":                 {ok: []string{"--kind", "mark"}, bad: []string{"lst"}},
	"events list":            {ok: []string{"--kind", "mark"}, bad: []string{"--kind", "crsh"}},
	"events mark":            {ok: []string{"mark-{n}"}, bad: []string{""}},
	"scale":                  {ok: []string{"2"}, bad: []string{"-3"}},
	"roll":                   {ok: []string{}, bad: []string{"--node", "nobody"}},
	"reload":                 {ok: []string{}, bad: []string{"--timeout", "0s"}},
	"upgrade":                {bad: []string{}},
	"quiet":                  {ok: []string{}, bad: []string{"now"}},
	"resume":                 {ok: []string{}, bad: []string{"--node", "nobody"}},
	"call":                   {ok: []string{"test.sum", `{"a": 2, "b": 3}`, "--all"}, bad: []string{"test.sun"}},
	"publish":                {ok: []string{"priceChanged", `{"item": 7}`}, bad: []string{"price changed"}},
	"subscribe":              {ok: []string{"stockChanged", "--count", "1"}, bad: []string{"--count", "0"}},
	"enqueue":                {ok: []string{"mail", `{"to": "ada"}`, "--id", "e-{n}", "--at", "2099-01-01T00:00:00Z"}, bad: []string{"mial"}},
	"tasks":                  {ok: []string{}, bad: []string{"lst"}},
	"tasks stats":            {ok: []string{}, bad: []string{"now"}},
	"tasks list":             {ok: []string{"--name", "letter"}, bad: []string{"--queue", "nowhere"}},
	"tasks show":             {ok: []string{"letter:1"}, bad: []string{"nope"}},
	"tasks explain":          {ok: []string{"letter:1"}, bad: []string{"nope"}},
	"tasks wait":             {ok: []string{"done"}, bad: []string{"letter:1", "--timeout", "20ms"}},
	"tasks cancel":           {ok: []string{"cancel-{n}"}, bad: []string{"nope"}},
	"tasks retry":            {ok: []string{"dead-{n}"}, bad: []string{"letter:1"}},
	"tasks delete":           {ok: []string{"--queue", "delete-{n}"}, bad: []string{}},
	"tasks rerun":            {ok: []string{"ship-{n}", "--from", "charge"}, bad: []string{"ship-0", "--from", "chrage"}},
	"tasks history":          {ok: []string{"letter"}, bad: []string{"--since", "yesterday"}},
	"tasks groups":           {ok: []string{"post"}, bad: []string{"pots"}},
	"tasks export":           {ok: []string{"letters-{n}.jsonl", "--name", "letter"}, bad: []string{"--queue", "nowhere"}},
	"tasks import":           {ok: []string{"letters.jsonl"}, bad: []string{"no-such-file"}},
	"tasks pause":            {ok: []string{"post"}, bad: []string{"pots"}},
	"tasks resume":           {ok: []string{"post"}, bad: []string{"nowhere"}},
	"tasks limit":            {ok: []string{"post", "--concurrency", "5"}, bad: []string{"nowhere", "--tasks", "5"}},
	"tasks delete-queue":     {ok: []string{"queue-{n}"}, bad: []string{"nowhere"}},
	"tasks defaults":         {ok: []string{"post", "--max-attempts", "3", "--retention", "1h"}, bad: []string{"nowhere", "--max-attempts", "3"}},
	"tasks edit":             {ok: []string{"again-{n}", "--payload", "7"}, bad: []string{"again-60"}},
	"tasks reschedule":       {ok: []string{"again-{n}", "--at", "2099-02-03T00:00:00Z"}, bad: []string{"again-60"}},
	"tasks periodic":         {ok: []string{}, bad: []string{"lst"}},
	"tasks periodic list":    {ok: []string{}, bad: []string{"now"}},
	"tasks periodic run":     {ok: []string{"report"}, bad: []string{"nope"}},
	"tasks periodic pause":   {ok: []string{"report"}, bad: []string{"nope"}},
	"tasks periodic resume":  {ok: []string{"other"}, bad: []string{"nope"}},
	"tasks periodic set":     {ok: []string{"set-{n}", "--task", "echo", "--every", "1h"}, bad: []string{"other", "--task", "echo"}},
	"tasks periodic history": {ok: []string{"report"}, bad: []string{"nope"}},
	"tasks periodic remove":  {ok: []string{"gone-{n}"}, bad: []string{"nope"}},
	"cache":                  {bad: []string{"gt", "user:7"}},
	"cache get":              {ok: []string{"user:7"}, bad: []string{"nope"}},
	"cache set":              {ok: []string{"set-{n}", "[1, 2]"}, bad: []string{"k", "{a:1}"}},
	"cache del":              {ok: []string{"del-{n}"}, bad: []string{"nope"}},
	"cache keys":             {ok: []string{"user:*"}, bad: []string{"a", "b"}},
	"cache clear":            {ok: []string{"clear-{n}*", "--yes"}, bad: []string{"a", "b"}},
	"cache export":           {ok: []string{"export-{n}.jsonl", "--match", "user:*"}, bad: []string{"/no/such/file"}},
	"cache import":           {ok: []string{"backup.jsonl", "--keep-existing"}, bad: []string{"no-such-file"}},
	"cache locks":            {ok: []string{"job"}, bad: []string{"a", "b"}},
	"namespace":              {bad: []string{"lst"}},
	"namespace list":         {ok: []string{}, bad: []string{"now"}, archive: true},
	"namespace remove":       {ok: []string{"old-{n}", "--yes"}, bad: []string{"nowhere", "--yes"}, archive: true},
	"data":                   {bad: []string{"chk"}, alone: true},
	"data check":             {ok: []string{"--data", "kept"}, bad: []string{}, alone: true},
	"data backup":            {ok: []string{"--data", "kept", "kept-{n}.rdb"}, bad: []string{"--data", "nowhere", "kept.rdb"}, alone: true},
	"data restore":           {ok: []string{"--data", "new-{n}", "one.rdb"}, bad: []string{"--data", "kept", "one.rdb"}, alone: true},
	"config":                 {bad: []string{"shw"}, alone: true},
	"config show":            {ok: []string{"--workers", "2", "--config", "stellar.yaml"}, bad: []string{"--workers", "many"}, alone: true},
	"config check":           {ok: []string{"stellar.yaml"}, bad: []string{"wrong.yaml"}, alone: true},
	"demo":                   {bad: []string{"/no/such/directory"}, alone: true},
	"manual":                 {ok: []string{}, bad: []string{"taks"}, alone: true},
	"version":                {ok: []string{}, bad: []string{"now"}, alone: true},
	"help":                   {ok: []string{"version"}, bad: []string{"tasks", "lst"}, alone: true},
	"completion":             {ok: []string{"bash"}, bad: []string{"sh"}, alone: true},
}

package queue

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
)

// Lifetimes of published definitions on Redis.
const (
	// definitionPatience is the time after which the definition of a newer publisher that
	// nobody repeats gives way to that of an older one that does.
	definitionPatience = time.Minute
	// KeepDefinitions is how long a definition outlives the last process that published it.
	KeepDefinitions = 30 * 24 * time.Hour
)

// DefinitionInterval is how often a process publishes its definitions: often enough that
// none of them goes over [definitionPatience].
const DefinitionInterval = definitionPatience / 4

// Definition is how the tasks of one name are treated, as Redis stores it for programs that
// do not handle the task.
type Definition struct {
	Queue       string `json:"queue"`
	MaxAttempts int    `json:"maxAttempts"`
	Backoff     int64  `json:"backoff"` // this and all other times are milliseconds
	MaxBackoff  int64  `json:"maxBackoff"`
	Timeout     int64  `json:"timeout,omitempty"`
	Retention   int64  `json:"retention,omitempty"`
	// OnDead is the name of the task that is stored when a task of this definition is dead.
	OnDead string `json:"onDead,omitempty"`
}

// sound reports whether the definition may be one that a program has published.
func (d Definition) sound() bool {
	return link.ValidName(d.Queue) && (d.OnDead == "" || link.ValidName(d.OnDead)) &&
		min(int64(d.MaxAttempts), d.Backoff, d.MaxBackoff, d.Timeout, d.Retention) >= 0
}

// Published is a definition with the version of the program that published it.
type Published struct {
	Definition

	Version string
}

// Publication is what one process publishes.
type Publication struct {
	Number      int64 // of the publisher; 0 until the first [Store.Define] sets it
	Version     string
	Definitions map[string]Definition // by name
}

// Difference is a definition on Redis that is not the publisher's own.
type Difference struct {
	Published

	Name     string
	Replaced bool // the publisher's own is there now
}

// Define publishes definitions, or repeats them, and returns those that differ. Of different
// definitions of a name that of the publisher with the largest number counts, the newest.
func (s Store) Define(ctx context.Context, p *Publication) ([]Difference, error) {
	number := ""
	if p.Number > 0 {
		number = strconv.FormatInt(p.Number, 10)
	}
	args := []any{number, definitionPatience.Milliseconds(), KeepDefinitions.Milliseconds(), p.Version}
	for _, name := range slices.Sorted(maps.Keys(p.Definitions)) {
		text, _ := json.Marshal(p.Definitions[name]) // texts and numbers: it cannot fail
		args = append(args, name, text)
	}
	reply, err := s.call(ctx, defineScript, args...)
	var words []string
	if err == nil {
		err = reply.Scan(&p.Number, &words)
	}
	var others []Difference
	for words := range slices.Chunk(words, 4) {
		others = append(others, Difference{Published{parseDefinition(words[1]), words[2]}, words[0], words[3] != ""})
	}
	return others, err
}

// Definitions returns all published definitions by name, and a word that tells this answer
// from later ones: with the word of the last answer, nil means that nothing has changed.
func (s Store) Definitions(ctx context.Context, last string) (all map[string]Published, now string, err error) {
	reply, err := s.call(ctx, definitionsScript, last, KeepDefinitions.Milliseconds())
	if err == nil && reply.Len() == 1 {
		err = reply.Scan(&now)
		return nil, now, err
	}
	var words []string
	if err == nil {
		err = reply.Scan(&now, &words)
	}
	if err != nil {
		return nil, last, err
	}
	all = make(map[string]Published, len(words)/3)
	for words := range slices.Chunk(words, 3) {
		if d := parseDefinition(words[1]); link.ValidName(words[0]) && d.sound() {
			all[words[0]] = Published{d, words[2]}
		} else {
			s.Reports.Alien(s.keys.TaskDefinitions(), words[0])
		}
	}
	return all, now, nil
}

// parseDefinition reads a definition, perhaps of a later version: fields that cannot be read
// stay empty.
func parseDefinition(text string) Definition {
	var d Definition
	_ = json.Unmarshal([]byte(text), &d)
	return d
}

package config

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // a container may have no zones of its own

	"go.yaml.in/yaml/v3"

	"github.com/stellarfw/stellar/supervisor/commandtask"
	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

// Keys of the configuration file that are not names of flags.
const (
	TasksKey    = "tasks"
	PeriodicKey = "periodic"
)

// CommandTask is a task of the configuration file, which runs an external command.
type CommandTask struct {
	commandtask.Command

	Where string // file and line
	line  int
	lines map[string]int // line of each of its keys
}

// PeriodicTask is a periodic task of the configuration file.
type PeriodicTask struct {
	tasks.Periodic

	Where string // file and line
	line  int
}

// commands returns the valid tasks of the configuration file and reports problems to s.
func (f *file) commands(s *section) (all []CommandTask) {
	if f.tasks == nil {
		return nil
	}
	s.entries(TasksKey, f.tasks, func(key, value *yaml.Node) {
		before := len(s.problems)
		c := CommandTask{Where: s.at(key.Line), line: key.Line}
		c.Environment = map[string]string{}
		c.Name = key.Value
		c.lines = s.fields(TasksKey+"."+key.Value, value, map[string]field{
			"command": listField(&c.Program), "queue": textField(&c.Queue), "timeout": durationField(&c.Timeout),
			"max-attempts": countField(&c.MaxAttempts), "backoff": durationField(&c.Backoff), "max-backoff": durationField(&c.MaxBackoff),
			"retention": durationField(&c.Retention), "output": sizeField(&c.Output), "snooze": durationField(&c.Snooze),
			"directory": textField(&c.Directory), "user": textField(&c.User), "environment": mapField(c.Environment),
		})
		if len(s.problems) == before { // a rejected field would be reported a second time, as missing
			all = append(all, c)
		}
	})
	return all
}

// lineOf returns the line of the key that a validation error is about. The first word
// of such an error names the key; an unknown word yields the line of the task.
func (c CommandTask) lineOf(err error) int {
	word, _, _ := strings.Cut(strings.TrimPrefix(err.Error(), "the "), " ")
	word = strings.TrimSuffix(word, ":")
	if word == "program" || word == "argument" {
		word = "command"
	}
	return cmp.Or(c.lines[word], c.line)
}

// periodics returns the valid periodic tasks of the configuration file and reports
// problems to s.
func (f *file) periodics(s *section) (all []PeriodicTask) {
	if f.periodic == nil {
		return nil
	}
	s.entries(PeriodicKey, f.periodic, func(key, value *yaml.Node) {
		p := PeriodicTask{Where: s.at(key.Line), line: key.Line}
		p.Name = key.Value
		what := PeriodicKey + "." + key.Value
		var cron, zone string
		var every time.Duration
		before := len(s.problems)
		lines := s.fields(what, value, map[string]field{
			"task": textField(&p.Task), "cron": textField(&cron), "every": durationField(&every), "timezone": textField(&zone),
			"payload": s.payloadField(what, &p.Payload), "catch-up": boolField(&p.CatchUp),
		})
		if len(s.problems) > before {
			return
		}
		location, err := time.LoadLocation(zone)
		switch {
		case err != nil || zone == "Local":
			s.problemf(lines["timezone"], what+".timezone", "%q is not the name of a time zone such as Europe/Berlin", zone)
		case (cron == "") == (every == 0):
			s.problemf(key.Line, what, "one of cron and every is needed, such as cron: \"0 6 * * *\" or every: 10m")
		case every > 0 && zone != "":
			s.problemf(lines["timezone"], what+".timezone", "it goes with cron only")
		case p.Task == "":
			s.problemf(key.Line, what, "the name of the task that it enqueues is needed: task: NAME")
		case every > 0:
			p.Schedule = tasks.Every(every)
		default:
			p.Schedule = tasks.Cron(cron, location)
		}
		if len(s.problems) == before {
			all = append(all, p)
		}
	})
	return all
}

// register registers the tasks and periodic tasks of the configuration file with the
// app. The error joins all problems found in them.
func (s *Settings) register(app *worker.App) (commands []CommandTask, periodics []PeriodicTask, err error) {
	file := s.open()
	sec := &section{path: file.path}
	commands, periodics = file.commands(sec), file.periodics(sec)
	options := commandtask.Options{Grace: s.grace}
	for _, name := range []string{"PATH", "HOME", "LANG", "TZ"} {
		if value, ok := s.Env(name); ok {
			options.Environment = append(options.Environment, name+"="+value)
		}
	}
	for _, c := range commands {
		what := TasksKey + "." + c.Name
		if slices.Contains(app.Tasks(), c.Name) {
			sec.problemf(c.line, what, "the program has a task of that name already: choose another one")
			continue
		}
		var trial tasks.Registry
		trial.RegisterTask(c.Definition, func(context.Context, json.RawMessage) error { return nil })
		err := errors.Join(c.Validate(), trial.Err())
		for _, err := range split(err) {
			sec.problemf(c.lineOf(err), what, "%w", err)
		}
		if err == nil {
			_ = commandtask.Register(app, c.Command, options) // the trial registration above succeeded
		}
	}
	for _, p := range periodics {
		var trial tasks.Registry
		trial.RegisterPeriodic(p.Periodic)
		for _, err := range split(trial.Err()) {
			sec.problemf(p.line, PeriodicKey+"."+p.Name, "%w", err)
		}
		if trial.Err() == nil {
			app.RegisterPeriodic(p.Periodic)
		}
	}
	return commands, periodics, sec.err()
}

// split flattens joined errors, so that each can be reported with its own line.
func split(err error) []error {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var all []error
	for _, err := range joined.Unwrap() {
		all = append(all, split(err)...)
	}
	return all
}

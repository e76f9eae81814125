package cli

import (
	"cmp"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // a container may have no zones of its own

	"go.yaml.in/yaml/v3"

	"github.com/stellarfw/stellar/supervisor/commandtask"
	"github.com/stellarfw/stellar/worker/tasks"
)

// Keys of the configuration file that are no flags.
const (
	tasksKey    = "tasks"
	periodicKey = "periodic"
)

// commandTask is a command of the configuration file.
type commandTask struct {
	commandtask.Command

	line  int
	lines map[string]int // of its keys
}

// periodicTask is a periodic task of the configuration file.
type periodicTask struct {
	tasks.Periodic

	line int
}

// commands reads the tasks of the configuration file.
func (f *configFile) commands(s *section) (all []commandTask) {
	if f.tasks == nil {
		return nil
	}
	s.entries(tasksKey, f.tasks, func(key, value *yaml.Node) {
		before := len(s.problems)
		c := commandTask{line: key.Line}
		c.Environment = map[string]string{}
		c.Name = key.Value
		c.lines = s.fields(tasksKey+"."+key.Value, value, map[string]field{
			"command": listField(&c.Program), "queue": textField(&c.Queue), "timeout": durationField(&c.Timeout),
			"max-attempts": countField(&c.MaxAttempts), "backoff": durationField(&c.Backoff), "max-backoff": durationField(&c.MaxBackoff),
			"retention": durationField(&c.Retention), "output": sizeField(&c.Output), "snooze": durationField(&c.Snooze),
			"directory": textField(&c.Directory), "environment": mapField(c.Environment),
		})
		if len(s.problems) == before { // what was left out would be reported as missing
			all = append(all, c)
		}
	})
	return all
}

// at is the line that an error of the command is about: those errors begin with
// the name of what is wrong.
func (c commandTask) at(err error) int {
	word, _, _ := strings.Cut(strings.TrimPrefix(err.Error(), "the "), " ")
	word = strings.TrimSuffix(word, ":")
	if word == "program" || word == "argument" {
		word = "command"
	}
	return cmp.Or(c.lines[word], c.line)
}

// periodics reads the periodic tasks of the configuration file.
func (f *configFile) periodics(s *section) (all []periodicTask) {
	if f.periodic == nil {
		return nil
	}
	s.entries(periodicKey, f.periodic, func(key, value *yaml.Node) {
		p := periodicTask{line: key.Line}
		p.Name = key.Value
		what := periodicKey + "." + key.Value
		var cron, zone string
		var every time.Duration
		before := len(s.problems)
		lines := s.fields(what, value, map[string]field{
			"task": textField(&p.Task), "cron": textField(&cron), "every": durationField(&every), "timezone": textField(&zone),
			"payload": payloadField(&p.Payload), "catch-up": boolField(&p.CatchUp),
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

// payloadField takes any value, as JSON.
func payloadField(to *any) field {
	return func(n *yaml.Node) string {
		const needed = "a value that JSON can hold, each key once,"
		var value any
		if n.Decode(&value) != nil {
			return needed
		}
		text, err := json.Marshal(value)
		if err != nil {
			return needed
		}
		*to = json.RawMessage(text)
		return ""
	}
}

// declareTasks registers the tasks of the configuration file with the app.
func (p *program) declareTasks() error {
	file := p.input.open()
	s := &section{path: file.path}
	p.commands, p.periodics = file.commands(s), file.periodics(s)
	options := commandtask.Options{Grace: p.grace}
	for _, name := range []string{"PATH", "HOME", "LANG", "TZ"} {
		if value, ok := p.input.env(name); ok {
			options.Environment = append(options.Environment, name+"="+value)
		}
	}
	for _, c := range p.commands {
		what := tasksKey + "." + c.Name
		if slices.Contains(p.app.Tasks(), c.Name) {
			s.problemf(c.line, what, "the program has a task of that name already: choose another one")
			continue
		}
		var trial tasks.Registry
		trial.RegisterTask(c.Definition, nil)
		err := errors.Join(c.Validate(), trial.Err())
		for _, err := range apart(err) {
			s.problemf(c.at(err), what, "%w", err)
		}
		if err == nil {
			_ = commandtask.Register(p.app, c.Command, options) // it has just been tried
		}
	}
	for _, c := range p.periodics {
		var trial tasks.Registry
		trial.RegisterPeriodic(c.Periodic)
		for _, err := range apart(trial.Err()) {
			s.problemf(c.line, periodicKey+"."+c.Name, "%w", err)
		}
		if trial.Err() == nil {
			p.app.RegisterPeriodic(c.Periodic)
		}
	}
	return s.err()
}

// apart returns the errors that were joined, so that each gets its own line.
func apart(err error) []error {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var all []error
	for _, err := range joined.Unwrap() {
		all = append(all, apart(err)...)
	}
	return all
}

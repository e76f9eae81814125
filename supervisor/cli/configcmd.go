package cli

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"
	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/redisbus/embedded"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/admin"
)

func (p *program) configCommand() *urfave.Command {
	return &urfave.Command{
		Name: "config", Usage: "check the configuration, or show what holds and where it comes from",
		Commands: []*urfave.Command{
			{
				Name: "show", Usage: "show every setting of run, and where its value comes from",
				Description: "It takes the flags of run, and starts nothing. Secrets are not shown.",
				Flags:       p.input.declare(append(p.runFlags(), p.outputFlag())...), ArgValidator: arguments(0, 0, "none"),
				Action: p.action(p.configShow),
			}, {
				Name: "check", Usage: "report everything that is wrong with the configuration", ArgsUsage: "[FILE]",
				Description: "It looks at FILE, or the one that STELLAR_CONFIG names, and at the environment, as run does, but starts\n" +
					"nothing. The exit code is 0 if run can start with it, and 78 if not.",
				ArgValidator: arguments(0, 1, "[FILE]"),
				Action:       func(ctx context.Context, cmd *urfave.Command) error { return p.configCheck(ctx, cmd.Args().First()) },
			},
		},
		Action: whichCommand,
	}
}

// prepared is what a set needs, checked.
type prepared struct {
	supervisor.Config

	configured bool // a Redis
	admin      admin.Config
}

// prepare puts together what a set needs and reports everything that is wrong
// with it.
func (p *program) prepare() (prepared, error) {
	var r prepared
	var errs [5]error
	r.Config, errs[0] = p.setConfig()
	r.Redis, r.configured, errs[1] = p.redis()
	r.admin.Addr = p.adminAddr
	r.admin.Token, errs[2] = p.secret(adminToken, p.adminTokenFile)
	if p.adminAddr != "" && errs[2] == nil {
		errs[3] = p.explainAdmin(r.admin.Validate())
	}
	errs[4] = p.declareTasks()
	p.app.Deny(p.deny...)
	return r, errors.Join(errs[:]...)
}

// configCheck prepares what run would, and starts nothing.
func (p *program) configCheck(ctx context.Context, file string) error {
	trial := newProgram(p.Process, p.app)
	command := trial.command()
	command.Command("run").Action = func(_ context.Context, cmd *urfave.Command) error {
		trial.input.use(cmd.Flags)
		wrong := trial.check()
		r, err := trial.prepare()
		if err := errors.Join(wrong, err); err != nil {
			return err
		}
		if !r.configured {
			r.Redis.Dial = embedded.New().Dial
		}
		_, err = supervisor.New(r.Config, trial.app, zerolog.Nop())
		return err
	}
	args := []string{"stellar", "run"}
	if file != "" {
		args = append(args, "--config", file)
	}
	if err := command.Run(ctx, args); err != nil {
		return &kindError{errConfig, err}
	}
	where := trial.config
	if where == "" {
		where = "environment, no file"
	}
	return p.writeLine(fmt.Sprintf("nothing is wrong: %s (%d command tasks, %d periodic tasks)",
		where, len(trial.commands), len(trial.periodics)))
}

// shownSetting is one setting in the JSON of config show.
type shownSetting struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Source string `json:"source"`          // flag, environment, file or default
	Where  string `json:"where,omitempty"` // the flag, the variable, or the file and line
}

// shownTask is a command task in the JSON of config show. What is in its
// environment may be secret.
type shownTask struct {
	Name        string   `json:"name"`
	Where       string   `json:"where"`
	Command     []string `json:"command"`
	Environment []string `json:"environment,omitempty"` // names only
}

// shownPeriodic is a periodic task in the JSON of config show.
type shownPeriodic struct {
	Name     string `json:"name"`
	Where    string `json:"where"`
	Task     string `json:"task"`
	Schedule string `json:"schedule"`
}

func (p *program) configShow(context.Context, []string) error {
	r, err := p.prepare()
	if err != nil {
		return err
	}
	settings := p.shownSettings(r)
	file := p.input.open().path
	shownTasks, periodics := []shownTask{}, []shownPeriodic{}
	for _, c := range p.commands {
		t := shownTask{Name: c.Name, Where: fmt.Sprintf("%s:%d", file, c.line)}
		for _, arg := range c.Program {
			t.Command = append(t.Command, redacted(arg))
		}
		for name := range c.Environment {
			t.Environment = append(t.Environment, name)
		}
		slices.Sort(t.Environment)
		shownTasks = append(shownTasks, t)
	}
	for _, c := range p.periodics {
		periodics = append(periodics, shownPeriodic{c.Name, fmt.Sprintf("%s:%d", file, c.line), c.Task, c.Schedule.String()})
	}
	where := "embedded, in memory"
	if r.configured {
		where = r.Redis.Address()
	}
	if p.asJSON() {
		return p.writeJSON(map[string]any{"redis": where, "settings": settings, "tasks": shownTasks, "periodic": periodics})
	}
	rows := [][]string{{"SETTING", "VALUE", "SOURCE"}}
	for _, s := range settings {
		rows = append(rows, []string{s.Name, s.Value, strings.TrimSpace(s.Source + " " + s.Where)})
	}
	for _, t := range shownTasks {
		rows = append(rows, []string{tasksKey + "." + t.Name, strings.Join(t.Command, " "), "file " + t.Where})
	}
	for _, c := range periodics {
		rows = append(rows, []string{periodicKey + "." + c.Name, c.Task + ", " + c.Schedule, "file " + c.Where})
	}
	if err := p.writeTable(rows); err != nil {
		return err
	}
	return p.writeLine("\nRedis: " + where)
}

// shownSettings are all flags of run, and the secrets that are no flags.
func (p *program) shownSettings(r prepared) []shownSetting {
	var all []shownSetting
	for _, f := range p.input.ordered {
		name := f.Names()[0]
		value, ok := f.(interface{ Get() any })
		if !ok || name == "output" || name == "help" {
			continue
		}
		o := p.input.origin(name)
		s := shownSetting{Name: name, Value: redacted(textOf(value.Get())), Source: o.rank.String(), Where: o.at}
		if name == "workers" && o.rank == fromDefault {
			s.Value = strconv.Itoa(max(r.Workers, 0)) // one, where it has an id
		}
		all = append(all, s)
	}
	for _, secret := range p.secrets() {
		s := shownSetting{Name: secret.variable, Source: fromDefault.String()}
		if value, _ := p.input.env(secret.variable); value != "" {
			s.Value, s.Source, s.Where = hidden, fromEnvironment.String(), secret.variable
		} else if secret.file != "" {
			s.Value, s.Source, s.Where = hidden, fromFile.String(), secret.file
		}
		all = append(all, s)
	}
	return all
}

// secretValue is a secret: a variable, or a file instead.
type secretValue struct{ variable, file string }

// secrets are those that run takes.
func (p *program) secrets() []secretValue {
	return []secretValue{
		{redisPass, p.redisPassFile},
		{"REDIS_SENTINEL_PASS", p.sentinelPassFile},
		{"STELLAR_TOKEN", p.tokenFile},
		{"STELLAR_TOKEN_ALSO", p.alsoFile},
		{adminToken, p.adminTokenFile},
	}
}

// textOf is a flag's value as it would be given.
func textOf(value any) string {
	switch v := value.(type) {
	case []string:
		return strings.Join(v, ",")
	case time.Duration:
		return v.String()
	default:
		return fmt.Sprint(v)
	}
}

const hidden = "[redacted]"

// redacted returns a value without the secrets of a URL: everything before the
// last @ but the user, and what its query calls a secret. It takes care to leave
// nothing also of a URL that is none.
func redacted(value string) string {
	scheme, rest, ok := strings.Cut(value, "://")
	if !ok {
		return value
	}
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		user, _, password := strings.Cut(rest[:at], ":")
		if rest = hidden + rest[at:]; password {
			rest = user + ":" + rest
		}
	}
	rest, query, asked := strings.Cut(rest, "?")
	if asked {
		var members []string
		for member := range strings.SplitSeq(query, "&") {
			name, _, _ := strings.Cut(member, "=")
			plain, err := url.QueryUnescape(name)
			if err != nil || secretName(plain) {
				member = name + "=" + hidden
			}
			members = append(members, member)
		}
		rest += "?" + strings.Join(members, "&")
	}
	return scheme + "://" + rest
}

func secretName(name string) bool {
	return slices.ContainsFunc([]string{"pass", "secret", "token", "auth", "pwd"}, func(part string) bool {
		return strings.Contains(strings.ToLower(name), part)
	})
}

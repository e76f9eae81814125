package commandtask

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/stellarfw/stellar/worker/tasks"
)

// Defaults and bounds of a [Command].
const (
	DefaultOutput = 64 << 10
	MaxOutput     = 8 << 20
	DefaultSnooze = time.Minute
)

// Command is a task that runs a program.
type Command struct {
	// Definition of the task.
	tasks.Definition
	// Program and its arguments. A name without a slash is looked up in the PATH
	// of this process; a relative path begins at Directory.
	Program []string
	// Directory in which it runs. Default that of this process.
	Directory string
	// User as whom the program runs: a name or number, with the user's groups, or UID:GID,
	// without further groups. Only a process of root can run programs as other users.
	// Default: the user of this process. Such a program can read all that this process can,
	// on most systems also its environment and memory, and with them its secrets.
	User string
	// Environment is added to the variables that [Options] passes on, and wins.
	Environment map[string]string
	// Output is how many bytes of standard output are kept as the result, as long
	// as the definition's Retention. Default [DefaultOutput]; negative: none.
	Output int
	// Snooze is the pause after exit code 75. Default [DefaultSnooze].
	Snooze time.Duration
}

// Options are the same for all commands of a process.
type Options struct {
	// Environment has the variables that programs inherit, as "NAME=value".
	Environment []string
	// Grace is how long a node waits for handlers whose context has ended. A program gets
	// half of that time to end, and is then killed. Default 3 s.
	Grace time.Duration
}

const defaultGrace = 3 * time.Second

func (c Command) withDefaults() Command {
	c.Output = cmp.Or(c.Output, DefaultOutput)
	c.Snooze = cmp.Or(c.Snooze, DefaultSnooze)
	return c
}

// reservedPrefix is the prefix of the names of variables that the program gets from its task.
const reservedPrefix = "STELLAR_"

// Validate reports everything that is wrong with the command, except for its
// tasks.Definition, which is checked when the task is registered.
func (c Command) Validate() error {
	c = c.withDefaults()
	var errs []error
	if _, err := c.LookUp(); err != nil {
		errs = append(errs, err)
	}
	if c.Directory != "" {
		if info, err := os.Stat(c.Directory); err != nil {
			errs = append(errs, fmt.Errorf("directory: %w", err))
		} else if !info.IsDir() {
			errs = append(errs, fmt.Errorf("directory: %s is not a directory", c.Directory))
		}
	}
	if _, err := lookUpAccount(c.User); err != nil {
		errs = append(errs, fmt.Errorf("user: %w", err))
	}
	for i, arg := range c.Program {
		if strings.ContainsRune(arg, 0) { // it may be a secret: name its place only
			errs = append(errs, fmt.Errorf("argument %d: it contains a NUL byte", i))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Environment)) {
		switch {
		case name == "" || strings.ContainsAny(name, "=\x00"):
			errs = append(errs, fmt.Errorf("environment: %q is not the name of a variable", name))
		case strings.HasPrefix(name, reservedPrefix):
			errs = append(errs, fmt.Errorf("environment: %s: names that begin with %s belong to the task", name, reservedPrefix))
		case strings.ContainsRune(c.Environment[name], 0):
			errs = append(errs, fmt.Errorf("environment: %s: its value contains a NUL byte", name))
		}
	}
	if c.Output > MaxOutput {
		errs = append(errs, fmt.Errorf("output: %d bytes are more than %d", c.Output, MaxOutput))
	}
	if c.Snooze < 0 {
		errs = append(errs, fmt.Errorf("snooze: %s is negative", c.Snooze))
	}
	return errors.Join(errs...)
}

// Separated reports whether the program runs as another user than this process, so that the
// system keeps the process's environment, memory and files from it. It does not for root.
func (c Command) Separated() bool {
	a, err := lookUpAccount(c.User)
	return err == nil && a.isOther()
}

// LookUp returns the path of the program.
func (c Command) LookUp() (string, error) {
	if len(c.Program) == 0 || c.Program[0] == "" {
		return "", errors.New("the program is missing: name it and its arguments, such as [convert, -, png:-]")
	}
	name := c.Program[0]
	if strings.ContainsRune(filepath.ToSlash(name), '/') && !filepath.IsAbs(name) {
		name = filepath.Join(c.Directory, name)
	}
	path, err := exec.LookPath(name)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		if lookup, ok := errors.AsType[*exec.Error](err); ok {
			err = lookup.Err
		}
		return "", fmt.Errorf("program %q: %w: install it, or give its path", name, err)
	}
	return path, nil
}

// Register registers the command as a task. The error is that of [Command.Validate].
func Register(r tasks.Registrar, c Command, o Options) error {
	if err := c.Validate(); err != nil {
		return fmt.Errorf("task %s: %w", c.Name, err)
	}
	path, err := c.LookUp()
	if err != nil {
		return fmt.Errorf("task %s: %w", c.Name, err)
	}
	as, err := lookUpAccount(c.User)
	if err != nil {
		return fmt.Errorf("task %s: user: %w", c.Name, err)
	}
	if o.Grace <= 0 {
		o.Grace = defaultGrace
	}
	h := &handler{command: c.withDefaults(), path: path, account: as, grace: o.Grace}
	h.command.Program = slices.Clone(c.Program)
	h.environment = slices.Concat(o.Environment, as.environment)
	for _, name := range slices.Sorted(maps.Keys(c.Environment)) {
		h.environment = append(h.environment, name+"="+c.Environment[name]) // of two values the last one counts
	}
	r.RegisterTask(c.Definition, h.handle)
	return nil
}

// Output is the result of a command whose output is neither JSON nor text, or was longer
// than [Command.Output]. JSON output is itself the result, and other text is the result as a
// JSON string.
type Output struct {
	Text      string `json:"text,omitempty"`
	Base64    []byte `json:"base64,omitempty"`
	Bytes     int64  `json:"bytes"` // that the program wrote
	Truncated bool   `json:"truncated,omitempty"`
}

package config

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"time"

	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/supervisor"
	"github.com/stellarfw/stellar/supervisor/admin"
	"github.com/stellarfw/stellar/supervisor/cli/service"
)

// Groups of flags in the help.
const (
	groupAdmin   = "Health pages"
	groupService = "Service"
)

// Flags of what belongs to the guardian where there is one.
const (
	adminAddrFlag = "admin-addr"
	pidFileFlag   = "pidfile"
)

// daemon holds the settings of a set that runs as a service: its pidfile and its health
// pages.
type daemon struct {
	PIDFile                   string
	Debuggable                bool
	guarded                   bool // this process has a guardian, whose the pidfile and the health pages are
	adminAddr, adminTokenFile string
}

// serviceFlags returns the flags of a set that runs as a service.
func (s *Settings) serviceFlags() []urfave.Flag {
	return []urfave.Flag{
		&urfave.StringFlag{
			Name: adminAddrFlag, Category: groupAdmin, Destination: &s.adminAddr, Sources: s.from(adminAddrFlag, "STELLAR_ADMIN_ADDR"),
			Usage: "serve /healthz, /readyz and /status over HTTP on `HOST:PORT`; beyond loopback STELLAR_ADMIN_TOKEN is needed, for /status",
		},
		s.fileFlag(groupAdmin, "admin-token-file", "STELLAR_ADMIN_TOKEN_FILE", &s.adminTokenFile,
			"`FILE` with the token, instead of STELLAR_ADMIN_TOKEN"),
		s.fileFlag(groupService, pidFileFlag, "STELLAR_PIDFILE", &s.PIDFile,
			"`FILE` to write the process number into when all nodes run; it is removed at the end"),
		&urfave.BoolFlag{
			Name: "debuggable", Category: groupService, Destination: &s.Debuggable, Sources: s.from("debuggable", "STELLAR_DEBUGGABLE"),
			Usage: "let debuggers, and with them the programs of command tasks without user, read the memory of the process", HideDefault: true,
		},
	}
}

func (s *Settings) checkService(require requirement) {
	_, _, err := net.SplitHostPort(s.adminAddr)
	require(adminAddrFlag, err == nil, "%q: use host:port, such as 127.0.0.1:8080", s.adminAddr)
}

// Admin returns the configuration of the health pages. An empty Addr means that no
// pages are served.
func (s *Settings) Admin() (cfg admin.Config, err error) {
	if cfg.Addr = s.adminAddr; cfg.Addr == "" {
		return cfg, nil
	}
	cfg.Connections = adminConnections(fileLimit(), supervisor.Connections(s.Workers))
	if cfg.Token, err = s.secret(adminToken, s.adminTokenFile); err != nil {
		return cfg, err
	}
	switch err = cfg.Validate(); {
	case err == nil:
		return cfg, nil
	case errors.Is(err, admin.ErrTokenNeeded):
		return cfg, Invalidf("%w: set %s or %[2]s_FILE, or use 127.0.0.1", err, adminToken)
	case errors.Is(err, link.ErrWeakSecret):
		return cfg, Invalidf("%s: %w", s.secretPlace(adminToken, s.adminTokenFile), err)
	default:
		return cfg, s.Problemf(adminAddrFlag, "%w", err)
	}
}

// adminConnections returns how many connections the health pages may have, where a process
// may open so many files and needs some of them for Redis: a quarter of the others.
func adminConnections(files uint64, redis int) int {
	const least = 16
	others := files - min(files, uint64(max(redis, 0)))
	return int(min(max(others/4, least), admin.MaxConnections))
}

// Manager is the service manager that started the process, such as systemd.
type Manager struct {
	service.Notifier

	Watchdog time.Duration // the longest time between two messages [service.Alive]; 0 for none
}

// Manager returns the service manager that the environment describes.
func (s *Settings) Manager() (m Manager, err error) {
	socket, _ := s.Env("NOTIFY_SOCKET")
	if m.Notifier, err = service.NewNotifier(socket); err != nil {
		return m, Invalidf("NOTIFY_SOCKET: %w", err)
	}
	if !m.Active() {
		return m, nil
	}
	usec, _ := s.Env("WATCHDOG_USEC")
	pid, _ := s.Env("WATCHDOG_PID")
	if m.Watchdog, err = service.Watchdog(usec, pid, os.Getpid()); err != nil {
		return m, Invalidf("%w", err)
	}
	return m, nil
}

// checkFiles returns an error for each file of the service that cannot be written, or that
// has another use as well. It changes none of them. What is wrong only for the moment is
// returned apart, see [Prepared].
func (s *Settings) checkFiles() (momentary []error, err error) {
	errs := []error{s.checkOneUse()}
	look := func(flag, path string, check func(path string) error) {
		if path == "" {
			return
		}
		err := check(path)
		if err != nil {
			err = Invalidf("%s: %w", s.Origin(flag).Where, err)
		}
		if errors.Is(err, service.ErrRunning) || errors.Is(err, service.ErrNoReader) {
			momentary = append(momentary, err)
		} else {
			errs = append(errs, err)
		}
	}
	look(pidFileFlag, s.PIDFile, service.CheckPIDFile)
	look("log-file", s.LogFile, service.CheckLogFile)
	return momentary, errors.Join(errs...)
}

// checkOneUse returns an error for each file that the set writes and that is the file of
// another setting as well: it would be lost.
func (s *Settings) checkOneUse() error {
	written := []string{"log-file", pidFileFlag}
	if s.addressFlag() == "" && s.Data == "" { // with a Redis, there is no socket
		written = append(written, "socket")
	}
	var errs []error
	var checked []string
	for _, flag := range written {
		checked = append(checked, flag)
		for _, f := range s.ordered {
			other, ok := f.(*urfave.StringFlag)
			if !ok || !other.TakesFile || slices.Contains(checked, other.Name) || s.path(flag) == "" || s.path(other.Name) == "" {
				continue
			}
			if service.SameFile(s.path(flag), s.path(other.Name)) {
				errs = append(errs, Invalidf("%s: %s is the file of %s as well: give each its own",
					s.Origin(flag).Where, s.path(flag), s.Origin(other.Name).Where))
			}
		}
	}
	return errors.Join(errs...)
}

// path returns the value of a flag that takes a file.
func (s *Settings) path(flag string) string {
	path, _ := s.own[flag].(*urfave.StringFlag).Get().(string)
	return path
}

// checkAdmin returns an error if the health pages cannot be served on their address. It
// listens there for a moment. An address in use is returned apart, see [Prepared].
func (s *Settings) checkAdmin(ctx context.Context, cfg admin.Config) (momentary []error, err error) {
	if cfg.Addr == "" || s.guarded {
		return nil, nil
	}
	err = admin.Check(ctx, cfg)
	if err != nil {
		err = s.Problemf(adminAddrFlag, "%w", err)
	}
	if errors.Is(err, admin.ErrInUse) {
		return []error{err}, nil
	}
	return nil, err
}

package config

import (
	"errors"
	"net"
	"os"
	"time"

	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/supervisor/admin"
	"github.com/stellarfw/stellar/supervisor/cli/service"
)

// Groups of flags in the help.
const (
	groupAdmin   = "Health pages"
	groupService = "Service"
)

// daemon holds the settings of a set that runs as a service: its pidfile and its health
// pages.
type daemon struct {
	PIDFile                   string
	adminAddr, adminTokenFile string
}

// serviceFlags returns the flags of a set that runs as a service.
func (s *Settings) serviceFlags() []urfave.Flag {
	return []urfave.Flag{
		&urfave.StringFlag{
			Name: "admin-addr", Category: groupAdmin, Destination: &s.adminAddr, Sources: s.from("admin-addr", "STELLAR_ADMIN_ADDR"),
			Usage: "serve /healthz, /readyz and /status over HTTP on `HOST:PORT`; beyond loopback STELLAR_ADMIN_TOKEN is needed, for /status",
		},
		s.fileFlag(groupAdmin, "admin-token-file", "STELLAR_ADMIN_TOKEN_FILE", &s.adminTokenFile,
			"`FILE` with the token, instead of STELLAR_ADMIN_TOKEN"),
		s.fileFlag(groupService, "pidfile", "STELLAR_PIDFILE", &s.PIDFile,
			"`FILE` to write the process number into when all nodes run; it is removed at the end"),
	}
}

func (s *Settings) checkService(require requirement) {
	_, _, err := net.SplitHostPort(s.adminAddr)
	require("admin-addr", err == nil, "%q: use host:port, such as 127.0.0.1:8080", s.adminAddr)
}

// Admin returns the configuration of the health pages. An empty Addr means that no
// pages are served.
func (s *Settings) Admin() (cfg admin.Config, err error) {
	if cfg.Addr = s.adminAddr; cfg.Addr == "" {
		return cfg, nil
	}
	if cfg.Token, err = s.secret(adminToken, s.adminTokenFile); err != nil {
		return cfg, err
	}
	switch err = cfg.Validate(); {
	case err == nil:
		return cfg, nil
	case errors.Is(err, admin.ErrTokenNeeded):
		return cfg, Invalidf("%w: set %s or %[2]s_FILE, or use 127.0.0.1", err, adminToken)
	default:
		return cfg, s.Problemf("admin-addr", "%w", err)
	}
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

// checkFiles returns an error for each file of the service that cannot be written. It
// changes none of them. A pidfile that names a live process is no mistake of the
// configuration: that process may be the one which this configuration is for.
func (s *Settings) checkFiles() error {
	var errs []error
	if s.PIDFile != "" {
		if err := service.CheckPIDFile(s.PIDFile); err != nil && !errors.Is(err, service.ErrRunning) {
			errs = append(errs, Invalidf("%s: %w", s.Origin("pidfile").Where, err))
		}
	}
	if s.LogFile != "" {
		if err := service.CheckLogFile(s.LogFile); err != nil {
			errs = append(errs, Invalidf("%s: %w", s.Origin("log-file").Where, err))
		}
	}
	return errors.Join(errs...)
}

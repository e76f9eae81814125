package config

import (
	"errors"
	"net"

	urfave "github.com/urfave/cli/v3"

	"github.com/stellarfw/stellar/supervisor/admin"
)

// Groups of flags in the help.
const (
	groupAdmin   = "Health pages"
	groupService = "Service"
)

// service holds the settings of a set that runs as a service: its pidfile and its
// health pages.
type service struct {
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
	cfg.Addr = s.adminAddr
	if cfg.Token, err = s.secret(adminToken, s.adminTokenFile); err != nil || cfg.Addr == "" {
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

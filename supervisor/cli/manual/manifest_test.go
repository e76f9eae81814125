package manual_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/stellarfw/stellar/supervisor/cli"
)

// pod is what the test needs of a Deployment.
type pod struct {
	Spec struct {
		Template struct {
			Spec struct {
				Containers []struct {
					Args []string
					Env  []struct{ Name, Value string }
				}
			}
		}
	}
}

// TestTheManifestWorksAsItStands gives its environment to the program, and the variables
// that Kubernetes adds for the services that the manifest names.
func TestTheManifestWorksAsItStands(t *testing.T) {
	found := 0
	for _, d := range documents(t) {
		for _, b := range d.blocks("yaml") {
			var p pod
			require.NoError(t, yaml.Unmarshal([]byte(b.text), &p))
			for _, c := range p.Spec.Template.Spec.Containers {
				env := map[string]string{
					"REDIS_PORT": "tcp://10.0.0.1:6379", "REDIS_PORT_6379_TCP": "tcp://10.0.0.1:6379", "REDIS_SERVICE_HOST": "10.0.0.1", "REDIS_SERVICE_PORT": "6379",
					"STELLAR_PORT": "tcp://10.0.0.2:8080", "STELLAR_SERVICE_HOST": "10.0.0.2", "STELLAR_SERVICE_PORT": "8080",
				}
				for _, v := range c.Env {
					env[v.Name] = v.Value
					if v.Value == "" {
						env[v.Name] = "a secret of the cluster"
					}
				}
				found++
				var out, err bytes.Buffer
				code := cli.Main(context.Background(), cli.Program{Name: "stellar"}, cli.Process{
					Args:   append([]string{"stellar", "config", "show"}, c.Args[1:]...),
					Env:    func(name string) (string, bool) { v, ok := env[name]; return v, ok },
					Stdout: &out, Stderr: &err,
				})
				require.Zero(t, code, err.String())
				require.Contains(t, out.String(), "Redis: redis://redis:6379/0")
			}
		}
	}
	require.NotZero(t, found)
}

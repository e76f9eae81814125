package bench

import (
	"cmp"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/redisbus/redistest"
)

// bullmqPackages are installed into a temporary folder when the first side of BullMQ is
// measured. Without Node.js or npm its sides have no figures.
var bullmqPackages = []string{"bullmq@6.7.0", "ioredis@5.11.1"}

//go:embed bullmq.mjs
var bullmqScript []byte

// bullmqArgs are arguments of bullmq.mjs.
type bullmqArgs struct {
	Mode     string  `json:"mode"`
	Socket   string  `json:"socket"`
	Callers  int     `json:"callers"`
	Workers  int     `json:"workers"`
	Slots    int     `json:"slots"` // of each worker; default slots
	Auto     bool    `json:"auto"`  // the client library pipelines what is sent in one turn of the loop
	Bytes    int     `json:"bytes"` // of the payload
	Count    int     `json:"count"` // of jobs
	Rate     int     `json:"rate"`  // of delayed jobs per second
	Takes    []int   `json:"takes"` // ms, of handlers
	Warm     float64 `json:"warm"`  // ms, before the measurement
	MS       float64 `json:"ms"`    // how long it lasts
	Patience float64 `json:"patience"`
}

// bullmqSide is one process of BullMQ beside a Redis of its own. It has no figures for
// the rows of lacks, which are the last ones.
func bullmqSide(mode string, args bullmqArgs, lacks ...row) side {
	name := "BullMQ"
	if args.Slots > 0 {
		name += fmt.Sprintf(", %d × %d", args.Workers, args.Slots)
	}
	if args.Auto {
		name += ", auto-pipelined"
	}
	return side{name: name, run: func(b *scope) []float64 {
		figures := bullmqOn(b, redistest.Start(b).Config(), mode, args)
		for range lacks {
			figures = append(figures, none)
		}
		return figures
	}}
}

// bullmqOn runs one measurement.
func bullmqOn(b *scope, cfg link.Config, mode string, args bullmqArgs) []float64 {
	b.Helper()
	absent := []float64{none, none}[:bullmqFigures(mode)]
	dir, err := bullmqInstalled()
	if err != nil {
		b.notef("BullMQ was skipped: %s", err)
		return absent
	}
	args.Mode, args.Socket, args.Slots = mode, strings.TrimPrefix(cfg.URL, "unix://"), cmp.Or(args.Slots, slots)
	args.Bytes, args.Patience = len(taskPayload)-2, patience.Seconds()*1e3
	if args.MS == 0 {
		args.Warm, args.MS = millis(lasting(200*time.Millisecond)), millis(lasting(1500*time.Millisecond))
	}
	text, err := json.Marshal(args)
	must(b, err)
	cmd := exec.Command("node", filepath.Join(dir, "bullmq.mjs"), string(text))
	out, err := cmd.Output()
	var figures []float64
	if err == nil {
		err = json.Unmarshal(out, &figures)
	}
	if err != nil {
		b.notef("BullMQ, %s: %s: %s", mode, err, errorOutput(err))
		return absent
	}
	return figures
}

// bullmqFigures is how many figures a mode has.
func bullmqFigures(mode string) int {
	switch mode {
	case "pickup", "delayed", "rest":
		return 2
	default:
		return 1
	}
}

var bullmqInstalled = sync.OnceValues(func() (string, error) {
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			return "", fmt.Errorf("%s is missing", program)
		}
	}
	dir, err := temporary()
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(dir, "bullmq.mjs"), bullmqScript, 0o600); err != nil {
		return "", err
	}
	install := append([]string{"install", "--no-audit", "--no-fund", "--no-save", "--ignore-scripts", "--prefix", dir}, bullmqPackages...)
	if _, err := exec.Command("npm", install...).Output(); err != nil {
		return "", fmt.Errorf("npm install: %w: %s", err, errorOutput(err))
	}
	return dir, nil
})

// errorOutput is the first line that a command printed to its stderr.
func errorOutput(err error) string {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return ""
	}
	text, _, _ := strings.Cut(strings.TrimSpace(string(exit.Stderr)), "\n")
	return text
}

func millis(d time.Duration) float64 { return float64(d) / 1e6 }

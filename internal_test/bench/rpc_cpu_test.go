package bench

import (
	"context"
	"fmt"
	"strconv"
	"syscall"
	"testing"
	"time"
	"os"

	"github.com/stellarfw/stellar/redisbus"
	"github.com/stellarfw/stellar/redisbus/redistest"
)

func cpu(b *testing.B, cfg redisbus.Config) (rd, own float64) {
	c, _ := redisbus.OpenClient(cfg, "x")
	defer c.Close()
	s, _ := strconv.ParseFloat(redistest.Info(b, c, "cpu", "used_cpu_sys"), 64)
	u, _ := strconv.ParseFloat(redistest.Info(b, c, "cpu", "used_cpu_user"), 64)
	var r syscall.Rusage
	_ = syscall.Getrusage(0, &r)
	return s + u, float64(r.Utime.Nano()+r.Stime.Nano()) / 1e9
}

func BenchmarkXCPU(b *testing.B) {
	cfg := redistest.Start(b).Config()
	peers := []rpc{floorNodes(b, cfg, 10, true), stellarRPC(stellarNodes(b, cfg, 10))}
	if os.Getenv("ONLY") != "" { peers = peers[1:] }
	n := 100_000
	_ = context.Background
	_ = os.Getpid
	for range 2 {
		for _, p := range peers {
			r0, o0 := cpu(b, cfg)
			t := time.Now()
			f := parallel(b, p, 10, 64, n)
			r1, o1 := cpu(b, cfg)
			fmt.Printf("%s %.0f/s wall %v redis %.1fµs own %.1fµs per call\n", p.name, f.rate, time.Since(t), (r1-r0)/float64(n)*1e6, (o1-o0)/float64(n)*1e6)
		}
	}
}

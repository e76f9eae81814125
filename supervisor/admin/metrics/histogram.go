package metrics

import (
	"math"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// Native buckets grow by the factor 2^(1/8), less than 1.1, from 2^minPower to 2^maxPower: from under a
// microsecond to a day and a half, or as many tasks.
const (
	schema    = 3
	perPower  = 1 << schema
	minPower  = -20
	maxPower  = 17
	natives   = (maxPower-minPower)*perPower + 1
	threshold = 1.0 / (1 << -minPower) // what is not larger is in the zero bucket
)

// histogram counts values in classic and in native buckets. To observe one takes three additions: the histograms
// of client_golang, which also have native buckets, take several times as long, which is more than
// tasks may cost.
type histogram struct {
	bounds  []float64
	classic []atomic.Uint64 // the last one is of values beyond all bounds
	native  [natives]atomic.Uint64
	sum     atomic.Int64 // in billionths
}

func newHistogram(bounds []float64) *histogram {
	return &histogram{bounds: bounds, classic: make([]atomic.Uint64, len(bounds)+1)}
}

func (h *histogram) took(d time.Duration) { h.add(d.Seconds(), int64(d)) }

func (h *histogram) observe(n int) { h.add(float64(n), int64(n)*int64(time.Second)) }

func (h *histogram) add(v float64, billionths int64) {
	at := 0
	for at < len(h.bounds) && v > h.bounds[at] {
		at++
	}
	h.classic[at].Add(1)
	h.native[nativeOf(v)].Add(1)
	if billionths > 0 {
		h.sum.Add(billionths)
	}
}

// fractions are the bounds of the native buckets between 1/2 and 1.
var fractions = func() (f [perPower]float64) { //nolint:gochecknoglobals // it never changes
	for i := range f {
		f[i] = math.Exp2(float64(i)/perPower - 1)
	}
	return f
}()

// nativeOf returns the place of a value's native bucket: 0 for the zero bucket, and 1 for the one whose bound
// is threshold·2^(1/8).
func nativeOf(v float64) int {
	if !(v > threshold) {
		return 0
	}
	fraction, power := math.Frexp(v)
	at := 0
	for at < perPower && fractions[at] < fraction {
		at++
	}
	return min((power-1-minPower)*perPower+at, natives-1)
}

// histogramMetric is a histogram as it is scraped.
type histogramMetric struct {
	*histogram

	desc   *prometheus.Desc
	labels []*dto.LabelPair
}

// Desc implements prometheus.Metric.
func (h histogramMetric) Desc() *prometheus.Desc { return h.desc }

// Write implements prometheus.Metric.
func (h histogramMetric) Write(to *dto.Metric) error {
	out := &dto.Histogram{Schema: new(int32(schema)), ZeroThreshold: new(float64(threshold))}
	total := uint64(0)
	for i := range h.classic {
		total += h.classic[i].Load()
		if i < len(h.bounds) {
			out.Bucket = append(out.Bucket, &dto.Bucket{CumulativeCount: new(total), UpperBound: new(h.bounds[i])})
		}
	}
	out.SampleCount, out.SampleSum = new(total), new(float64(h.sum.Load())/float64(time.Second))
	h.writeNative(out, total)
	to.Label, to.Histogram = h.labels, out
	return nil
}

// writeNative writes the native buckets of total values: others may come meanwhile, which the zero bucket evens out.
func (h histogramMetric) writeNative(out *dto.Histogram, total uint64) {
	last, next, in := int64(0), int32(math.MinInt32), uint64(0)
	for at := 1; at < natives; at++ {
		n := min(h.native[at].Load(), total-in)
		if n == 0 {
			continue
		}
		in += n
		index := int32(at + minPower*perPower)
		switch {
		case next == math.MinInt32:
			out.PositiveSpan = append(out.PositiveSpan, &dto.BucketSpan{Offset: new(index), Length: new(uint32(1))})
		case index == next:
			*out.PositiveSpan[len(out.PositiveSpan)-1].Length++
		default:
			out.PositiveSpan = append(out.PositiveSpan, &dto.BucketSpan{Offset: new(index - next), Length: new(uint32(1))})
		}
		count := int64(n) //nolint:gosec // nobody observes 2^63 values
		out.PositiveDelta = append(out.PositiveDelta, count-last)
		last, next = count, index+1
	}
	out.ZeroCount = new(total - in)
	if len(out.PositiveSpan) == 0 && total == in { // so that it counts as a native histogram
		out.PositiveSpan = []*dto.BucketSpan{{Offset: new(int32(0)), Length: new(uint32(0))}}
	}
}

// pairs returns labels as they are scraped.
func pairs(names, values []string) []*dto.LabelPair {
	all := make([]*dto.LabelPair, len(names))
	for i, name := range names {
		all[i] = &dto.LabelPair{Name: new(name), Value: new(values[i])}
	}
	slices.SortFunc(all, func(a, b *dto.LabelPair) int {
		if a.GetName() < b.GetName() {
			return -1
		}
		return 1
	})
	return all
}

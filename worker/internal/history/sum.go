package history

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds are the upper bounds of the buckets of a histogram, the last of which has none.
var Bounds = []time.Duration{
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond,
	50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, time.Second,
	2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute, 5 * time.Minute,
	15 * time.Minute, time.Hour,
}

// Buckets is how many buckets a histogram has.
const Buckets = 19

// Histogram counts times by bucket. The last bucket has what is longer than all bounds.
type Histogram [Buckets]int64

// Add counts a time.
func (h *Histogram) Add(d time.Duration) {
	i, _ := slices.BinarySearch(Bounds, d) // d <= Bounds[i]
	h[i]++
}

// Sum is what happened to the runs of a task name and queue in a time.
type Sum struct {
	Outcomes  map[string]int64 // runs by outcome
	Wait, Run Histogram        // Wait: of first runs only
	// WaitTime and RunTime are the sums of these times.
	WaitTime, RunTime time.Duration
}

// marks begin the words of a stored sum that are not outcomes: w3=7 is that 7 runs are in the
// fourth bucket of Wait, wt=120 that all waited 120 ms together.
const (
	waitMark = "w"
	runMark  = "r"
	timeMark = "t"
)

// String returns the stored form: the counts that are not 0, as "done=12 w3=7 r0=5 rt=17", with
// times in milliseconds. Outcomes begin with a capital letter there, so that no bucket is taken for one.
func (s *Sum) String() string {
	var b strings.Builder
	add := func(word string, n int64) {
		if n == 0 {
			return
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(word)
		b.WriteByte('=')
		b.WriteString(strconv.FormatInt(n, 10))
	}
	for outcome, n := range s.Outcomes {
		add(strings.ToUpper(outcome[:1])+outcome[1:], n)
	}
	for i := range Buckets {
		add(waitMark+strconv.Itoa(i), s.Wait[i])
		add(runMark+strconv.Itoa(i), s.Run[i])
	}
	add(waitMark+timeMark, s.WaitTime.Milliseconds())
	add(runMark+timeMark, s.RunTime.Milliseconds())
	return b.String()
}

// parse adds a stored sum to s. Words that it does not know are passed over.
func (s *Sum) parse(text string) {
	for word := range strings.FieldsSeq(text) {
		name, number, _ := strings.Cut(word, "=")
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil || n <= 0 || n > maxCount || name == "" {
			continue
		}
		if c := name[0]; c >= 'A' && c <= 'Z' {
			if s.Outcomes == nil {
				s.Outcomes = map[string]int64{}
			}
			s.Outcomes[strings.ToLower(name[:1])+name[1:]] += n
			continue
		}
		s.add(name[:1], name[1:], n)
	}
}

// maxCount is the largest count that is read: a larger one would overflow when it is summed up.
const maxCount = 1 << 53

func (s *Sum) add(mark, what string, n int64) {
	histogram, all := &s.Wait, &s.WaitTime
	switch mark {
	case waitMark:
	case runMark:
		histogram, all = &s.Run, &s.RunTime
	default:
		return
	}
	if what == timeMark {
		*all += time.Duration(min(n, int64(longest/time.Millisecond))) * time.Millisecond
		return
	}
	if i, err := strconv.Atoi(what); err == nil && i >= 0 && i < Buckets {
		histogram[i] += n
	}
}

// longest is the largest sum of times that is read.
const longest = time.Duration(1) << 52 * 100

// Join adds another sum to s.
func (s *Sum) Join(other Sum) {
	if s.Outcomes == nil {
		s.Outcomes = map[string]int64{}
	}
	for outcome, n := range other.Outcomes {
		s.Outcomes[outcome] += n
	}
	for i := range Buckets {
		s.Wait[i] += other.Wait[i]
		s.Run[i] += other.Run[i]
	}
	s.WaitTime += other.WaitTime
	s.RunTime += other.RunTime
}

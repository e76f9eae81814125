package tasks

import (
	"encoding/json"
	"fmt"
	"math"
	"time"
)

// String returns high, normal or low.
func (p Priority) String() string {
	switch p {
	case High:
		return "high"
	case Normal:
		return "normal"
	case Low:
		return "low"
	default:
		return fmt.Sprintf("priority %d", int(p))
	}
}

// MarshalText implements encoding.TextMarshaler: see [Priority.String].
func (p Priority) MarshalText() ([]byte, error) {
	if err := p.validate(); err != nil {
		return nil, err
	}
	return []byte(p.String()), nil
}

// UnmarshalText implements encoding.TextUnmarshaler. An empty text is [Normal].
func (p *Priority) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*p = Normal
		return nil
	}
	for _, known := range []Priority{High, Normal, Low} {
		if string(text) == known.String() {
			*p = known
			return nil
		}
	}
	return fmt.Errorf("priority %.40q: use high, normal or low", text)
}

func (p Priority) validate() error {
	if p < Low || p > High {
		return fmt.Errorf("%w: Priority %d: use Low, Normal or High", ErrInvalid, int(p))
	}
	return nil
}

// queueJSON is a [Queue] in JSON: its durations are milliseconds, with fractions.
type queueJSON struct {
	*plainQueue

	Oldest float64 `json:"oldestMs"`
	Wait   float64 `json:"waitMs"`
	Run    float64 `json:"runMs"`
}

// plainQueue is a [Queue] without its methods.
type plainQueue Queue

// MarshalJSON implements json.Marshaler: durations are milliseconds, with fractions.
func (q Queue) MarshalJSON() ([]byte, error) {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	return json.Marshal(queueJSON{(*plainQueue)(&q), ms(q.Oldest), ms(q.Wait), ms(q.Run)})
}

// UnmarshalJSON implements json.Unmarshaler; see [Queue.MarshalJSON].
func (q *Queue) UnmarshalJSON(text []byte) error {
	in := queueJSON{plainQueue: (*plainQueue)(q)}
	if err := json.Unmarshal(text, &in); err != nil {
		return err
	}
	duration := func(ms float64) time.Duration { return time.Duration(math.Round(ms*1000)) * time.Microsecond }
	q.Oldest, q.Wait, q.Run = duration(in.Oldest), duration(in.Wait), duration(in.Run)
	return nil
}

// JSONForm returns a value of the JSON form, for api.methods.
func (q Queue) JSONForm() any { return queueJSON{} }

package guard

import (
	"fmt"

	"github.com/stellarfw/stellar/supervisor"
)

// Bounds of what a child tells, so that its messages are not too long: names in a list, and bytes of an error.
const (
	mostNames = 1000
	mostError = 64 << 10
)

// trimmed returns the end with lists of bounded length.
func (e End) trimmed() End {
	e.Report.Running, e.Report.Unsettled = some(e.Report.Running), some(e.Report.Unsettled)
	if len(e.Error) > mostError {
		e.Error = e.Error[:mostError] + " …"
	}
	return e
}

// some returns the first of the names, and says how many more there are.
func some(names []string) []string {
	if len(names) <= mostNames {
		return names
	}
	return append(names[:mostNames:mostNames], fmt.Sprintf("and %d more", len(names)-mostNames))
}

// unnamed returns a report without its lists.
func unnamed(r supervisor.Report) supervisor.Report {
	r.Running, r.Unsettled = nil, nil
	return r
}

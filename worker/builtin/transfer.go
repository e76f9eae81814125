package builtin

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/worker/tasks"
)

// Arguments of the methods of api.tasks.* in this file.
type (
	taskExport struct {
		tasks.Filter

		// Cursor is the next of the page before; without one the export begins.
		Cursor string `json:"cursor,omitempty"`
	}
	taskImport struct {
		Lines []json.RawMessage `json:"lines"`
	}
)

// registerTransfer adds the methods that export and import tasks, a page at a time.
func registerTransfer(r rpcregistry.Registrar, c *tasks.Client, i *tasks.Inspector) {
	handleTask(r, "export", func(ctx context.Context, in taskExport) (tasks.ExportPage, error) {
		if in.Limit == 0 || in.Limit > listMost {
			in.Limit = listMost
		}
		return i.ExportPage(ctx, in.Filter, in.Cursor, listReply)
	})
	handleTask(r, "import", func(ctx context.Context, in taskImport) ([]tasks.Imported, error) {
		if n := len(in.Lines); n == 0 || n > listMost {
			return nil, fmt.Errorf("%w: %d lines: give 1 to %d of those that api.tasks.export answers with",
				rpcregistry.ErrBadArguments, n, listMost)
		}
		return c.ImportLines(ctx, in.Lines)
	})
}

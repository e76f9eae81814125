package worker_test

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"fmt"

	"github.com/stellarfw/stellar/worker"
	"github.com/stellarfw/stellar/worker/tasks"
)

// encryptTasks has Redis see no payload: each is encrypted before it is stored, and
// decrypted for its handler.
func encryptTasks(app *worker.App, aead cipher.AEAD) {
	app.UseEnqueue(func(next tasks.EnqueueFunc) tasks.EnqueueFunc {
		return func(ctx context.Context, out []tasks.Outgoing) ([]tasks.Receipt, error) {
			for i := range out {
				sealed, err := json.Marshal(aead.Seal(nil, nil, out[i].Payload, []byte(out[i].Name)))
				if err != nil {
					return nil, err
				}
				out[i].Payload = sealed
			}
			return next(ctx, out)
		}
	})
	app.Use(func(next tasks.Handler) tasks.Handler {
		return func(ctx context.Context, payload json.RawMessage) error {
			var sealed []byte
			err := json.Unmarshal(payload, &sealed)
			if err == nil {
				payload, err = aead.Open(nil, nil, sealed, []byte(tasks.InfoOf(ctx).Name))
			}
			if err != nil {
				return tasks.Discard(fmt.Errorf("decrypt: %w", err))
			}
			return next(ctx, payload)
		}
	})
}

// Payloads of tasks are encrypted in Redis; neither the caller nor the handler sees
// anything of that.
func ExampleApp_UseEnqueue() {
	key := make([]byte, 32) // a real one comes from where secrets are kept
	_, _ = rand.Read(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		fmt.Println(err)
		return
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		fmt.Println(err)
		return
	}
	app := worker.NewApp()
	encryptTasks(app, aead)
	tasks.Handle(app, tasks.Definition{Name: "remember"}, func(_ context.Context, secret string) error {
		fmt.Println("the handler got", secret)
		return nil
	})
	serve(app, func(ctx context.Context, api *worker.API) {
		receipt, err := api.Tasks.EnqueueWith(ctx, "remember", "rosebud", tasks.Options{WantResult: true})
		if err == nil {
			_, err = api.Tasks.Wait(ctx, receipt.ID)
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		task, _ := api.Inspector.Get(ctx, receipt.ID)
		fmt.Println("Redis has a text of", len(task.Payload), "bytes")
	})
	// Output:
	// the handler got rosebud
	// Redis has a text of 54 bytes
}

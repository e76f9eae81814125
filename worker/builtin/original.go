package builtin

import (
	"encoding/json"
	"fmt"
)

// Programs for the original Stellar and for actionhero call methods by position. Most of their
// calls fit the methods of this package; this file has the others.

// optionsAsExtend returns the arguments of api.cache.load, which the original calls with
// options: load(key, {expireTimeMS, retry}). The option retry, how long to wait for a lock, is
// ignored: no lock guards a load.
func optionsAsExtend(list []json.RawMessage) ([]json.RawMessage, error) {
	if len(list) < 2 || list[1][0] != '{' {
		return list, nil
	}
	var options struct {
		ExpireTimeMS json.RawMessage `json:"expireTimeMS"`
		Retry        json.RawMessage `json:"retry"`
	}
	if err := decode(list[1], &options); err != nil {
		return nil, fmt.Errorf("%w: the options of a load are {expireTimeMS?: number, retry?: number}", err)
	}
	list[1] = options.ExpireTimeMS
	if list[1] == nil {
		list[1] = json.RawMessage("null")
	}
	return list, nil
}

// retryAsWait returns the arguments of api.cache.checkLock, which the original calls with how
// long to wait for the lock, or false: checkLock(key, retry).
func retryAsWait(list []json.RawMessage) ([]json.RawMessage, error) {
	if len(list) > 1 && string(list[1]) == "false" {
		list[1] = json.RawMessage("null")
	}
	return list, nil
}

// Advice returns what to use in the place of a method of the original that nodes do not have,
// "" for any other name. It is for rpcregistry.Registry.Advise.
func Advice(method string) string { return advice[method] }

const (
	adviceDelayed  = `use api.tasks.list {"states": ["delayed"]}`
	adviceActive   = `use api.tasks.list {"states": ["active"]}`
	adviceLocks    = "tasks have no locks: give them the option unique of api.tasks.enqueue"
	adviceTakeOver = "nothing to do: the other nodes take over what a dead one had in hand"
	advicePeriodic = "nothing to do: periodic tasks run by themselves; see api.tasks.periodic"
	adviceRunNow   = `use api.tasks.runPeriodic ["NAME"]`
	adviceStop     = `use api.tasks.pausePeriodic ["NAME"] or api.tasks.removePeriodic ["NAME"]`
	adviceClient   = "use api.connections.send, api.connections.info or api.connections.close with the connection as the call's target"
)

var advice = map[string]string{
	"api.cache.dumpWrite": "the command cache export writes the cache to a file",
	"api.cache.dumpRead":  "the command cache import reads what cache export wrote",

	"api.tasks.del":         `use api.tasks.delete ["ID"], or api.tasks.deleteAll {"queue": "QUEUE", "name": "TASK"}`,
	"api.tasks.delDelayed":  `use api.tasks.deleteAll {"states": ["delayed"], "queue": "QUEUE", "name": "TASK"}`,
	"api.tasks.scheduledAt": adviceDelayed, "api.tasks.timestamps": adviceDelayed, "api.tasks.delayedAt": adviceDelayed,
	"api.tasks.allDelayed": adviceDelayed,
	"api.tasks.stats":      "use api.tasks.counts, or api.tasks.queues", "api.tasks.details": "use api.tasks.counts and api.tasks.queues",
	"api.tasks.queued":   `use api.tasks.list {"states": ["pending"], "queue": "QUEUE"}`,
	"api.tasks.delQueue": `use api.tasks.deleteQueue ["QUEUE"]`,
	"api.tasks.locks":    adviceLocks, "api.tasks.delLock": adviceLocks,
	"api.tasks.workers":   "use api.status of every node",
	"api.tasks.workingOn": adviceActive, "api.tasks.allWorkingOn": adviceActive,
	"api.tasks.failedCount": "use api.tasks.counts", "api.tasks.failed": `use api.tasks.list {"states": ["dead"]}`,
	"api.tasks.removeFailed": `use api.tasks.delete ["ID"]`, "api.tasks.retryAndRemoveFailed": `use api.tasks.retry ["ID"]`,
	"api.tasks.retryStuckJobs": adviceTakeOver, "api.tasks.cleanOldWorkers": adviceTakeOver,
	"api.tasks.enqueueRecurrentTask": adviceRunNow, "api.tasks.enqueueRecurrentJob": adviceRunNow,
	"api.tasks.enqueueAllRecurrentTasks": advicePeriodic, "api.tasks.enqueueAllRecurrentJobs": advicePeriodic,
	"api.tasks.stopRecurrentTask": adviceStop, "api.tasks.stopRecurrentJob": adviceStop,

	"api.redis.publish":        `use api.bus.publish ["chat", PAYLOAD], with your messageType in the place of chat`,
	"api.redis.doCluster":      "call the method itself, on one node or on all",
	"api.redis.respondCluster": "a method answers with what it returns",
	"api.connections.apply":    adviceClient, "api.connections.applyCatch": adviceClient,
}

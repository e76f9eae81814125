package otel

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/stellarfw/stellar/redisbus/link"
	"github.com/stellarfw/stellar/rpcregistry"
	"github.com/stellarfw/stellar/worker/tasks"
)

// system is the value of messaging.system and rpc.system.name.
const system = "stellar"

// process is the operation of consumers.
const process = "process"

// The attributes of the semantic conventions 1.44, and ours.
const (
	keyErrorType       = attribute.Key("error.type")
	keyMessagingSystem = attribute.Key("messaging.system")
	keyOperationName   = attribute.Key("messaging.operation.name")
	keyOperationType   = attribute.Key("messaging.operation.type")
	keyDestination     = attribute.Key("messaging.destination.name")
	keyMessageID       = attribute.Key("messaging.message.id")
	keyMessageCount    = attribute.Key("messaging.batch.message_count")
	keyRPCSystem       = attribute.Key("rpc.system.name")
	keyRPCMethod       = attribute.Key("rpc.method")
	keyRPCStatus       = attribute.Key("rpc.response.status_code")

	keyTask      = attribute.Key("stellar.task.name")
	keyAttempt   = attribute.Key("stellar.task.attempt")
	keyCrashes   = attribute.Key("stellar.task.crashes")
	keyWait      = attribute.Key("stellar.task.wait") // seconds
	keyOutcome   = attribute.Key("stellar.task.outcome")
	keyDuplicate = attribute.Key("stellar.task.duplicate")
	keyFailed    = attribute.Key("stellar.batch.failed") // tasks
	keyPeriodic  = attribute.Key("stellar.periodic")
	keyNode      = attribute.Key("stellar.node")
	keyFence     = attribute.Key("stellar.fence")
	keyFrom      = attribute.Key("stellar.from")
	keyTo        = attribute.Key("stellar.to")
	keyReplies   = attribute.Key("stellar.rpc.replies")
	keyRPCFailed = attribute.Key("stellar.rpc.failed")
	keyLock      = attribute.Key("stellar.lock.key")
	keyLockWait  = attribute.Key("stellar.lock.wait") // seconds
)

// messaging returns the attributes of an operation on a queue, or on messages of a type.
func messaging(name, kind, destination string) []attribute.KeyValue {
	return []attribute.KeyValue{
		keyMessagingSystem.String(system), keyOperationName.String(name), keyOperationType.String(kind), keyDestination.String(destination),
	}
}

func errorType(name string) attribute.KeyValue { return keyErrorType.String(name) }

// maxDescription is the most bytes of an error in a span's status.
const maxDescription = 500

// fail notes the error that a span ended with.
func fail(span trace.Span, err error) {
	span.SetAttributes(errorType(typeOf(err)))
	text := strings.ToValidUTF8(err.Error(), "\uFFFD")
	if len(text) > maxDescription {
		text = text[:maxDescription]
		for !utf8.ValidString(text) {
			text = text[:len(text)-1]
		}
	}
	span.SetStatus(codes.Error, text)
}

// named are errors whose types say nothing.
var named = []struct {
	err  error
	name string
}{
	{tasks.ErrDeadline, "deadline"},
	{tasks.ErrQueueFull, "queue_full"},
	{tasks.ErrPayload, "payload"},
	{tasks.ErrUndefined, "undefined"},
	{link.ErrUnavailable, "redis_unavailable"},
	{link.ErrUnknownOutcome, "unknown_outcome"},
	{context.DeadlineExceeded, "timeout"},
	{context.Canceled, "canceled"},
}

// callCode returns the code of the error of a call, "" for any other error.
func callCode(err error) string {
	if known, is := errors.AsType[*rpcregistry.Error](err); is {
		return string(known.Code)
	}
	code, _ := errors.AsType[rpcregistry.Code](err)
	return string(code)
}

// typeOf returns the error.type of an error: a code, or the innermost type that says something.
func typeOf(err error) string {
	if code := callCode(err); code != "" {
		return code
	}
	for _, n := range named {
		if errors.Is(err, n.err) {
			return n.name
		}
	}
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		err = inner
	}
	switch name := fmt.Sprintf("%T", err); name {
	case "*errors.errorString", "*fmt.wrapError", "*fmt.wrapErrors", "*errors.joinError", "*fmt.fmtError":
		return "_OTHER"
	default:
		return name
	}
}

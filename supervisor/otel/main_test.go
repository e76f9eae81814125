package otel_test

import (
	"testing"

	"github.com/stellarfw/stellar/redisbus/redistest"
)

func TestMain(m *testing.M) { redistest.Main(m) }

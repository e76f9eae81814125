# Stellar for Go. `make` lists the targets.

# Packages of make test and make cover, and more flags for go test: PKG=./cache ARGS='-run Lock -v'
# Those that take longest come first, so that they run beside the others.
PKG ?= ./worker/tasks ./supervisor/cli ./worker/internal/queue ./internal_test ./...
ARGS ?=
# What the race detector need not watch, as a flag of go build: the Lua interpreter of the embedded
# Redis runs in one goroutine at a time, under a lock of the project's own code, and watched itself
# it would take a third of the time. The tests of that package watch it, too: see .ci/run.
SPARED ?= -gcflags=github.com/yuin/gopher-lua/...=-race=false
# How long make fuzz runs each target.
FUZZTIME ?= 10s
# Benchmarks of make bench, a regular expression such as Flow or 'Flow/^8_callers'; how often
# each side is measured; below 1 a share of the time, to try the benchmarks out.
BENCH ?= .
ROUNDS ?= 5
SIZE ?= 1

# Systems of make cross and make vet, beside the one that the tests run on.
TARGETS ?= linux/386 linux/arm64 darwin/arm64 windows/amd64

GO ?= go
OUT = dist
LINT = $(GO) tool -modfile=.ci/tools/go.mod golangci-lint

.DEFAULT_GOAL := help
.PHONY: help build test test-386 cross vet cover bench fuzz mutants zones lint fix fmt tidy clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

build: ## build the binary ./stellar
	$(GO) build -trimpath -o stellar .

test: ## install what the tests need and run them all, on the embedded and on a real Redis
	@.ci/prepare
	GOFLAGS="$$($(GO) env GOFLAGS) $(SPARED)" $(GO) test -race -shuffle=on -timeout 9m $(ARGS) $(PKG)

test-386: ## run the embedded half of the tests with integers of 32 bits, without the race detector
	@.ci/prepare
	GOARCH=386 CGO_ENABLED=0 $(GO) test -shuffle=on -timeout 9m -skip '/^(redis|cluster)$$' $(ARGS) $(PKG)

cross: ## type-check packages and tests for the systems that the project is built for (a minute)
	$(GO) -C .ci/tools run ./crosscheck ../.. $(TARGETS)

vet: ## vet them for these systems: thorough, but all dependencies are compiled for each (10 minutes)
	@for target in $(TARGETS); do \
		echo "$$target"; GOOS=$${target%/*} GOARCH=$${target#*/} CGO_ENABLED=0 $(GO) vet $(PKG) || exit; done

cover: ## run the tests and write what they cover to dist/cover.html
	@.ci/prepare
	@mkdir -p $(OUT)
	$(GO) test -coverpkg=./... -coverprofile=$(OUT)/cover.out -timeout 9m $(ARGS) $(PKG)
	$(GO) tool cover -html=$(OUT)/cover.out -o $(OUT)/cover.html
	@$(GO) tool cover -func=$(OUT)/cover.out | tail -n 1

bench: ## measure beside the peers (BENCH=regexp, BENCH=Scale for how cost grows; ROUNDS=5)
	@.ci/prepare
	$(GO) -C internal_test/bench test -run '^$$' -bench '$(BENCH)' -benchtime 1x -timeout 5h $(ARGS) . -rounds $(ROUNDS) -size $(SIZE)

fuzz: ## run every fuzz target for FUZZTIME (10s) each
	@.ci/fuzz $(FUZZTIME)

mutants: ## put every known mistake into the task scripts; the tests must see each (2 minutes)
	@.ci/prepare
	$(GO) test -run Mutants -timeout 9m -v $(ARGS) ./worker/internal/queue -mutants

zones: ## check cron schedules in every time zone over 50 years (2 minutes)
	$(GO) test -run Cron -timeout 20m $(ARGS) ./worker/tasks -zones

lint: ## run the linters; the first time they are built, which takes a minute or two
	$(LINT) run ./...

fix: ## let the linters correct what they can
	$(LINT) run --fix ./...

fmt: ## format the Go files
	$(LINT) fmt ./...

tidy: ## tidy every module
	@for mod in $$(git ls-files -co --exclude-standard -- go.mod '*/go.mod'); do \
		(set -x; $(GO) -C "$$(dirname "$$mod")" mod tidy) || exit; done

clean: ## remove what was built
	rm -rf stellar $(OUT)

# Everything runs from here. `make help` lists it.

GO        ?= go
BIN       ?= bin
VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo v0.0.0-dev)
# The commit's time, not that of the build: the same commit gives the same bytes. A tarball may give SOURCE_DATE_EPOCH.
BUILT     ?= $(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct 2>/dev/null))
FUZZTIME  ?= 10s
LDFLAGS   := -s -w -X main.version=$(VERSION) -X main.built=$(BUILT)
GO_BUILD  := CGO_ENABLED=0 $(GO) build -ldflags "$(LDFLAGS)"
# The plugin begins before Go's runtime where it can (docs/decisions/0005).
PLUGIN_BUILD = CGO_ENABLED=0 $(GO) build -ldflags "-s -w$(if $(filter amd64,$(1)), -E shortEntry)"

# The version is given above: builds work the same in a checkout that git will not look into (another owner, a tarball). Tests are built
# as programs are, so that what one has compiled serves the other, in every checkout.
export GOFLAGS := $(GOFLAGS) -buildvcs=false -trimpath
export CGO_ENABLED ?= 0

# With root nothing may be skipped: a test that finds no kernel feature or no tool then fails.
ifeq ($(shell id -u),0)
export HEXAPOD_ROOT := 1
else
SUDO := $(shell command -v sudo)
endif

.DEFAULT_GOAL := help
.PHONY: help build dist test cuts demo lab cluster cluster-down clusters conformance kube prove bench kernels lint vulncheck generate fuzz soak packages clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build bin/hexapod and bin/hexapod-cni
	@echo "building $(BIN)/ $(VERSION)"
	@$(GO_BUILD) -o $(BIN)/ ./cmd/hexapod
	@$(call PLUGIN_BUILD,$(shell $(GO) env GOARCH)) -o $(BIN)/ ./cmd/hexapod-cni

dist: ## build for amd64 and arm64 into dist/
	@for arch in amd64 arm64; do \
		echo "building dist/$$arch $(VERSION)"; \
		GOOS=linux GOARCH=$$arch $(GO_BUILD) -o dist/$$arch/ ./cmd/hexapod || exit 1; \
	done
	@GOOS=linux GOARCH=amd64 $(call PLUGIN_BUILD,amd64) -o dist/amd64/ ./cmd/hexapod-cni
	@GOOS=linux GOARCH=arm64 $(call PLUGIN_BUILD,arm64) -o dist/arm64/ ./cmd/hexapod-cni

test: packages ## run all tests; as root also those that need namespaces, the kernel and real peers
	@test -n "$(HEXAPOD_ROOT)" || echo "not root: tests that need the kernel are skipped (sudo env PATH=\"$$PATH\" make test runs them)"
	$(GO) test -short -timeout 20m ./...
	$(GO) -C test/bench test ./...

cuts: ## cut the power 10,000 times under the journal (make test does 300)
	$(GO) test -count=1 -v -timeout 20m -run '^TestPowerCuts$$' ./agent/allocation

demo: build ## a fabric of 2 racks x 2 hosts x 3 endpoints on this machine, checked (KEEP=1 leaves it, BREAK=1 must fail)
	@$(SUDO) env KEEP=$(KEEP) BREAK=$(BREAK) $(BIN)/hexapod lab demo$(if $(NAME), --name $(NAME))

lab: build ## bring a fabric up and leave it; `bin/hexapod lab down` removes it
	$(SUDO) $(BIN)/hexapod lab up

# The cluster's knobs reach it through sudo too; it builds with the caller's Go and caches.
KNOBS   := NAME NODES FAMILY NETWORK FABRIC HOSTPREFIXES HOSTBITS KUBEPROXY INTERNET FOCUS
CLUSTER  = $(SUDO) env PATH="$(PATH)" HOME="$(HOME)" BIN="$(BIN)" $(foreach k,$(KNOBS),$(if $($k),$k='$($k)')) $(BIN)/cluster

cluster: build packages ## bring a real Kubernetes up on this machine and leave it (knobs: docs/cluster.md; bin/cluster kubectl, exec, status, logs)
	@$(GO) build -o $(BIN)/cluster ./test/cluster/cmd/cluster
	@$(CLUSTER) up

cluster-down: ## remove the cluster; what was built for it stays in the cache
	@test -x $(BIN)/cluster || $(GO) build -o $(BIN)/cluster ./test/cluster/cmd/cluster
	@$(CLUSTER) down

clusters: ## upstream's suites on every kind of cluster, one after the other (KINDS="plan bgp" only these; tools/clusters.sh lists them)
	@tools/clusters.sh $(KINDS)

conformance: ## run upstream's network conformance suite on the cluster (SUITE=policy: another)
	@$(CLUSTER) conformance

kube: ## test the controller and its client on a real API server (make cluster builds it); a restored store with real agents is in make soak
	$(GO) test -short -tags cluster -count=1 -timeout 10m -skip '^TestRestoredStoreWithAgents$$' ./controller ./edge/kube ./edge/kube/objects ./edge/kube/lease

PROVE = NAME='$(NAME)' $(GO) test -tags cluster -count=1 -timeout 90m -v

prove: build ## prove what Hexapod promises to Kubernetes, on the cluster that is up (INTERNET=ipv4: what needs the IPv4 Internet)
	@$(PROVE) $(if $(filter ipv4,$(INTERNET)),-run '^TestInternet',-skip '^Test(Internet|Churn)') ./test/cluster/prove
	@$(if $(filter ipv4,$(INTERNET)),,$(PROVE) -run '^TestChurn$$' ./test/cluster/prove) # last: what it stirs up takes a while to settle

bench: build ## run the benchmarks, ours and beside other plugins (root), and write bench/results
	@tools/bench.sh

kernels: packages ## boot Debian's Linux 6.1 in qemu (KVM is not needed) and run the datapath's tests there; KERNELS names other packages
	@tools/packages.sh test/kernels/packages.txt
	@$(GO) run ./test/kernels $(KERNELS)

lint: ## gofmt, vet, staticcheck, errorlint, the bans and arrows of arch/, govulncheck
	@tools/lint.sh

vulncheck: ## known vulnerabilities in what we call; says so when the database cannot be reached
	@tools/vulncheck.sh

generate: packages ## write what is generated: docs/map.md and more (compiling eBPF needs clang)
	$(GO) generate ./...

fuzz: ## run every fuzz target for FUZZTIME (10s)
	@FUZZTIME=$(FUZZTIME) tools/fuzz.sh

soak: build ## what takes long: 10,000 power cuts, upstream's suites on every kind of cluster, a minute of each fuzz target, the race detector (PARTS="cuts fuzz": only these, tools/soak.sh lists them); writes bench/results/soak
	@tools/soak.sh $(PARTS)

packages: # what tests and generation drive besides Go: installed on Debian when root, by make test and make generate
	@tools/packages.sh

clean: ## remove what was built
	rm -rf bin dist

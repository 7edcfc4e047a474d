#!/bin/sh
# Runs every linter, tells of all that complain, and fails if one did. The linters' versions are pinned in tools/go.mod.
set -u
cd "$(dirname "$0")/.."

failed=
check() { # check NAME COMMAND ...: COMMAND fails, or prints something
	name=$1
	shift
	if out=$("$@" 2>&1); then
		echo "ok    $name${out:+ ($out)}"
	else
		printf '%s\n' "$out"
		echo "FAIL  $name"
		failed="$failed $name"
	fi
}

formatted() {
	out=$(gofmt -s -l $(git ls-files --cached --others --exclude-standard '*.go' | while read -r f; do [ -f "$f" ] && echo "$f"; done)) || return 1
	[ -z "$out" ] || { echo "$out" | sed 's/$/: run gofmt -s -w/'; return 1; }
}

bans() {
	go test -count=1 ./arch >/dev/null 2>&1 || go test -count=1 ./arch
}

go -C tools build -o ../bin/tools/ tool || exit 1
check gofmt formatted
check vet go vet ./...
check "vet of tests on a cluster" go vet -tags cluster ./controller ./edge/kube/... ./test/cluster/...
check "vet test/bench" go -C test/bench vet ./...
check staticcheck bin/tools/staticcheck ./...
# The plugin makes its system calls itself and does without package errors: their numbers are never wrapped. By go vet it costs a sixth.
check errorlint go vet -vettool="$PWD/bin/tools/go-errorlint" $(go list ./... | grep -v /cmd/hexapod-cni)
check arch bans
check vulncheck tools/vulncheck.sh

[ -z "$failed" ] || { echo "lint:$failed failed" >&2; exit 1; }

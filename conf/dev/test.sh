#!/usr/bin/env bash
# test.sh - everything `make test` runs, stage by stage; stops at the first
# that fails. The last line counts the tests.
set -uo pipefail
cd "$(dirname "$0")/../.."

export CI=1
log=$(mktemp)
trap 'rm -f "$log"' EXIT
passed=0

# count WORD: the sum of all "N WORD" in the stage's output
count() {
    grep -oE "[0-9]+ $1" "$log" | awk '{ n += $1 } END { print n + 0 }'
}

# a skipped test proves nothing, so it fails its stage
stage() {
    local name=$1 good=true failed skipped n
    shift
    echo "== $name"
    "$@" 2>&1 | tee "$log" || good=false
    n=$(count passed) failed=$(count failed) skipped=$(count skipped)
    passed=$((passed + ${n:-0}))
    failed=$((${failed:-0} + ${skipped:-0}))
    if ! $good || [ "$failed" -gt 0 ]; then
        echo "test: $name failed"
        echo "$passed passed, $((failed > 0 ? failed : 1)) failed"
        exit 1
    fi
}

# no test server may meet a proxy or the settings of whoever runs this
unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY MONGODB_URI REDIS_URL
# nor, on stderr, what the driver says of files that killed programs have left
export MONGOC_DISABLE_SHM=1

make() { command make --no-print-directory -j "$(nproc)" "$@"; }

stage build make all
stage lint make lint
stage unit make check
stage mutants make mutants
stage "unit, sanitizers" make MODE=san check
stage cases make cases
stage "cases, sanitizers" make MODE=san cases
stage system make system
stage frontends make frontends
stage platform make platform
stage "fuzz corpora" make fuzz-replay
stage "fuzz, 5 s a target" make FUZZ_SECONDS=5 fuzz

echo "$passed passed, 0 failed"

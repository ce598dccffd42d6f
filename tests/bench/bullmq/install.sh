#!/usr/bin/env bash
# install.sh FOLDER - BullMQ, which the benchmark alone needs, with what is
# beside this file. Exit code 0 also when it cannot be had: the benchmark then
# says so in its table. A no-op when it is there.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=$1

root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

there() { command -v node >/dev/null && command -v npm >/dev/null; }

[ "$folder/installed" -nt "$here/package.json" ] &&
    [ "$folder/installed" -nt "$here/package-lock.json" ] && there && exit 0
mkdir -p "$folder"
rm -f "$folder/installed"
if ! there; then
    echo "bullmq: installing node and npm"
    { root apt-get update -qq &&
        root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
            --no-install-recommends nodejs npm; } >"$folder/node.log" 2>&1 ||
        { echo "bullmq: node cannot be installed: $folder/node.log"; exit 0; }
fi
cp "$here/package.json" "$here/package-lock.json" "$here/.npmrc" "$folder"
if (cd "$folder" && npm ci --silent >npm.log 2>&1); then
    touch "$folder/installed"
else
    echo "bullmq: it cannot be installed: $folder/npm.log"
fi

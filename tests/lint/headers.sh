#!/bin/sh
# headers.sh - each header starts with #pragma once and compiles alone
cd "$(dirname "$0")/../.." || exit 1
INC=$(pkg-config --cflags-only-I libmongoc-1.0 libbson-1.0 hiredis json-c 2>/dev/null)
export INC
git ls-files -co --exclude-standard '*.h' |
    xargs -P "$(nproc)" -I{} sh -c '
    status=0
    [ "$(head -n 1 "$1")" = "#pragma once" ] ||
        { echo "$1:1: headers: starts with #pragma once"; status=1; }
    printf "#include \"%s\"\n" "$1" |
        gcc -std=c11 -D_GNU_SOURCE -fsyntax-only -I. $INC -x c - 2>/dev/null ||
        { echo "$1:1: headers: does not compile alone"; status=1; }
    exit $status' sh {} || exit 1

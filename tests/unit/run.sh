#!/bin/sh
# run.sh PROGRAM... - each unit test program in a folder of its own, with a
# time limit, as many at a time as there are cores; one closing line for all.
ROOT=$(cd "$(dirname "$0")/../.." && pwd) # for who needs a file of the source
export ROOT

# run.sh --one PROGRAM: its counts go to a file in $COUNTS
if [ "$1" = --one ]; then
    program=$(realpath "$2") n=0 failed=0
    folder=$(mktemp -d)
    if (cd "$folder" && timeout 120 "$program" >out 2>&1); then
        n=$(grep -c '^\[       OK \]' "$folder/out")
        [ "$n" -gt 0 ] || { echo "$program ran no test"; failed=1; }
    else
        failed=1
        echo "--- $program" | cat - "$folder/out"
    fi
    echo "$n $failed" >"$COUNTS/$(basename "$program")"
    rm -rf "$folder"
    exit 0
fi

COUNTS=$(mktemp -d)
export COUNTS
trap 'rm -rf "$COUNTS"' EXIT
printf '%s\n' "$@" | xargs -P "$(nproc)" -n 1 "$0" --one
# one that left no count was killed
cat "$COUNTS"/* 2>/dev/null | awk -v all=$# '
{ passed += $1; failed += $2 }
END {
    failed += all - NR
    print passed + 0 " passed, " failed + 0 " failed"
    exit failed > 0
}'

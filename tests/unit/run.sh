#!/bin/sh
# run.sh PROGRAM... - each unit test program in a folder of its own, with a
# time limit; one closing line for all.
ROOT=$(cd "$(dirname "$0")/../.." && pwd) # for who needs a file of the source
export ROOT
passed=0 failed=0
for program in "$@"; do
    program=$(realpath "$program")
    folder=$(mktemp -d)
    if (cd "$folder" && timeout 120 "$program" >out 2>&1); then
        n=$(grep -c '^\[       OK \]' "$folder/out")
        passed=$((passed + n))
        [ "$n" -gt 0 ] || { echo "$program ran no test"; failed=$((failed + 1)); }
    else
        echo "--- $program"
        cat "$folder/out"
        failed=$((failed + 1))
    fi
    rm -rf "$folder"
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]

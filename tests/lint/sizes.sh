#!/bin/sh
# sizes.sh - 80 columns, 500 lines a file, 60 lines a function, the formatter.
# What stands between the two clang-format comments is a table of any width,
# and an initialiser that ends with }; may be of any length.
cd "$(dirname "$0")/../.." || exit 1
files=$(git ls-files -co --exclude-standard '*.c' '*.h')
status=0
# shellcheck disable=SC2086
LC_ALL=C.UTF-8 awk '
function flag(line, rule) {
    printf "%s:%d: sizes: %s\n", FILENAME, line, rule
    bad = 1
}
FNR == 1 { table = 0 }
/clang-format off/ { table = 1 }
/clang-format on/ { table = 0 }
!table && length($0) > 80 { flag(FNR, "more than 80 columns") }
/[ \t]$/ { flag(FNR, "blank at the end of the line") }
FNR == 501 { flag(FNR, "more than 500 lines in a file") }
/^{/ { start = FNR }
/^}/ {
    if ($0 == "}" && FNR - start - 1 > 60)
        flag(start, "more than 60 lines in a function")
}
END { exit bad }' $files || status=1
if command -v clang-format-14 >/dev/null; then
    # shellcheck disable=SC2086
    clang-format-14 --dry-run $files 2>&1 |
        grep -E ': (warning|error): ' | sort -u -t: -k1,1 |
        sed 's/:[0-9]*: .*/: sizes: not as `make format` leaves it/' | grep . &&
        status=1
fi
exit $status

#!/bin/sh
# embed.sh - the scripts of redis/ as the rows of one C table, on stdout: digest
# and text, each row named by enum lua of lib/coord/rds_script.h
#
# The line "-- include x.inc.lua" stands for the lines of that file.
cd "$(dirname "$0")/redis" || exit 1
n=0
text() {
    awk '/^-- include [a-z_]*[.]inc[.]lua$/ {
        while ((got = (getline line < $3)) > 0)
            print line
        if (got < 0) {
            printf "%s:%d: no %s\n", FILENAME, FNR, $3 > "/dev/stderr"
            exit 1
        }
        close($3)
        next
    }
    { print }' "$1"
}
echo "/* made by sql-free-schemas/embed.sh */"
echo "static const struct lua_row lua_rows[] = {"
for file in *.lua; do
    case $file in *.inc.lua) continue ;; esac
    case $(head -n 1 "$file") in
    "#!lua" | "#!lua flags=allow-oom" | "#!lua flags=no-writes") ;;
    *) echo "$file:1: the first line is #!lua and flags" >&2; exit 1 ;;
    esac
    name=$(echo "${file%.lua}" | tr a-z A-Z)
    text "$file" >/dev/null || exit 1
    digest=$(text "$file" | sha1sum) || exit 1
    echo "    [LUA_$name] = {STR_INIT(\"${digest%% *}\"), STR_INIT("
    text "$file" | sed 's/[\\"]/\\&/g; s/.*/        "&\\n"/'
    echo "    )},"
    n=$((n + 1))
done
echo "};"
echo "_Static_assert($n == LUA_N, \"a script without an enum value, or none\");"

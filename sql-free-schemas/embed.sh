#!/bin/sh
# embed.sh - the scripts of redis/ as the rows of one C table, on stdout: digest
# and text, each row named by enum lua of lib/coord/rds_script.h
cd "$(dirname "$0")/redis" || exit 1
n=0
echo "/* made by sql-free-schemas/embed.sh */"
echo "static const struct lua_row lua_rows[] = {"
for file in *.lua; do
    case $(head -n 1 "$file") in
    "#!lua" | "#!lua flags=allow-oom" | "#!lua flags=no-writes") ;;
    *) echo "$file:1: the first line is #!lua and flags" >&2; exit 1 ;;
    esac
    name=$(echo "${file%.lua}" | tr a-z A-Z)
    digest=$(sha1sum "$file") || exit 1
    echo "    [LUA_$name] = {STR_INIT(\"${digest%% *}\"), STR_INIT("
    sed 's/[\\"]/\\&/g; s/.*/        "&\\n"/' "$file"
    echo "    )},"
    n=$((n + 1))
done
echo "};"
echo "_Static_assert($n == LUA_N, \"a script without an enum value, or none\");"

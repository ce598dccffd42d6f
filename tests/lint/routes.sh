#!/bin/sh
# routes.sh - every row of the route table is asked for by a test: a .case has
# a line "> METHOD /path", a system test names the template or such a path
cd "$(dirname "$0")/../.." || exit 1
table=fcgi-app/routes.c
[ -f $table ] || { echo "$table:1: routes: there is no route table"; exit 1; }
tests=$(git ls-files -co --exclude-standard 'tests/cases/*.case' 'tests/system/*.py')
[ -n "$tests" ] || { echo "$table:1: routes: there are no tests"; exit 1; }
status=0
sed -n 's/.*{HTTP_\([A-Z]*\), *"\([^"]*\)".*/\1 \2/p' $table >"${rows:=$(mktemp)}"
while read -r method path; do
    # a parameter is anything up to the next slash
    like=$(echo "$path" | sed 's/[.]/[.]/g; s/:[A-Za-z_]*/[^\/?" ]+/g')
    # what has a row of its own is no collection of that name
    case $path in /api/:*) not='/api/(db|management)[/? "]' ;; *) not='^$' ;; esac
    # shellcheck disable=SC2086
    grep -hE "^> $method $like([? ]|\$)|[\"']$method[\"'],? f?[\"']?$like[\"'?]" $tests |
        grep -qvE "$not" ||
        {
            n=$(grep -nE "HTTP_$method, *\"$path\"" $table | cut -d: -f1)
            echo "$table:$n: routes: no test asks for $method $path"
            status=1
        }
done <"$rows"
rm -f "$rows"
exit $status

#!/bin/sh
# settings - conf/app.conf names exactly the settings of the table, in any order
cd "$(dirname "$0")/../.." || exit 2
table=lib/base/conf_keys.c
file=conf/app.conf
rows=$(sed -nE 's/^    (TXT|NUM|ENUM|BOOL)\(([A-Z0-9_]+),.*/\2/p' $table | sort)
lines=$(sed -nE 's/^#([A-Z0-9_]+)=.*/\1/p' $file | sort)
bad=0

say() { # file, name, rule
    line=$(grep -nE "[(#]$2[,=]" "$1" | head -n 1 | cut -d: -f1)
    echo "$1:${line:-1}: settings: $2 $3"
    bad=1
}

[ -n "$rows" ] || { echo "$table:1: settings: no row found"; exit 1; }
for name in $rows; do
    echo "$lines" | grep -qx "$name" || say $table "$name" "is not in $file"
done
for name in $lines; do
    echo "$rows" | grep -qx "$name" || say $file "$name" "is not in $table"
done
for name in $(echo "$rows" | uniq -d); do
    say $table "$name" "stands twice"
done
for name in $(echo "$lines" | uniq -d); do
    say $file "$name" "stands twice"
done
live=$(grep -nEv '^(#.*)?$' $file | head -n 1 | cut -d: -f1)
[ -z "$live" ] || { echo "$file:$live: settings: not commented out"; bad=1; }
exit $bad

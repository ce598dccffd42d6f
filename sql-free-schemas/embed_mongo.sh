#!/bin/sh
# embed_mongo.sh - the files of mongo/ as the rows of one C table, on stdout:
# the collection and what lib/data/schema.c applies to it
cd "$(dirname "$0")/mongo" || exit 1
echo "/* made by sql-free-schemas/embed_mongo.sh */"
echo "static const struct schema_row schema_rows[] = {"
for file in *.json; do
    echo "    {\"${file%.json}\", STR_INIT("
    sed 's/[\\"]/\\&/g; s/.*/        "&\\n"/' "$file"
    echo "    )},"
done
echo "};"

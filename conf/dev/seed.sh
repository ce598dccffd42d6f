#!/usr/bin/env bash
# seed.sh BASE [KEY] - sample users, products and orders, made through the API;
# a collection that exists already is left alone. KEY: where access is on.
set -euo pipefail
base=$1 key=${2:-}

ask() {
    curl -fsS -o /dev/null ${key:+-H "Authorization: Bearer $key"} "$@"
}

seed() {
    local collection=$1 doc
    ask "$base/api/db/$collection?limit=1" 2>/dev/null &&
        return 0
    while read -r doc; do
        ask -H 'Content-Type: application/json' --data-binary "$doc" \
            "$base/api/db/$collection"
    done
}

seed users <<'END'
{"_id":"ann","name":"Ann Lee","age":41,"email":"ann@example.com","active":true,"skills":["c","sql"],"address":{"city":"Seattle","zip":"98101"}}
{"_id":"bob","name":"Bob Stone","age":30,"email":"bob@example.com","active":true,"skills":["js"],"address":{"city":"Portland","zip":"97201"}}
{"_id":"cleo","name":"Cleo Park","age":17,"email":"cleo@example.com","active":false,"skills":[],"address":{"city":"Seattle","zip":"98109"}}
{"_id":"dan","name":"Dan Brown","age":66,"email":"dan@example.com","active":true,"skills":["go","dev"],"address":{"city":"Boise","zip":"83702"}}
END
seed products <<'END'
{"_id":"p1","name":"Desk lamp","price":39.5,"stock":12,"tags":["light","office"]}
{"_id":"p2","name":"Notebook","price":4.25,"stock":200,"tags":["paper"]}
{"_id":"p3","name":"Chair","price":149,"stock":5,"tags":["office"]}
{"_id":"p4","name":"Pen, blue","price":1.2,"stock":1000,"tags":["office","paper"]}
END
seed orders <<'END'
{"_id":"o1","user":"ann","items":[{"product":"p1","n":1},{"product":"p2","n":3}],"total":52.25,"status":"open"}
{"_id":"o2","user":"bob","items":[{"product":"p3","n":2}],"total":298,"status":"shipped"}
{"_id":"o3","user":"dan","items":[{"product":"p4","n":10}],"total":12,"status":"open"}
END

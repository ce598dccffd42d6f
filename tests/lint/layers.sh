#!/bin/sh
# layers.sh - which folder may include what; foreign headers at their doors
cd "$(dirname "$0")/../.." || exit 1
git ls-files -co --exclude-standard '*.c' '*.h' | xargs awk '
function flag(rule) {
    printf "%s:%d: layers: %s: %s\n", FILENAME, FNR, rule, header
    bad = 1
}
function door(pattern, files, name) {
    if (header ~ pattern && FILENAME !~ files)
        flag(name " only in its door")
}
FNR == 1 {
    folder = FILENAME
    sub(/\/[^\/]*$/, "", folder)
}
/^[ \t]*#[ \t]*include[ \t]*[<"]/ {
    header = $0
    sub(/^[^<"]*[<"]/, "", header)
    sub(/[>"].*/, "", header)
    ours = $0 ~ /"/
    if (folder ~ /^tests/)
        next # tests meet everything
    if (ours && header !~ /\//)
        flag("ours by the path from the root")
    if (header ~ /^tests\//)
        flag("nothing includes tests")
    if (ours && folder == "lib/base" && header !~ /^lib\/base\//)
        flag("base includes base only")
    if (ours && folder ~ /^lib\/(data|run)/ && header ~ /^lib\// &&
        header !~ /^lib\/base\// && index(header, folder "/") != 1)
        flag("data and run include base and themselves only")
    if (folder == "lib/coord" && header ~ /^lib\/run\//)
        flag("coord never includes run")
    if (header ~ /^(fcgi-app|workers|cli)\// && index(header, folder "/") != 1)
        flag("programs are included by nobody else")
    door("^(mongoc|bson|json-c)/|^(mongoc|bson|csv|zip|expat)[.]h$",
         "^lib/data/[^/]*[.][ch]$", "data library")
    door("^pcre2[.]h$", "^lib/data/regex[.]c$", "PCRE2")
    door("^hiredis/", "^lib/coord/[^/]*[.]c$", "hiredis")
    door("^(curl/|duktape|seccomp)", "^lib/run/.*[.]c$", "run library")
    door("^fcgi(app|_stdio|_config|misc|os)[.]h$",
         "^fcgi-app/(serve|request|reply)[.]c$", "libfcgi")
    door("^jwt", "^fcgi-app/[^/]*[.]c$", "libjwt")
    door("^openssl/", "^lib/base/hash[.]c$", "libcrypto")
}
END { exit bad }' || exit 1

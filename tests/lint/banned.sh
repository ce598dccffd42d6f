#!/bin/sh
# banned.sh - calls and headers that are not used, or only in named places
cd "$(dirname "$0")/../.." || exit 1
git ls-files -co --exclude-standard '*.c' '*.h' | xargs awk '
function flag(rule) {
    printf "%s:%d: banned: %s\n", FILENAME, FNR, rule
    bad = 1
}
# Calls among the |-separated names; an own function of that name is none.
function calls(names) {
    return code ~ ("(^|[^A-Za-z0-9_.>])(" names ")[ \t]*\\(")
}
FNR == 1 { comment = 0; test = FILENAME ~ /^tests\// }
{
    code = $0
    gsub(/\\./, "", code)
    gsub(/"[^"]*"/, "\"\"", code)
    gsub(/\/\*.*\*\//, "", code)
    if (comment && !sub(/^.*\*\//, "", code))
        next
    comment = sub(/\/\*.*$/, "", code)
    if (code ~ /^[A-Za-z].*\(/) # the function whose lines follow
        fn = code
}
calls("strcpy|strcat|sprintf|vsprintf|strtok|strtok_r|atoi|atol|atof|strtol|gets|system|popen|strerror|localtime|gmtime|rand|srand|sleep|usleep") { flag("this call") }
calls("redisReconnect|bson_new_from_json|FCGX_Accept|regcomp|alloca|strdup|strndup|asprintf") { flag("this call") }
test { next }
calls("exit|mongoc_cleanup") && FILENAME !~ /\/main[.]c$/ { flag("only in main.c") }
calls("setenv|putenv|umask|chdir|setlocale") &&
    FILENAME !~ /\/main[.]c$|^fcgi-app\/(serve|listen)[.]c$/ { flag("only at start: main.c, serve.c, listen.c") }
calls("malloc|calloc|realloc|reallocarray|aligned_alloc|posix_memalign") &&
    FILENAME !~ /^lib\/base\/(arena|buf|snap)[.]c$/ &&
    fn !~ /_new\(/ { flag("memory comes from an arena, a buf or a *_new function") }
code ~ /#[ \t]*include[ \t]*<pthread.h>/ &&
    FILENAME !~ /\/(serve|watch|refresh|hints|snap|combine|subs)[.][ch]$/ { flag("pthread.h only in serve, watch, refresh, hints, snap, combine, subs") }
code ~ /#[ \t]*include[ \t]*<stdatomic.h>/ &&
    FILENAME !~ /\/(metrics|snap|table|serve|watch|refresh|limit|permits|mongo|mongo_sessions|proc|clock|subs|board)[.]c$/ { flag("stdatomic.h only in the files named for it") }
code ~ /(^|[ \t])\/\// { flag("comments are /* */") }
END { exit bad }' || exit 1

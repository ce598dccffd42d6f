#!/usr/bin/env bash
# run.sh - MongoDB, Redis, the API, its workers and a web server for a
# developer's machine.
# Ctrl-C stops all that it started; the data stays in build/run.
#
#   PORT=8080  WEB=nginx|lighttpd  MONGODB_URI=... (then nothing is seeded)
set -euo pipefail
cd "$(dirname "$0")/../.."

port=${PORT:-8080} web=${WEB:-nginx} own_db=${MONGODB_URI:-}
case $web in nginx | lighttpd) ;; *)
    echo "run: WEB=$web: expected nginx or lighttpd" >&2
    exit 2
    ;;
esac
run=$PWD/build/run
mkdir -p "$run"/{mongo,redis,web}

taken() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}
if taken "$port"; then
    echo "run: port $port is taken; stop what listens there or use" \
        "PORT=<another> make run" >&2
    exit 1
fi
free_port() {
    build/venv/bin/python -c 'import socket
s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# unix socket paths have at most 107 bytes
sockets=$run
temp=
if [ ${#run} -gt 80 ]; then
    temp=$(mktemp -d)
    sockets=$temp
fi

pids=()
stop() {
    trap '' INT TERM
    for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
        kill -TERM "${pids[i]}" 2>/dev/null || true
        wait "${pids[i]}" 2>/dev/null || true
    done
    [ -z "$temp" ] || rm -rf "$temp"
}
trap stop EXIT
trap 'echo; exit 0' INT TERM

# start LOG COMMAND...: in a session of its own, so that Ctrl-C reaches only us
start() {
    local log=$1
    shift
    setsid "$@" >"$log" 2>&1 </dev/null &
    pids+=($!)
}

# until_true SECONDS LOG COMMAND...
until_true() {
    local end=$((SECONDS + $1)) log=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        if [ $SECONDS -ge $end ] || ! kill -0 "${pids[-1]}" 2>/dev/null; then
            echo "run: $(basename "$log" .log) does not start; its last words:" >&2
            tail -n 5 "$log" >&2
            exit 1
        fi
        sleep 0.05
    done
}

if [ -z "$own_db" ]; then
    db_port=$(free_port)
    start "$run/mongod.log" "$(conf/dev/mongod.sh)" --dbpath "$run/mongo" \
        --port "$db_port" --bind_ip 127.0.0.1 --noscripting --replSet rs0 \
        --unixSocketPrefix "$sockets"
    until_true 60 "$run/mongod.log" taken "$db_port"
    build/venv/bin/python conf/dev/replica_set.py "$db_port"
    export MONGODB_URI="mongodb://127.0.0.1:$db_port/?replicaSet=rs0"
fi
if [ -z "${REDIS_URL:-}" ]; then
    start "$run/redis.log" redis-server --port 0 --dir "$run/redis" \
        --unixsocket "$sockets/redis.sock" --maxmemory-policy noeviction \
        --save '' --appendonly no
    until_true 10 "$run/redis.log" test -S "$sockets/redis.sock"
    export REDIS_URL="unix:$sockets/redis.sock"
fi

export FCGI_LISTEN="unix:$sockets/app.sock" PORT=$port
export WEBHOOK_ALLOW_CIDRS=${WEBHOOK_ALLOW_CIDRS:-127.0.0.0/8,::1/128}
export FCGI_SOCKET_MODE=${FCGI_SOCKET_MODE:-0660} DRAIN_DELAY_MS=0
# one instance is what there is
export CLUSTER_SCALING_MIN_INSTANCES=${CLUSTER_SCALING_MIN_INSTANCES:-1}
# for sqlfree in another shell: --env-file build/run/run.env
(
    umask 077
    printf '%s\n' "MONGODB_URI=$MONGODB_URI" "REDIS_URL=$REDIS_URL" \
        "FCGI_LISTEN=$FCGI_LISTEN" \
        ${MONGODB_DATABASE_NAME:+"MONGODB_DATABASE_NAME=$MONGODB_DATABASE_NAME"} \
        >"$run/run.env"
)
start "$run/fcgi-app.log" build/fcgi-app
until_true 10 "$run/fcgi-app.log" test -S "$sockets/app.sock"

if [ "$web" = nginx ]; then
    sed -e "s|listen 8080;|listen $port;|" \
        -e "s|server unix:[^;]*;|server unix:$sockets/app.sock;|" \
        conf/nginx.conf >"$run/web/nginx.conf"
    user=()
    [ "$(id -u)" -ne 0 ] || user=(-g "user root; daemon off;")
    [ "$(id -u)" -eq 0 ] || user=(-g "daemon off;")
    start "$run/nginx.log" "$(PATH=$PATH:/usr/sbin command -v nginx)" \
        -p "$run/web" -c "$run/web/nginx.conf" "${user[@]}"
else
    sed -e "s|^server.port = .*|server.port = $port|" \
        -e "s|\"socket\" => \"[^\"]*\"|\"socket\" => \"$sockets/app.sock\"|" \
        -e "s|^server.document-root = .*|server.document-root = \"$run/web\"|" \
        conf/lighttpd.conf >"$run/web/lighttpd.conf"
    start "$run/lighttpd.log" \
        "$(PATH=$PATH:/usr/sbin command -v lighttpd)" \
        -D -f "$run/web/lighttpd.conf"
fi
base=http://localhost:$port
until_true 20 "${run}/$web.log" curl -fsS "$base/health/ready"
# where the printed lines have deliveries sent to
hook=9000
while taken "$hook"; do
    hook=$((hook + 1))
done
# last, so that it ends first: it gives up what it leads while all is there
start "$run/workers.log" build/workers
key=
if build/fcgi-app --print-config 2>/dev/null | grep -q '^AUTH_ENABLED=true ' &&
    [ -z "$own_db" ]; then
    key=$(build/sqlfree keys create --name "make run" --role admin \
        --expires 24h 2>"$run/sqlfree.log")
fi
[ -n "$own_db" ] || conf/dev/seed.sh "$base" "$key"

# the cluster opens a moment later; without it all else works
mode() { curl -fsS "$base/health" | grep -o '"mode":"[a-z]*"' | cut -d'"' -f4; }
for ((i = 0; i < 100; i++)); do
    [ "$(mode)" = degraded ] || break
    sleep 0.1
done

cat <<EOF

sql-free answers on $base behind $web.

  curl '$base/api/db/users?age=>18'
  curl '$base/api/db/products?price=10..50&sort=-price'
  curl '$base/api/db/orders?status=open&format=csv'
  curl -d '{"name":"Ann","age":41}' $base/api/db/users
  curl $base/api/management/collections
  curl $base/health
  curl $base/api/cluster/status
  curl -d '{"key":"report","ttlMs":10000}' $base/api/cluster/locks

A webhook: in another shell  build/sqlfree --env-file build/run/run.env listen $hook
  curl -d '{"name":"first","url":"http://127.0.0.1:$hook/","collection":"orders","events":["create"]}' $base/api/webhooks
  curl -d '{"status":"open","total":5}' $base/api/db/orders

${key:+Access is on: add to each  -H 'Authorization: Bearer $key'
}API keys: build/sqlfree --env-file build/run/run.env keys create|list|revoke
Cluster: build/sqlfree --env-file build/run/run.env leader|resign|locks list
Logs and data: build/run. Ctrl-C stops everything.
EOF
[ "$(mode)" != degraded ] ||
    echo "Redis cannot be used, build/run/workers.log says why: no locks," \
        "and deliveries go through MongoDB alone." >&2
# ends when one of ours ends, which is then told
wait -n "${pids[@]}" || true
echo "run: one of the servers ended; see the logs in build/run" >&2
exit 1

# A server and its clients for $1 seconds: prints how each of Redis's time-outs ends, and whether it did
# at its time.
cd "$2" || exit 1
redis-server --port 0 --unixsocket "$2/socket" --save "" >log 2>&1 &
# Its keyspace is there once it answers.
until redis-cli -s socket ping >/dev/null 2>&1; do :; done
redis() { redis-cli -s socket "$@"; }
start=$(date +%s)
redis set key value ex "$1" >/dev/null
redis set other value ex $(($1 * 1000)) >/dev/null
redis blpop none "$1" >/dev/null
passed=$(($(date +%s) - start))
if [ $passed -ge "$1" ] && [ $passed -lt $(($1 * 10)) ]; then echo BLPOP; else echo "BLPOP $passed"; fi
# The key may have been set a moment later.
until [ "$(redis exists key)" = 0 ]; do sleep 1; done
echo "EXPIRE $(redis exists other)"
redis shutdown nosave
wait

# A server with its data in ./data, and clients for $1 milliseconds: prints how many seconds each time-out has
# lasted by the server's clock, and an empty line before the errors. $2 has the programs.
"$2/postgres" -D data -k "$PWD/data" -c listen_addresses= -c fsync=off -c deadlock_timeout="$1" 2>log &
server=$!
trap 'kill -QUIT $server 2>/dev/null' EXIT
sql() { "$2/psql" -h "$PWD/data" -U test -d postgres -X -q -A -t -F ' ' -v ms="$1" "${@:3}"; }
until sql "$@" -c 'select 1' >/dev/null 2>&1; do kill -0 $server || exit; done
# Where the clock of a shell in the same tree is.
sql "$@" -v "from=$EPOCHREALTIME" <<'END'
create table if not exists held (a int);
select 'clock' where not clock_timestamp() between to_timestamp(:from) and to_timestamp(:from) + interval '1 hour';
END
rm -f hold idle
mkfifo hold idle
# A client that holds a lock, and one that leaves its transaction idle, until the descriptors are closed.
sql "$@" <hold >holding 2>&1 &
sql "$@" <idle >idling 2>&1 &
exec 3>hold 4>idle
echo "begin; lock table held; select 'holds';" >&3
until grep -q holds holding; do sleep 0.01; done
sql "$@" 2>errors <<'END'
\set now 'extract(epoch from clock_timestamp())'
select :now as start \gset
select pg_sleep(:ms / 1000.0) \g /dev/null
select 'pg_sleep', :now - :start;
set statement_timeout = :ms;
select :now as start \gset
select pg_sleep(1000000);
select 'statement_timeout', :now - :start;
set statement_timeout = 0;
set lock_timeout = :ms;
select :now as start \gset
select from held;
select 'lock_timeout', :now - :start;
END
echo "set idle_in_transaction_session_timeout = :ms; begin;
select pg_backend_pid(), extract(epoch from clock_timestamp());" >&4
until read -r process start <idling; do sleep 0.01; done
sql "$@" -v process="$process" -v start="$start" <<'END'
create procedure ends(process int) language plpgsql as $$ begin
while exists (select from pg_stat_activity where pid = process) loop
  perform pg_sleep(0.01);
  perform pg_stat_clear_snapshot();
end loop;
end $$;
call ends(:process);
drop procedure ends;
select 'idle_in_transaction_session_timeout', extract(epoch from clock_timestamp()) - :start;
END
echo
echo "select 1;" >&4
exec 3>&- 4>&-
wait %2 %3
grep -h -e ERROR: -e FATAL: errors idling
kill -INT $server
wait $server

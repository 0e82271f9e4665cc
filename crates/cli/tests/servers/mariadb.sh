# With `install`: makes ./data. Otherwise a server of that, and clients for $1 seconds: prints how many seconds each
# time-out has lasted by the server's clock, and an empty line before the errors. Time-outs that are whole numbers
# of seconds are rounded up. $TREE has the programs.
share=$TREE/usr/share/mysql
server() {
    "$TREE/usr/sbin/mariadbd" --no-defaults --user="$(id -un)" --datadir="$PWD/data" \
        --lc-messages-dir="$share/english" --character-sets-dir="$share/charsets" \
        --innodb-log-file-size=4M --innodb-buffer-pool-size=8M "$@" 2>>log
}
if [ "$1" = install ]; then
    mkdir data
    { printf 'create database mysql;\nuse mysql;\n'
      cat "$share/mysql_system_tables.sql" "$share/mysql_system_tables_data.sql"; } | server --bootstrap
    exit
fi
seconds=$1
whole=${seconds%.*}
[ "$whole" = "$seconds" ] || whole=$((whole + 1))
server --skip-networking --socket="$PWD/socket" --event-scheduler=ON &
trap 'kill $(jobs -p) 2>/dev/null' EXIT
sql() { "$TREE/usr/bin/mariadb" --no-defaults --socket=socket --user="$(id -un)" -N --force --unbuffered; }
until echo 'select 1;' | sql >/dev/null 2>&1; do kill -0 %1 || exit; done
# Where the clock of a shell in the same tree is.
{ echo "create or replace database d; create table d.held (a int primary key); insert into d.held values (1);
create table d.times (at datetime(6));
select 'clock' where not unix_timestamp(sysdate(6)) between $EPOCHREALTIME and $EPOCHREALTIME + 3600;"; } | sql
# A client that holds locks until its descriptor is closed.
rm -f hold
mkfifo hold
sql <hold >holding 2>&1 &
exec 3>hold
echo "select get_lock('lock', 0); begin; select * from d.held for update; select 'holds';" >&3
until grep -q holds holding; do sleep 0.01; done
{
    lasts() {
        echo "set @start = sysdate(6); $2; select '$1', timestampdiff(microsecond, @start, sysdate(6)) / 1e6;"
    }
    lasts sleep "do sleep($seconds)"
    lasts get_lock "do get_lock('lock', $seconds)"
    lasts max_statement_time "set statement max_statement_time=$seconds for select sleep(1000000)"
    lasts innodb_lock_wait_timeout \
        "set statement innodb_lock_wait_timeout=$whole for select * from d.held for update"
    lasts lock_wait_timeout "set statement lock_wait_timeout=$whole for alter table d.held add b int"
    echo "create event d.event on schedule every $whole second do insert into d.times values (sysdate(6));"
} | sql 2>errors | tr '\t' ' '
# An event is due at its start, and then at each interval.
until [ "$(echo 'select count(*) from d.times;' | sql)" -ge 2 ]; do sleep "$seconds"; done
echo "select 'event', timestampdiff(microsecond, starts, at) / 1e6 from information_schema.events,
(select * from d.times order by at limit 1, 1) second;" | sql | tr '\t' ' '
echo
grep -o '^ERROR [0-9]* ([0-9A-Z]*)' errors
exec 3>&-
echo "shutdown;" | sql
wait

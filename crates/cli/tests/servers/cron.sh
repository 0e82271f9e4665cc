# cron with a job each minute, in mounts of the test's own: prints when it was started and when each of the
# first $1 jobs began. $CRON is the program.
spool=/var/spool/cron/crontabs
mount -t tmpfs spool /var/spool
mkdir -p $spool
# Neither its lock nor its log is for the machine's own, and none of the machine's jobs is to run.
mount -t tmpfs run /run
[ ! -d /etc/cron.d ] || mount -t tmpfs none /etc/cron.d
[ ! -e /etc/crontab ] || mount --bind /dev/null /etc/crontab
mkfifo began
echo "* * * * * date +\%s >$PWD/began" >$spool/root
chmod 600 $spool/root
exec 3<>began
date +%s
"$CRON" -f -L 0 &
trap 'kill %1' EXIT
head -n "$1" <&3

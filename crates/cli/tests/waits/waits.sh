# Waits for some seconds in each of the shell's ways, in a directory that it may write to, and prints
# how long each lasted. The shell reads one clock only.
seconds=$1

check() {
	local name=$1 start=${EPOCHREALTIME/./} passed
	shift
	"$@"
	passed=$((${EPOCHREALTIME/./} - start))
	echo "$name ${passed}e-6 ${passed}e-6"
}

read_silence() {
	read -r -t "$seconds" <>silence
}

rm -f silence lock
mkfifo silence
check sleep sleep "$seconds"
check read read_silence
check timeout timeout "$seconds" cat silence
exec 3>lock
flock 3
check flock flock -w "$seconds" lock true

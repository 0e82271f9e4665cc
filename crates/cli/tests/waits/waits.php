<?php
// Waits for some seconds in each of PHP's ways, and prints how long each lasted by both clocks.
$seconds = (float) $argv[1];
$whole = (int) $seconds;
$rest = (int) round(($seconds - $whole) * 1e9);
[$silent, $unused] = stream_socket_pair(STREAM_PF_UNIX, STREAM_SOCK_STREAM, 0);

function check(string $name, callable $wait): void
{
    [$start, $wall] = [hrtime(true), microtime(true)];
    $wait();
    echo $name, ' ', (hrtime(true) - $start) / 1e9, ' ', microtime(true) - $wall, "\n";
}

check('usleep', fn() => usleep((int) ($seconds * 1e6)));
check('nanosleep', fn() => time_nanosleep($whole, $rest));
check('sleep_until', fn() => time_sleep_until(microtime(true) + $seconds));
check('select', function () use ($silent, $whole, $rest) {
    $read = [$silent];
    $none = null;
    stream_select($read, $none, $none, $whole, intdiv($rest, 1000));
});
check('read', function () use ($silent, $whole, $rest) {
    stream_set_timeout($silent, $whole, intdiv($rest, 1000));
    fread($silent, 1);
});
check('sigtimedwait', function () use ($whole, $rest) {
    pcntl_sigprocmask(SIG_BLOCK, [SIGUSR1]);
    $information = [];
    @pcntl_sigtimedwait([SIGUSR1], $information, $whole, $rest);
});

# Waits for some seconds in each of Perl's ways, and prints how long each lasted by both clocks.
use strict;
use warnings;
use Time::HiRes qw(CLOCK_MONOTONIC CLOCK_REALTIME TIMER_ABSTIME clock_gettime);

my $seconds = shift;
$| = 1;
pipe(my $silent, my $unused) or die "pipe: $!";

sub check {
    my ($name, $wait) = @_;
    my ($start, $wall) = (clock_gettime(CLOCK_MONOTONIC), clock_gettime(CLOCK_REALTIME));
    $wait->();
    my ($passed, $shown) = (clock_gettime(CLOCK_MONOTONIC) - $start, clock_gettime(CLOCK_REALTIME) - $wall);
    print "$name $passed $shown\n";
}

check("sleep", sub { Time::HiRes::sleep($seconds) });
check("select", sub { vec(my $read = '', fileno($silent), 1) = 1; select($read, undef, undef, $seconds) });
check("deadline", sub {
    my $end = clock_gettime(CLOCK_REALTIME) + $seconds;
    Time::HiRes::clock_nanosleep(CLOCK_REALTIME, $end * 1e9, TIMER_ABSTIME);
});
check("alarm", sub {
    local $SIG{ALRM} = sub { die "alarm\n" };
    eval { Time::HiRes::alarm($seconds); sysread($silent, my $byte, 1) };
    die $@ if $@ ne "alarm\n";
});

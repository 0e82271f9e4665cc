# Nanoseconds of one read.
require "gauge"

gauge = Gauge.new(ARGV[0])
count = ARGV[1].to_i
start = Process.clock_gettime(Process::CLOCK_MONOTONIC, :nanosecond)
count.times { gauge.level }
puts((Process.clock_gettime(Process::CLOCK_MONOTONIC, :nanosecond) - start).to_f / count)

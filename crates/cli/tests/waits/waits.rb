# Waits for some seconds in each of Ruby's ways, and prints how long each lasted by both clocks.
require "timeout"

$stdout.sync = true
seconds = ARGV[0].to_f
silent, unused = IO.pipe

def now
  [Process::CLOCK_MONOTONIC, Process::CLOCK_REALTIME].map { |clock| Process.clock_gettime(clock) }
end

def check(name)
  start, wall = now
  yield
  passed, shown = now
  puts "#{name} #{passed - start} #{shown - wall}"
end

check("sleep") { sleep(seconds) }
check("select") { IO.select([silent], nil, nil, seconds) }
check("condition") do
  mutex = Mutex.new
  mutex.synchronize { ConditionVariable.new.wait(mutex, seconds) }
end
check("join") { Thread.new { silent.read }.join(seconds) }
check("timeout") do
  Timeout.timeout(seconds) { silent.read }
rescue Timeout::Error
end

# For each line of input, the weather; "reload" opens the file again first.
require "weather"

weather = Weather.new(ARGV[0])
$stdout.sync = true
$stdin.each_line do |line|
  weather.reload if line.strip == "reload"
  wind = weather.wind
  puts [weather.condition, weather.temperature, weather.open ? 1 : 0, weather.station,
        weather.gusts[2], wind.speed, wind.from, weather.visitors].join(" ")
end

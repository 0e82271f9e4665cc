// Prints the temperature now for each line that it reads.
//
//   npm install koffi && node reader.js ./libweather.so.1
const koffi = require("koffi");
const weather = koffi.load(process.argv[2]);
const temperature = weather.func("double weather_temperature()");
require("readline")
  .createInterface({ input: process.stdin })
  .on("line", () => console.log(String(temperature())));

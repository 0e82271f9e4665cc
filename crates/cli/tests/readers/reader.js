// For each line, the temperature now.
const koffi = require("koffi");
const weather = koffi.load(process.argv[2]);
const temperature = weather.func("double weather_temperature()");
require("readline")
  .createInterface({ input: process.stdin })
  .on("line", () => console.log(String(temperature())));

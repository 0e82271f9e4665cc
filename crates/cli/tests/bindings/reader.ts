// For each line of input, the weather; "reload" opens the file again first.
import { createInterface } from "node:readline";
import { Condition, Weather, Wind } from "./weather";

const weather = new Weather(process.argv[2]);
createInterface({ input: process.stdin }).on("line", (line: string) => {
  if (line === "reload") weather.reload();
  const wind: Wind = weather.wind();
  const condition: Condition = weather.condition();
  const visitors: bigint = weather.visitors();
  console.log(
    [condition, weather.temperature(), weather.open() ? 1 : 0, weather.station()].join(" "),
    [weather.gusts()[2], wind.speed, wind.from, visitors].join(" "),
  );
});

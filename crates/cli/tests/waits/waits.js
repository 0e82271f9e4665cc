// Waits for some seconds in each of node's ways, and prints how long each lasted by both clocks.
const { setTimeout: sleep } = require("timers/promises");

const milliseconds = process.argv[2] * 1000;

async function check(name, wait) {
  const start = performance.now(), wall = Date.now();
  await wait();
  const passed = performance.now() - start, shown = Date.now() - wall;
  console.log(name, passed / 1000, shown / 1000);
}

(async () => {
  await check("setTimeout", () => sleep(milliseconds));
  await check("setInterval", () => new Promise((resolve) => {
    let left = 4;
    const timer = setInterval(() => --left || (clearInterval(timer), resolve()), milliseconds / 4);
  }));
  await check("Atomics.wait", () => {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
  });
  await check("AbortSignal.timeout", () => new Promise((resolve) => {
    const held = setTimeout(() => {}, 2 * milliseconds);
    AbortSignal.timeout(milliseconds).onabort = () => (clearTimeout(held), resolve());
  }));
})();

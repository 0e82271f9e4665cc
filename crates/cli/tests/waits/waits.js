// Waits for an hour in every way, and says how each ended.
const { setTimeout: sleep } = require("timers/promises");

async function check(name, wait) {
  const start = performance.now(), wall = Date.now();
  await wait();
  const passed = (performance.now() - start) / 1000, shown = (Date.now() - wall) / 1000;
  const isRight = passed >= 3599.9 && passed < 3700 && Math.abs(shown - passed) < 1;
  console.log(isRight ? name : `${name} ${passed} ${shown}`);
}

(async () => {
  await check("setTimeout", () => sleep(3600_000));
  await check("setInterval", () => new Promise((resolve) => {
    let left = 60;
    const timer = setInterval(() => --left || (clearInterval(timer), resolve()), 60_000);
  }));
  await check("Atomics.wait", () => {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3600_000);
  });
  await check("AbortSignal.timeout", () => new Promise((resolve) => {
    const held = setTimeout(() => {}, 4000_000);
    AbortSignal.timeout(3600_000).onabort = () => (clearTimeout(held), resolve());
  }));
})();

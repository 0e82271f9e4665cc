// Nanoseconds of one read.
const { Gauge } = require("./gauge");

const gauge = new Gauge(process.argv[2]);
const count = Number(process.argv[3]);
let sum = 0;
const start = process.hrtime.bigint();
for (let i = 0; i < count; i++) sum += gauge.level();
const took = Number(process.hrtime.bigint() - start);
console.log(took / count + 0 * sum);

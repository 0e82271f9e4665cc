// Publishes the weather: publish.js DECLARATION FILE. Checks what must be refused on the way.
'use strict';

const assert = require('node:assert');
const fs = require('node:fs');
const { errno } = require('node:os').constants;
const { bounds, Publisher } = require(process.env.VDSOKIT_PACKAGE);

const refused = (number, action) => assert.throws(action, { name: 'VdsokitError', errno: number });

const [declaration, path] = process.argv.slice(2);
refused(errno.ENOENT, () => Publisher.open('/nonexistent/libweather.so.1'));
const [earliest, latest] = bounds(1);
assert(0n < earliest && earliest <= latest);
refused(errno.EINVAL, () => bounds(77));
const weather = Publisher.create(declaration, path);
refused(errno.EBUSY, () => Publisher.create(declaration, path));
weather.scalar('temperature').set(21.5);
weather.scalar('visitors').set(2n ** 64n - 1n);
const small = weather.scalar('small');
small.set(-128);
refused(errno.ERANGE, () => small.set(128));
refused(errno.EINVAL, () => small.set(1.5));
weather.scalar('open').set(true);
weather.set('region', 'north "and" west');
weather.assign({ 'wind.speed': 3, 'wind.from': 'north west' });
refused(errno.EINVAL, () => weather.assign({ temperature: 30, 'wind.speed': 'fast' }));
assert.strictEqual(weather.get('region'), 'north "and" west');
assert.strictEqual(weather.get('temperature'), '21.5');
weather.staleAfter(60000);
weather.beat();
console.log('published');
fs.readSync(0, Buffer.alloc(1));
weather.close();

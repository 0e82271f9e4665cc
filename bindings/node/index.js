// Publish a vDSO from JavaScript, over the C library libvdsokit. index.d.ts documents the interface.
'use strict';

const koffi = require('koffi');

const path = process.env.VDSOKIT_LIBRARY ?? 'libvdsokit.so.0';
const library = (() => {
  try {
    return koffi.load(path);
  } catch (error) {
    throw new Error(
      `${path} cannot be loaded (${error.message}): install libvdsokit, or name its file in VDSOKIT_LIBRARY`,
    );
  }
})();

const native = {
  bounds: library.func('int vdsokit_bounds(int clock, _Out_ uint64_t *earliest, _Out_ uint64_t *latest)'),
  create: library.func('void *vdsokit_create(str declaration, str path)'),
  open: library.func('void *vdsokit_open(str path)'),
  set: library.func('int vdsokit_set(void *publisher, str name, str value)'),
  assign: library.func('int vdsokit_assign(void *publisher, str line)'),
  get: library.func('int64_t vdsokit_get(void *publisher, str name, void *buffer, size_t size)'),
  variable: library.func('void *vdsokit_var(void *publisher, str name)'),
  setF64: library.func('int vdsokit_var_set_f64(void *variable, double value)'),
  setI64: library.func('int vdsokit_var_set_i64(void *variable, int64_t value)'),
  setU64: library.func('int vdsokit_var_set_u64(void *variable, uint64_t value)'),
  setBool: library.func('int vdsokit_var_set_bool(void *variable, bool value)'),
  free: library.func('void vdsokit_var_free(void *variable)'),
  beat: library.func('int vdsokit_beat(void *publisher)'),
  staleAfter: library.func('int vdsokit_stale_after(void *publisher, uint64_t nanoseconds)'),
  retire: library.func('int vdsokit_retire(void *publisher)'),
  close: library.func('void vdsokit_close(void *publisher)'),
  error: library.func('str vdsokit_error()'),
};

class VdsokitError extends Error {
  constructor() {
    super(native.error() ?? 'the library gave no reason');
    this.name = 'VdsokitError';
    this.errno = koffi.errno();
  }
}

function check(result) {
  if (result < 0) throw new VdsokitError();
  return result;
}

function present(handle) {
  if (handle === null) throw new VdsokitError();
  return handle;
}

function quoted(value) {
  if (typeof value !== 'string') return String(value);
  return `"${value.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
}

class Scalar {
  #handle;

  constructor(publisher, name) {
    this.#handle = present(native.variable(publisher, name));
  }

  set(value) {
    if (this.#handle === null) throw new TypeError('the handle is closed');
    if (typeof value === 'boolean') check(native.setBool(this.#handle, value));
    else if (typeof value === 'bigint' && value >= 1n << 63n) check(native.setU64(this.#handle, value));
    else if (typeof value === 'bigint') check(native.setI64(this.#handle, value));
    else this.#number(value);
  }

  // A JavaScript number may stand for an integer or for a double: the variable's type decides.
  #number(value) {
    if (native.setF64(this.#handle, value) === 0) return;
    if (!Number.isInteger(value)) throw new VdsokitError();
    check(native.setI64(this.#handle, value));
  }

  // Called by the publisher, which owns the handle.
  close() {
    if (this.#handle !== null) native.free(this.#handle);
    this.#handle = null;
  }
}

class Publisher {
  #handle;
  #scalars = new Map();

  constructor(handle) {
    this.#handle = present(handle);
  }

  static create(declaration, path = null) {
    return new Publisher(native.create(declaration, path));
  }

  static open(path) {
    return new Publisher(native.open(path));
  }

  get #open() {
    if (this.#handle === null) throw new TypeError('the publisher is closed');
    return this.#handle;
  }

  scalar(name) {
    if (!this.#scalars.has(name)) this.#scalars.set(name, new Scalar(this.#open, name));
    return this.#scalars.get(name);
  }

  set(name, value) {
    check(native.set(this.#open, name, String(value)));
  }

  assign(values) {
    const line = Object.entries(values).map(([name, value]) => `${name}=${quoted(value)}`);
    check(native.assign(this.#open, line.join(' ')));
  }

  get(name) {
    for (let size = 256; ; ) {
      const buffer = Buffer.alloc(size);
      const length = Number(check(native.get(this.#open, name, buffer, size)));
      if (length < size) return buffer.toString('utf8', 0, length);
      size = length + 1;
    }
  }

  beat() {
    check(native.beat(this.#open));
  }

  staleAfter(milliseconds) {
    check(native.staleAfter(this.#open, BigInt(Math.round(milliseconds * 1e6))));
  }

  retire() {
    check(native.retire(this.#open));
  }

  close() {
    for (const scalar of this.#scalars.values()) scalar.close();
    if (this.#handle !== null) native.close(this.#handle);
    this.#handle = null;
  }
}

function bounds(clock) {
  const earliest = [0];
  const latest = [0];
  check(native.bounds(clock, earliest, latest));
  return [BigInt(earliest[0]), BigInt(latest[0])];
}

module.exports = { bounds, Publisher, Scalar, VdsokitError };

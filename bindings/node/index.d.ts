/** What the library refused: `errno` and a sentence that says what to do. */
export class VdsokitError extends Error {
  readonly errno: number;
}

/** A scalar variable: {@link set} is one store. */
export class Scalar {
  private constructor();
  /**
   * Writes the value; readers see it at their next load. Numbers beyond 2^53 are given as bigint.
   * @throws VdsokitError `ERANGE` when the type does not hold the value, `EINVAL` when it is of
   * another kind than the variable. Nothing is written then.
   */
  set(value: boolean | number | bigint): void;
}

/** The one publisher of a vDSO. */
export class Publisher {
  private constructor();
  /**
   * Builds the declaration's image and publishes it at `path`. Without `path` the file lies beside
   * the declaration, or in the `RuntimeDirectory=` of a systemd service.
   * @throws VdsokitError `EBUSY` when another process publishes there, `EPERM` when nothing can be
   * published in that directory, `EINVAL` for a declaration with errors.
   */
  static create(declaration: string, path?: string | null): Publisher;
  /** Publishes the vDSO in the file `path`, with the values that are there. */
  static open(path: string): Publisher;
  /** The handle that writes a scalar with one store; it is closed with the publisher. */
  scalar(name: string): Scalar;
  /** Writes a variable, or a field `wind.speed` of a record. */
  set(name: string, value: boolean | number | bigint | string): void;
  /** Writes several variables, or none if one is refused; fields of a record are written together. */
  assign(values: Record<string, boolean | number | bigint | string>): void;
  /** The value now, as text. */
  get(name: string): string;
  /** Sends a heartbeat: all values are up to date now. */
  beat(): void;
  /** Promises a heartbeat at least this often; 0 promises nothing. */
  staleAfter(milliseconds: number): void;
  /** Tells readers that no value will change again; writes are refused from then on. */
  retire(): void;
  /** Retires the vDSO and frees the publisher; further calls do nothing. */
  close(): void;
}

/**
 * The earliest and the latest moment that the true time of a clock may be, in nanoseconds since its
 * zero. `clock` is a number of clock_gettime(2): 0 is `CLOCK_REALTIME`, 1 `CLOCK_MONOTONIC`. Of two
 * events, on two machines too, the first surely happened first if its latest moment is before the
 * earliest of the other.
 * @throws VdsokitError `ENODATA` for a wall clock that no NTP daemon keeps, `EINVAL` for a clock that
 * this machine does not have.
 */
export function bounds(clock: number): [earliest: bigint, latest: bigint];

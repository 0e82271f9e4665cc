/* Publishing a vDSO from C: https://github.com/vdsokit/vdsokit
 *
 * A function that fails returns -1 or NULL, sets errno, and keeps a sentence that vdsokit_error()
 * returns. Texts are UTF-8 and end with a NUL. A publisher may be used from several threads at once.
 * A child of fork(2) is not the publisher and must not call these functions with what it inherited.
 */

#ifndef VDSOKIT_H
#define VDSOKIT_H

/* Generated from crates/capi/src by its test `header`. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// The one publisher of a vDSO.
typedef struct vdsokit_publisher vdsokit_publisher;

// A scalar variable of a publisher, to write it with one store.
typedef struct vdsokit_variable vdsokit_variable;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Stores the earliest and the latest moment that the true time of `clock` may be, a number of
// clock_gettime(2), in nanoseconds since its zero.
//
// The true time of `CLOCK_REALTIME` and `CLOCK_TAI` is UTC and TAI, and the interval is as wide as
// the NTP daemon of this machine knows. For the other clocks it is the kernel's own clock. Event A
// surely happened before event B, on another machine too, if the latest moment of A is before the
// earliest of B.
//
// Returns -1 on failure, and stores nothing: `ENODATA` for a wall clock that no NTP daemon (chronyd,
// ntpd, systemd-timesyncd) keeps, `EINVAL` for a clock that this machine does not have.
//
// # Safety
// Both pointers are null or valid for a write of 8 bytes.
int vdsokit_bounds(int clock,
                   uint64_t *earliest,
                   uint64_t *latest);

// Builds the image of the declaration in the file `declaration` (TOML) and becomes its publisher
// at `path`.
//
// The same image is resumed with its values. Another one is replaced in one step, and variables
// that both have keep their values. If `path` is null, the file lies beside the declaration,
// or in the `RuntimeDirectory=` of a systemd service, and has its soname as its name.
//
// Returns null on failure: `EBUSY` when another process is the publisher, `EEXIST` when the file
// that is there has a variable of another type or at another place, `ENOENT`, `EACCES`, `ENOSPC`,
// `EPERM` when nothing can be published in that directory, `EINVAL` for a declaration with errors.
//
// # Safety
// Both are null or point to a text that ends with a NUL.
vdsokit_publisher *vdsokit_create(const char *declaration, const char *path);

// Becomes the publisher of the vDSO in the file `path`, which `vdso build` made. The values are
// those that the last publisher left, or the declaration's initial ones.
//
// Returns null on failure, with `errno` as `vdsokit_create` sets it.
//
// # Safety
// `path` is null or points to a text that ends with a NUL.
vdsokit_publisher *vdsokit_open(const char *path);

// Gives one variable, or one field `variable.field` of a record, the value that `value` stands
// for: a number, `true` or `false`, a text without quotes, or an array `1,2,3`. All of a text
// counts: blanks and quotes are part of the value.
//
// Returns 0, or -1: `ENOENT` for a name that the vDSO does not have, `EINVAL` for a value that
// does not fit the type, `EBUSY` while another handle writes the same record, `ESHUTDOWN` after
// `vdsokit_retire`. On failure nothing is written.
//
// # Safety
// `publisher` is null or a publisher that is not closed; `name` and `value` are null or point to
// texts that end with a NUL.
int vdsokit_set(const vdsokit_publisher *publisher, const char *name, const char *value);

// Makes all of the assignments of a line, or none of them: `temperature=21.5 wind.speed=3
// wind.from="north west"`. Fields of one record that stand on one line are written together.
//
// Returns 0, or -1 with `errno` as `vdsokit_set` sets it.
//
// # Safety
// `publisher` is null or a publisher that is not closed; `line` is null or points to a text that
// ends with a NUL.
int vdsokit_assign(const vdsokit_publisher *publisher, const char *line);

// Writes the value of a variable as text into `buffer`, as `vdsokit_set` takes it; a record as
// assignments of its fields, as `vdsokit_assign` takes them.
//
// Returns the length of the text without its final NUL, also when `size` is too small for it;
// then `buffer` holds as much as fits, ended by a NUL. Returns -1 on failure.
//
// # Safety
// `publisher` is null or a publisher that is not closed; `name` is null or points to a text that
// ends with a NUL; `buffer` has room for `size` bytes, and may be null if `size` is 0.
ssize_t vdsokit_get(const vdsokit_publisher *publisher,
                    const char *name,
                    char *buffer,
                    size_t size);

// Returns a handle that writes the scalar `name` with one store, or null: `ENOENT` for an unknown
// name, `EINVAL` when the variable is not a scalar. `vdsokit_var_free` gives it back.
//
// # Safety
// `publisher` is null or a publisher that is not closed; `name` is null or points to a text that
// ends with a NUL.
vdsokit_variable *vdsokit_var(const vdsokit_publisher *publisher, const char *name);

// Stores a floating-point number in an `f64` or `f32` variable, which rounds it.
//
// Returns 0, or -1 with `EINVAL` when the variable has another type.
//
// # Safety
// `var` is null or a handle that was not freed.
int vdsokit_var_set_f64(const vdsokit_variable *var, double value);

// Stores a signed number in an integer variable.
//
// Returns 0, or -1: `ERANGE` when the variable's type does not hold the number, `EINVAL` when it
// is no integer. On failure nothing is written.
//
// # Safety
// `var` is null or a handle that was not freed.
int vdsokit_var_set_i64(const vdsokit_variable *var, int64_t value);

// Stores an unsigned number in an integer variable; errors are those of `vdsokit_var_set_i64`.
//
// # Safety
// `var` is null or a handle that was not freed.
int vdsokit_var_set_u64(const vdsokit_variable *var, uint64_t value);

// Stores a truth value in a `bool` variable.
//
// Returns 0, or -1 with `EINVAL` when the variable has another type.
//
// # Safety
// `var` is null or a handle that was not freed.
int vdsokit_var_set_bool(const vdsokit_variable *var, bool value);

// Gives a handle back. Null is ignored.
//
// # Safety
// `var` is null or a handle that was not freed; no other thread uses it.
void vdsokit_var_free(vdsokit_variable *var);

// Sends a heartbeat: all values are up to date now.
//
// Returns 0, or -1 with `ESHUTDOWN` after `vdsokit_retire`.
//
// # Safety
// `publisher` is null or a publisher that is not closed.
int vdsokit_beat(const vdsokit_publisher *publisher);

// Promises a heartbeat at least every `nanoseconds`: readers take the values for stale after a
// longer silence. 0 promises nothing.
//
// Returns 0, or -1 with `ESHUTDOWN` after `vdsokit_retire`.
//
// # Safety
// `publisher` is null or a publisher that is not closed.
int vdsokit_stale_after(const vdsokit_publisher *publisher, uint64_t nanoseconds);

// Tells readers at once that no value will change again, and lets another process publish.
// The publisher stays open for reading; writes through it fail with `ESHUTDOWN`. A second call
// does nothing.
//
// Returns 0.
//
// # Safety
// `publisher` is null or a publisher that is not closed; every handle of `vdsokit_var` from it
// was freed, or is not written through any more.
int vdsokit_retire(const vdsokit_publisher *publisher);

// Retires the publisher, unless that is done, and frees it. Null is ignored. Another process can
// publish as soon as the handles of `vdsokit_var` are freed, too.
//
// # Safety
// `publisher` is null or a publisher that is not closed; no other thread uses it.
void vdsokit_close(vdsokit_publisher *publisher);

// What went wrong in the last call of this thread that failed, as a sentence that names the file
// or the variable and what to do; null if none failed.
//
// The text is valid until the next call of this thread that fails.
const char *vdsokit_error(void);

// What went wrong in the last call of this thread that failed, as a sentence that names the file
// or the variable and what to do; null if none failed.
//
// The text is valid until the next call of this thread that fails.
const char *vdsokit_error(void);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* VDSOKIT_H */

//! What adjtimex(2), clock_adjtime(2) and ntp_gettime(3) return under virtual time.

use libc::timex;
use vdsokit_clock::Moment;

/// The unit of `time.tv_usec` is nanoseconds (include/uapi/linux/timex.h).
const STA_NANO: i32 = libc::STA_NANO;

/// The structure that adjtimex(2) is to return to a program whose wall clock is at `wall`: the
/// `kernel`'s, with that time in it.
///
/// `kernel` is what adjtimex(2) returned when it was called without modes, right before `wall`
/// was read ([`Reader::read`](crate::Reader::read) of `CLOCK_REALTIME`; or of another clock, for
/// clock_adjtime(2) with its number). The other fields describe how the machine's clock is
/// disciplined: frequency, tick, errors and status stay the kernel's at any rate.
///
/// Modes that would set the machine's clock (`modes != 0` but for `ADJ_OFFSET_SS_READ`) must not
/// reach the kernel: a program under virtual time is refused with `EPERM`, as one without the
/// right to set the clock is.
///
/// ```
/// use vdsokit_clock::Moment;
///
/// // SAFETY: numbers alone, for which 0 is a value.
/// let kernel: libc::timex = unsafe { std::mem::zeroed() };
/// let wall = Moment::from_timespec(946_684_800, 999_999_999).unwrap();
/// let virtual_time = vdsokit_virtual_time::timex(kernel, wall);
/// assert_eq!(virtual_time.time.tv_sec, 946_684_800);
/// assert_eq!(virtual_time.time.tv_usec, 999_999);
/// ```
#[must_use]
pub fn timex(kernel: timex, wall: Moment) -> timex {
    let fraction = match kernel.status & STA_NANO {
        0 => wall.nanoseconds / 1000,
        _ => wall.nanoseconds,
    };
    timex {
        time: libc::timeval {
            tv_sec: wall.seconds,
            tv_usec: fraction.into(),
        },
        ..kernel
    }
}

#[cfg(test)]
#[allow(unsafe_code, reason = "libc's structure has no constructor")]
mod tests {
    use super::*;

    #[test]
    fn adjtimex_has_the_wall_time_in_the_unit_of_its_status_and_all_else_of_the_kernel() {
        // SAFETY: numbers alone, for which 0 is a value.
        let mut kernel: timex = unsafe { std::mem::zeroed() };
        kernel.maxerror = 16;
        kernel.tai = 37;
        kernel.tick = 10_000;
        let wall = Moment::from_timespec(-1, 123_456_789).unwrap();
        for (status, fraction) in [(0, 123_456), (STA_NANO, 123_456_789)] {
            kernel.status = status;
            let found = timex(kernel, wall);
            assert_eq!((found.time.tv_sec, found.time.tv_usec), (-1, fraction));
            assert_eq!((found.maxerror, found.tai, found.tick), (16, 37, 10_000));
        }
    }
}

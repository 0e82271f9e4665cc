//! Calls that set or adjust the clock: they change the tree's clock.
//!
//! None of them ever reaches the kernel, which would set the machine's clock: what this module
//! returns is a result or an error, and the keeper refuses them with EPERM
//! ([`super::keeper`]). What describes how the machine's clock is disciplined is the kernel's, and
//! can be read but not changed.

use std::mem::offset_of;

use vdsokit_clock::Clock;
use vdsokit_waits::filter::Rule;
use vdsokit_waits::number::{ADJTIMEX, CLOCK_ADJTIME, CLOCK_SETTIME, SETTIMEOFDAY};
use vdsokit_waits::{AUDIT, WallTime};

use super::process;
use super::waits::Waits;
use crate::seccomp::{self, Notification};
use crate::sys::Pid;

const CALLS: [u32; 4] = [CLOCK_SETTIME, SETTIMEOFDAY, ADJTIMEX, CLOCK_ADJTIME];

/// `ADJ_SETOFFSET` and `ADJ_NANO` (include/uapi/linux/timex.h).
const SETOFFSET: u32 = 0x0100;
const NANO: u32 = 0x2000;
/// `ADJ_OFFSET_SS_READ`: reads what remains of an adjustment by adjtime(3).
const SS_READ: u32 = 0xa001;

const SECOND: i64 = 1_000_000_000;
/// Bytes of a `struct timex`.
const TIMEX: usize = size_of::<libc::timex>();

/// The rules of a filter that hands these calls over.
pub(crate) fn rules() -> impl Iterator<Item = Rule> {
    CALLS.into_iter().map(Rule::always)
}

/// Whether a call, an architecture and its number, is served here.
pub(crate) fn serves(architecture: u32, number: u32) -> bool {
    architecture == AUDIT && CALLS.contains(&number)
}

/// Serves one of these calls: what it returns, or the error with which it fails.
pub(crate) fn serve(waits: &mut Waits, call: &Notification) -> Result<i64, i32> {
    let [first, second, ..] = call.arguments;
    match call.number as u32 {
        CLOCK_SETTIME => {
            settable(first as i32)?;
            let [seconds, nanoseconds] = words(call.pid, second)?;
            set(waits, seconds, nanoseconds, 1)
        }
        SETTIMEOFDAY => {
            // The time zone is the kernel's own, one for all processes.
            if first == 0 {
                return Err(if second == 0 {
                    libc::EFAULT
                } else {
                    libc::EPERM
                });
            }
            let [seconds, microseconds] = words(call.pid, first)?;
            set(waits, seconds, microseconds, 1000)
        }
        ADJTIMEX => adjust(waits, call.pid, first),
        CLOCK_ADJTIME => {
            match Clock::from_id(first as u32) {
                Some(Clock::Realtime) => {}
                Some(_) => return Err(libc::EOPNOTSUPP),
                None => return Err(unknown(first as i32)),
            }
            adjust(waits, call.pid, second)
        }
        _ => Err(libc::EPERM),
    }
}

/// Whether clock_settime(2) sets the clock with this id.
fn settable(clock: i32) -> Result<(), i32> {
    match Clock::from_id(clock as u32) {
        Some(Clock::Realtime) => Ok(()),
        Some(_) => Err(libc::EINVAL),
        None => Err(unknown(clock)),
    }
}

/// The error for the id of a clock that is not the tree's: a negative one is a descriptor of a
/// device, a clock that other programs and machines may share, or a CPU-time clock.
fn unknown(clock: i32) -> i32 {
    if clock < 0 { libc::EPERM } else { libc::EINVAL }
}

/// Sets wall time to seconds and a part of a second in `unit` nanoseconds.
fn set(waits: &mut Waits, seconds: i64, part: i64, unit: i64) -> Result<i64, i32> {
    if seconds < 0 || !(0..SECOND / unit).contains(&part) {
        return Err(libc::EINVAL);
    }
    let at = i128::from(seconds) * i128::from(SECOND) + i128::from(part * unit);
    waits.set_wall(WallTime::At(at)).map_err(|_| libc::EPERM)?;
    Ok(0)
}

/// adjtimex(2) with the structure at `address`.
fn adjust(waits: &mut Waits, pid: Pid, address: u64) -> Result<i64, i32> {
    let mut bytes = [0; TIMEX];
    process::read(pid, address, &mut bytes).map_err(|_| libc::EFAULT)?;
    let modes = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    match modes {
        0 | SS_READ => {}
        _ if modes & !NANO == SETOFFSET => {
            let unit = if modes & NANO == 0 { 1000 } else { 1 };
            let seconds = word(&bytes, offset_of!(libc::timex, time));
            let part = word(&bytes, offset_of!(libc::timex, time) + 8);
            if !(0..SECOND / unit).contains(&part) {
                return Err(libc::EINVAL);
            }
            let by = i128::from(seconds) * i128::from(SECOND) + i128::from(part * unit);
            waits
                .set_wall(WallTime::MovedBy(by))
                .map_err(|_| libc::EPERM)?;
        }
        // How the machine's clock is disciplined is no business of the tree.
        _ => return Err(libc::EPERM),
    }
    let (state, timex) = waits.adjustment().map_err(|_| libc::EPERM)?;
    write(&mut bytes, &timex);
    if modes == SS_READ {
        put(
            &mut bytes,
            offset_of!(libc::timex, offset),
            &0i64.to_ne_bytes(),
        );
    }
    seccomp::write(pid, address, &bytes).map_err(|_| libc::EFAULT)?;
    Ok(state.into())
}

/// Writes the members of a structure but `modes` to where they lie in its bytes.
fn write(bytes: &mut [u8; TIMEX], timex: &libc::timex) {
    macro_rules! put_all {
        ($($member:ident),*) => {$(
            put(bytes, offset_of!(libc::timex, $member), &timex.$member.to_ne_bytes());
        )*};
    }
    put_all!(
        offset, freq, maxerror, esterror, status, constant, precision, tolerance, tick, ppsfreq,
        jitter, shift, stabil, jitcnt, calcnt, errcnt, stbcnt, tai
    );
    let time = offset_of!(libc::timex, time);
    put(bytes, time, &timex.time.tv_sec.to_ne_bytes());
    put(bytes, time + 8, &timex.time.tv_usec.to_ne_bytes());
}

fn put(bytes: &mut [u8; TIMEX], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

fn word(bytes: &[u8; TIMEX], at: usize) -> i64 {
    let word = bytes[at..].first_chunk().copied();
    word.map_or(0, i64::from_ne_bytes)
}

fn words(pid: Pid, address: u64) -> Result<[i64; 2], i32> {
    process::words(pid, address).map_err(|_| libc::EFAULT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_that_sets_the_clock_is_served_or_refused() {
        let native = vdsokit_waits::CLOCK_SETTERS
            .into_iter()
            .filter(|&(architecture, number)| architecture == AUDIT && number < 1 << 30);
        let mut numbers: Vec<u32> = native.map(|(_, number)| number).collect();
        let mut served = CALLS.to_vec();
        numbers.sort_unstable();
        served.sort_unstable();
        assert_eq!(numbers, served);
    }
}

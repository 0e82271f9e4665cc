//! How a wait ends whose time has come, where that is known without the kernel.

use crate::call::{Call, FUTEX_COMMAND, FUTEX_WAIT_BITSET, FUTEX_WAIT_COMMAND};
use crate::number::{CLOCK_NANOSLEEP, EPOLL_PWAIT2, FUTEX, NANOSLEEP};

/// How a call ends as its time has come, while no other thread of its process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// It returns 0.
    Slept,
    /// It fails with ETIMEDOUT if the word at `address` still is `value` (futex(2)).
    Futex {
        /// Where the word is.
        address: u64,
        /// What it was when the call was made.
        value: u32,
    },
    /// It returns 0 if this descriptor, an epoll instance, has no event (epoll_wait(2)).
    Epoll(i32),
}

impl Expiry {
    /// That of `call`, as it is made for a converted wait. `None`: it depends on more.
    pub fn of(call: &Call) -> Option<Expiry> {
        let [address, operation, value, ..] = call.arguments;
        match call.number {
            NANOSLEEP | CLOCK_NANOSLEEP => Some(Expiry::Slept),
            // With a signal mask of its own, a signal that is pending may end it.
            EPOLL_PWAIT2 if call.arguments[4] == 0 => Some(Expiry::Epoll(address as i32)),
            FUTEX => match operation & FUTEX_COMMAND {
                FUTEX_WAIT_COMMAND | FUTEX_WAIT_BITSET => Some(Expiry::Futex {
                    address,
                    value: value as u32,
                }),
                _ => None,
            },
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sleeps_plain_futexes_and_epoll_without_a_mask_end_without_the_kernel() {
        let end = |number, operation| {
            Expiry::of(&Call {
                number,
                arguments: [0x1000, operation, 7, 0x2000, 0, 0],
            })
        };
        assert_eq!(end(NANOSLEEP, 0), Some(Expiry::Slept));
        let (address, value) = (0x1000, 7);
        let futex = Some(Expiry::Futex { address, value });
        assert_eq!(end(FUTEX, 128), futex);
        assert_eq!(end(FUTEX, FUTEX_WAIT_BITSET | 128), futex);
        assert_eq!(end(FUTEX, 6), None, "LOCK_PI");
        assert_eq!(end(crate::number::PPOLL, 0), None);
        let epoll = |mask| Call {
            number: EPOLL_PWAIT2,
            arguments: [3, 0x1000, 10, 0x2000, mask, 8],
        };
        assert_eq!(Expiry::of(&epoll(0)), Some(Expiry::Epoll(3)));
        assert_eq!(Expiry::of(&epoll(0x3000)), None);
    }
}

//! ChaCha20 for AArch64 with NEON, which Linux requires there.
//!
//! A row of four words is a register. Three blocks are in v0 to v3, v4 to v7 and v16 to v19;
//! v20 to v22 are temporaries; v23 has the constants, v24 and v25 the key, v26 to
//! v28 the blocks' counters. v8 to v15 belong to the caller.

use core::arch::asm;

/// `a += b; d ^= a`, of rows, and rotates the words of `d` left by 16 bits.
macro_rules! swap {
    ($a:literal, $b:literal, $d:literal) => {
        concat!(
            "add v", $a, ".4s, v", $a, ".4s, v", $b, ".4s\n", "eor v", $d, ".16b, v", $d, ".16b, v", $a, ".16b\n", "rev32 v", $d, ".8h, v", $d, ".8h\n",
        )
    };
}

/// `a += b; d ^= a`, of rows, and rotates the words of `d` left: the two numbers of bits add
/// up to 32.
macro_rules! rotate {
    ($a:literal, $b:literal, $d:literal, $between:literal, $left:literal, $right:literal) => {
        concat!(
            "add v", $a, ".4s, v", $a, ".4s, v", $b, ".4s\n", "eor v", $between, ".16b, v", $d, ".16b, v", $a, ".16b\n", "shl v", $d, ".4s, v", $between, ".4s, #", $left, "\n",
            "sri v", $d, ".4s, v", $between, ".4s, #", $right, "\n",
        )
    };
}

/// A round of three blocks: four quarter rounds each, the columns of their rows.
macro_rules! round {
    () => {
        concat!(
            swap!(0, 1, 3), swap!(4, 5, 7), swap!(16, 17, 19),
            rotate!(2, 3, 1, 20, 12, 20), rotate!(6, 7, 5, 21, 12, 20),
            rotate!(18, 19, 17, 22, 12, 20), rotate!(0, 1, 3, 20, 8, 24),
            rotate!(4, 5, 7, 21, 8, 24), rotate!(16, 17, 19, 22, 8, 24),
            rotate!(2, 3, 1, 20, 7, 25), rotate!(6, 7, 5, 21, 7, 25),
            rotate!(18, 19, 17, 22, 7, 25),
        )
    };
}

/// Rotates rows one to three of a block so that diagonals become columns, or back.
macro_rules! turn {
    ($one:literal, $two:literal, $three:literal, $by_one:literal, $by_three:literal) => {
        concat!(
            "ext v", $one, ".16b, v", $one, ".16b, v", $one, ".16b, #", $by_one, "\n",
            "ext v", $two, ".16b, v", $two, ".16b, v", $two, ".16b, #8\n",
            "ext v", $three, ".16b, v", $three, ".16b, v", $three, ".16b, #", $by_three, "\n",
        )
    };
}

macro_rules! turn_all {
    ($by_one:literal, $by_three:literal) => {
        concat!(
            turn!(1, 2, 3, $by_one, $by_three), turn!(5, 6, 7, $by_one, $by_three),
            turn!(17, 18, 19, $by_one, $by_three),
        )
    };
}

/// Copies a row.
macro_rules! copy {
    ($to:literal, $from:literal) => {
        concat!("mov v", $to, ".16b, v", $from, ".16b\n")
    };
}

/// Adds the initial state of a row.
macro_rules! add {
    ($to:literal, $from:literal) => {
        concat!("add v", $to, ".4s, v", $to, ".4s, v", $from, ".4s\n")
    };
}

/// Stores a block, and leaves the loop if it was the last.
macro_rules! store {
    ($first:literal, $last:literal) => {
        concat!(
            "st1 {{v", $first, ".16b-v", $last, ".16b}}, [{out}], #64\n",
            "subs {count}, {count}, #1\n",
            "b.eq 4f\n",
        )
    };
}

/// See [`super::blocks`].
///
/// # Safety
/// As there; and `count` is not 0.
#[inline(never)]
pub(super) unsafe fn blocks(out: *mut u8, key: *const u8, counter: u64, count: usize) {
    // SAFETY: (1) it reads the key and writes the blocks, which the caller vouches for, and
    // no other memory; (2) the key is read before anything is written.
    unsafe {
        asm!(
            "mov {free}, #0x7865",
            "movk {free}, #0x6170, lsl #16",
            "movk {free}, #0x646e, lsl #32",
            "movk {free}, #0x3320, lsl #48",
            "mov v23.d[0], {free}",
            "mov {free}, #0x2d32",
            "movk {free}, #0x7962, lsl #16",
            "movk {free}, #0x6574, lsl #32",
            "movk {free}, #0x6b20, lsl #48",
            "mov v23.d[1], {free}",
            "ld1 {{v24.16b, v25.16b}}, [{key}]",

            "2:",
            "fmov d26, {counter}",
            "add {counter}, {counter}, #1",
            "fmov d27, {counter}",
            "add {counter}, {counter}, #1",
            "fmov d28, {counter}",
            "add {counter}, {counter}, #1",
            copy!(0, 23), copy!(4, 23), copy!(16, 23),
            copy!(1, 24), copy!(5, 24), copy!(17, 24),
            copy!(2, 25), copy!(6, 25), copy!(18, 25),
            copy!(3, 26), copy!(7, 27), copy!(19, 28),

            "mov {free}, #10",
            "3:",
            round!(),
            turn_all!(4, 12),
            round!(),
            turn_all!(12, 4),
            "subs {free}, {free}, #1",
            "b.ne 3b",

            add!(0, 23), add!(4, 23), add!(16, 23),
            add!(1, 24), add!(5, 24), add!(17, 24),
            add!(2, 25), add!(6, 25), add!(18, 25),
            add!(3, 26), add!(7, 27), add!(19, 28),

            store!(0, 3),
            store!(4, 7),
            store!(16, 19),
            "b 2b",

            "4:",
            "movi v0.16b, #0",
            copy!(1, 0), copy!(2, 0), copy!(3, 0), copy!(4, 0), copy!(5, 0), copy!(6, 0),
            copy!(7, 0), copy!(16, 0), copy!(17, 0), copy!(18, 0), copy!(19, 0), copy!(20, 0),
            copy!(21, 0), copy!(22, 0), copy!(24, 0), copy!(25, 0),
            out = inout(reg) out => _,
            key = in(reg) key,
            counter = inout(reg) counter => _,
            count = inout(reg) count => _,
            free = out(reg) _,
            out("v0") _, out("v1") _, out("v2") _, out("v3") _,
            out("v4") _, out("v5") _, out("v6") _, out("v7") _,
            out("v16") _, out("v17") _, out("v18") _, out("v19") _,
            out("v20") _, out("v21") _, out("v22") _, out("v23") _,
            out("v24") _, out("v25") _, out("v26") _, out("v27") _, out("v28") _,
            options(nostack)
        );
    }
}

/// See [`super::take`].
///
/// # Safety
/// As there.
#[inline(always)]
pub(super) unsafe fn take(from: *mut u8, to: *mut u8, length: usize) {
    // SAFETY: it reads and writes `length` bytes of both, which the caller vouches for.
    unsafe {
        asm!(
            "movi v1.16b, #0",
            "subs {left}, {left}, #16",
            "b.lo 3f",
            "2:",
            "ldr q0, [{from}]",
            "str q0, [{to}], #16",
            "str q1, [{from}], #16",
            "subs {left}, {left}, #16",
            "b.hs 2b",
            // The lower four bits are the number of remaining bytes.
            "3:",
            "tbz {left}, #3, 4f",
            "ldr d0, [{from}]",
            "str d0, [{to}], #8",
            "str d1, [{from}], #8",
            "4:",
            "tbz {left}, #2, 5f",
            "ldr s0, [{from}]",
            "str s0, [{to}], #4",
            "str s1, [{from}], #4",
            "5:",
            "tbz {left}, #1, 6f",
            "ldr h0, [{from}]",
            "str h0, [{to}], #2",
            "str h1, [{from}], #2",
            "6:",
            "tbz {left}, #0, 7f",
            "ldr b0, [{from}]",
            "str b0, [{to}]",
            "str b1, [{from}]",
            "7:",
            "movi v0.16b, #0",
            from = inout(reg) from => _,
            to = inout(reg) to => _,
            left = inout(reg) length => _,
            out("v0") _, out("v1") _,
            options(nostack)
        );
    }
}

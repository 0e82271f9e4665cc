//! ChaCha20 for x86-64 with SSE2, which is part of the architecture.
//!
//! A row of four words is a register. Three blocks are in xmm0 to xmm3, xmm4 to xmm7 and
//! xmm8 to xmm11; xmm12 to xmm14 are temporaries; xmm15 has the constants, which are not
//! secret.

use core::arch::asm;

/// `a += b; d ^= a`, of rows.
macro_rules! add_xor {
    ($a:literal, $b:literal, $d:literal) => {
        concat!(
            "paddd xmm", $a, ", xmm", $b, "\n",
            "pxor xmm", $d, ", xmm", $a, "\n",
        )
    };
}

/// Rotates the words of a row left by 16 bits, by swapping their halves.
macro_rules! swap {
    ($row:literal) => {
        concat!(
            "pshuflw xmm", $row, ", xmm", $row, ", 0xb1\n",
            "pshufhw xmm", $row, ", xmm", $row, ", 0xb1\n",
        )
    };
}

/// Rotates the words of a row left: the two numbers of bits add up to 32.
macro_rules! rotate {
    ($row:literal, $between:literal, $left:literal, $right:literal) => {
        concat!(
            "movdqa xmm", $between, ", xmm", $row, "\n",
            "pslld xmm", $between, ", ", $left, "\n",
            "psrld xmm", $row, ", ", $right, "\n",
            "por xmm", $row, ", xmm", $between, "\n",
        )
    };
}

/// A round of three blocks: four quarter rounds each, the columns of their rows.
macro_rules! round {
    () => {
        concat!(
            add_xor!(0, 1, 3), add_xor!(4, 5, 7), add_xor!(8, 9, 11),
            swap!(3), swap!(7), swap!(11),
            add_xor!(2, 3, 1), add_xor!(6, 7, 5), add_xor!(10, 11, 9),
            rotate!(1, 12, 12, 20), rotate!(5, 13, 12, 20), rotate!(9, 14, 12, 20),
            add_xor!(0, 1, 3), add_xor!(4, 5, 7), add_xor!(8, 9, 11),
            rotate!(3, 12, 8, 24), rotate!(7, 13, 8, 24), rotate!(11, 14, 8, 24),
            add_xor!(2, 3, 1), add_xor!(6, 7, 5), add_xor!(10, 11, 9),
            rotate!(1, 12, 7, 25), rotate!(5, 13, 7, 25), rotate!(9, 14, 7, 25),
        )
    };
}

/// Rotates rows one to three of a block so that diagonals become columns, or back.
macro_rules! turn {
    ($one:literal, $two:literal, $three:literal, $by_one:literal, $by_three:literal) => {
        concat!(
            "pshufd xmm", $one, ", xmm", $one, ", ", $by_one, "\n",
            "pshufd xmm", $two, ", xmm", $two, ", 0x4e\n",
            "pshufd xmm", $three, ", xmm", $three, ", ", $by_three, "\n",
        )
    };
}

macro_rules! turn_all {
    ($by_one:literal, $by_three:literal) => {
        concat!(
            turn!(1, 2, 3, $by_one, $by_three), turn!(5, 6, 7, $by_one, $by_three),
            turn!(9, 10, 11, $by_one, $by_three),
        )
    };
}

/// Stores a block, and leaves the loop if it was the last.
macro_rules! store {
    ($zero:literal, $one:literal, $two:literal, $three:literal) => {
        concat!(
            "movdqu [{out}], xmm", $zero, "\n",
            "movdqu [{out} + 16], xmm", $one, "\n",
            "movdqu [{out} + 32], xmm", $two, "\n",
            "movdqu [{out} + 48], xmm", $three, "\n",
            "add {out}, 64\n",
            "dec {count}\n",
            "jz 4f\n",
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
    // no other memory; (2) a pass reads the key for the last time before it writes its first
    // block, so a key within the last block of all is whole when it is read.
    unsafe {
        asm!(
            "mov {free}, 0x3320646e61707865",
            "movq xmm15, {free}",
            "mov {free}, 0x6b20657479622d32",
            "movq xmm0, {free}",
            "punpcklqdq xmm15, xmm0",

            "2:",
            "movdqa xmm0, xmm15",
            "movdqa xmm4, xmm15",
            "movdqa xmm8, xmm15",
            "movdqu xmm1, [{key}]",
            "movdqa xmm5, xmm1",
            "movdqa xmm9, xmm1",
            "movdqu xmm2, [{key} + 16]",
            "movdqa xmm6, xmm2",
            "movdqa xmm10, xmm2",
            "movq xmm3, {counter}",
            "lea {free}, [{counter} + 1]",
            "movq xmm7, {free}",
            "lea {free}, [{counter} + 2]",
            "movq xmm11, {free}",

            "mov {free:e}, 10",
            "3:",
            round!(),
            turn_all!(0x39, 0x93),
            round!(),
            turn_all!(0x93, 0x39),
            "dec {free:e}",
            "jnz 3b",

            // The initial state of the blocks.
            "paddd xmm0, xmm15",
            "paddd xmm4, xmm15",
            "paddd xmm8, xmm15",
            "movdqu xmm12, [{key}]",
            "paddd xmm1, xmm12",
            "paddd xmm5, xmm12",
            "paddd xmm9, xmm12",
            "movdqu xmm13, [{key} + 16]",
            "paddd xmm2, xmm13",
            "paddd xmm6, xmm13",
            "paddd xmm10, xmm13",
            "movq xmm14, {counter}",
            "paddd xmm3, xmm14",
            "inc {counter}",
            "movq xmm14, {counter}",
            "paddd xmm7, xmm14",
            "inc {counter}",
            "movq xmm14, {counter}",
            "paddd xmm11, xmm14",
            "inc {counter}",

            store!(0, 1, 2, 3),
            store!(4, 5, 6, 7),
            store!(8, 9, 10, 11),
            "jmp 2b",

            "4:",
            "pxor xmm0, xmm0",
            "pxor xmm1, xmm1",
            "pxor xmm2, xmm2",
            "pxor xmm3, xmm3",
            "pxor xmm4, xmm4",
            "pxor xmm5, xmm5",
            "pxor xmm6, xmm6",
            "pxor xmm7, xmm7",
            "pxor xmm8, xmm8",
            "pxor xmm9, xmm9",
            "pxor xmm10, xmm10",
            "pxor xmm11, xmm11",
            "pxor xmm12, xmm12",
            "pxor xmm13, xmm13",
            "pxor xmm14, xmm14",
            out = inout(reg) out => _,
            key = in(reg) key,
            counter = inout(reg) counter => _,
            count = inout(reg) count => _,
            free = out(reg) _,
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
            out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
            out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
            out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
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
            "pxor xmm1, xmm1",
            "sub {left}, 16",
            "jb 3f",
            "2:",
            "movdqu xmm0, [{from}]",
            "movdqu [{to}], xmm0",
            "movdqu [{from}], xmm1",
            "add {from}, 16",
            "add {to}, 16",
            "sub {left}, 16",
            "jae 2b",
            // The lower four bits are the number of remaining bytes.
            "3:",
            "test {left:l}, 8",
            "jz 4f",
            "movq xmm0, [{from}]",
            "movq [{to}], xmm0",
            "movq [{from}], xmm1",
            "add {from}, 8",
            "add {to}, 8",
            "4:",
            "test {left:l}, 4",
            "jz 5f",
            "movd xmm0, dword ptr [{from}]",
            "movd dword ptr [{to}], xmm0",
            "movd dword ptr [{from}], xmm1",
            "add {from}, 4",
            "add {to}, 4",
            "5:",
            "test {left:l}, 2",
            "jz 6f",
            "movzx {free:e}, word ptr [{from}]",
            "mov word ptr [{to}], {free:x}",
            "mov word ptr [{from}], 0",
            "add {from}, 2",
            "add {to}, 2",
            "6:",
            "test {left:l}, 1",
            "jz 7f",
            "movzx {free:e}, byte ptr [{from}]",
            "mov byte ptr [{to}], {free:l}",
            "mov byte ptr [{from}], 0",
            "7:",
            "pxor xmm0, xmm0",
            "xor {free:e}, {free:e}",
            from = inout(reg) from => _,
            to = inout(reg) to => _,
            left = inout(reg) length => _,
            free = out(reg) _,
            out("xmm0") _, out("xmm1") _,
            options(nostack)
        );
    }
}

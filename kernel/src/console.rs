//! The console: the machine's first serial port.

use crate::arch;
use crate::lock::Guarded;
use crate::task::{Key, schedule};
use alloc::collections::VecDeque;
use core::fmt::{self, Write};

/// Prints a line of the kernel's own.
#[macro_export]
macro_rules! println {
    ($($argument:tt)*) => {
        $crate::console::print(format_args!("{}\n", format_args!($($argument)*)))
    };
}

struct Serial;

impl Write for Serial {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        write(text.as_bytes());
        Ok(())
    }
}

/// Writes text; a line's end becomes what terminals expect.
pub fn print(text: fmt::Arguments<'_>) {
    // `Serial` has no errors.
    let _ = Serial.write_fmt(text);
}

/// Writes bytes.
pub fn write(bytes: &[u8]) {
    for byte in bytes {
        if *byte == b'\n' {
            arch::put(b'\r');
        }
        arch::put(*byte);
    }
}

/// The line that is being typed, and what was typed before it.
struct Input {
    line: VecDeque<u8>,
    ready: VecDeque<u8>,
    ended: bool,
}

static INPUT: Guarded<Input> = Guarded::new(Input {
    line: VecDeque::new(),
    ready: VecDeque::new(),
    ended: false,
});

/// Takes what was typed since the last tick, line by line, and shows it.
pub fn poll() {
    let mut input = INPUT.get();
    let mut complete = false;
    while let Some(byte) = arch::get() {
        match byte {
            b'\r' | b'\n' => {
                write(b"\n");
                input.line.push_back(b'\n');
                let line = core::mem::take(&mut input.line);
                input.ready.extend(line);
                complete = true;
            }
            // Backspace.
            8 | 127 => {
                if input.line.pop_back().is_some() {
                    write(b"\x08 \x08");
                }
            }
            // Control-D.
            4 if input.line.is_empty() => {
                input.ended = true;
                complete = true;
            }
            byte => {
                write(&[byte]);
                input.line.push_back(byte);
            }
        }
    }
    drop(input);
    if complete {
        schedule::wake(Key::Files, usize::MAX);
    }
}

/// What a read returns: bytes of complete lines, none at the end of input; `None` when it has to
/// wait.
pub fn read(bytes: &mut [u8]) -> Option<usize> {
    let mut input = INPUT.get();
    if input.ready.is_empty() {
        return core::mem::take(&mut input.ended).then_some(0);
    }
    let mut length = 0;
    for place in bytes {
        let Some(byte) = input.ready.pop_front() else {
            break;
        };
        *place = byte;
        length += 1;
        if byte == b'\n' {
            break;
        }
    }
    Some(length)
}

/// Whether a read would not wait.
pub fn is_ready() -> bool {
    let input = INPUT.get();
    input.ended || !input.ready.is_empty()
}

#[panic_handler]
fn panic(information: &core::panic::PanicInfo<'_>) -> ! {
    println!("the kernel failed: {information}");
    arch::power_off()
}

//! Memory of the current program: its bytes, words, texts and structures.
#![allow(unsafe_code, reason = "shows structures of C as their bytes")]

use crate::errno::Errno;
use crate::task::schedule;
use alloc::string::String;
use alloc::vec::Vec;
use linux_raw_sys::general::stat;

/// The size of a word.
pub const WORD: usize = size_of::<usize>();

/// Copies bytes of the program.
pub fn read(address: usize, bytes: &mut [u8]) -> Result<(), Errno> {
    let space = schedule::space();
    space.get().read(address, bytes)
}

/// Copies bytes to the program.
pub fn write(address: usize, bytes: &[u8]) -> Result<(), Errno> {
    let space = schedule::space();
    space.get().write(address, bytes)
}

/// Words of the program.
pub fn words<const N: usize>(address: usize) -> Result<[usize; N], Errno> {
    let mut words = [0; N];
    read_into(address, &mut words)?;
    Ok(words)
}

/// Copies words of the program.
pub fn read_into(address: usize, words: &mut [usize]) -> Result<(), Errno> {
    // SAFETY: the words are bytes too, of any value, and borrowed for as long as this.
    let bytes =
        unsafe { core::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), size_of_val(words)) };
    read(address, bytes)
}

/// Stores words.
pub fn write_words(address: usize, words: &[usize]) -> Result<(), Errno> {
    // SAFETY: the words are bytes too, and borrowed for as long as this.
    let bytes = unsafe { core::slice::from_raw_parts(words.as_ptr().cast(), size_of_val(words)) };
    write(address, bytes)
}

/// Stores a word of 4 bytes.
pub fn write_u32(address: usize, word: u32) -> Result<(), Errno> {
    write(address, &word.to_ne_bytes())
}

/// A text that ends with a zero, of less than `longest` bytes.
pub fn text(address: usize, longest: usize) -> Result<String, Errno> {
    let mut bytes = Vec::new();
    loop {
        let mut byte = [0];
        read(address.wrapping_add(bytes.len()), &mut byte)?;
        match byte {
            [0] => return String::from_utf8(bytes).map_err(|_| Errno::INVALID),
            _ if bytes.len() == longest => return Err(Errno::NAME_TOO_LONG),
            [byte] => bytes.push(byte),
        }
    }
}

/// A path.
pub fn path(address: usize) -> Result<String, Errno> {
    text(address, 4096)
}

/// The facts of a file, all of them 0.
pub fn stat_of_nothing() -> stat {
    // SAFETY: the structure consists of integers.
    unsafe { core::mem::zeroed() }
}

/// Stores the facts of a file.
pub fn write_stat(address: usize, stat: &stat) -> Result<(), Errno> {
    let start = (&raw const *stat).cast();
    // SAFETY: the structure is as long, consists of integers, its padding being named as fields
    // (asm-generic/stat.h; x86's asm/stat.h), and is borrowed for as long as this.
    write(address, unsafe {
        core::slice::from_raw_parts(start, size_of::<stat>())
    })
}

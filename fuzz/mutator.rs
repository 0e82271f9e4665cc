//! Mutations that keep a table a table.
//!
//! All that an ELF object consists of are fields of 2, 4 or 8 bytes at aligned places, most of them
//! counts, offsets and addresses. libFuzzer's own mutations insert and delete bytes, which moves
//! every table that follows away from where its address says. So three times of four one field is
//! given another value here: a limit, a neighbour of what it was, or what another field holds.

/// Changes `data[..size]` and returns its new size. The ELF header is at `start`.
pub(crate) fn mutate(
    data: &mut [u8],
    size: usize,
    max_size: usize,
    seed: u32,
    start: usize,
) -> usize {
    let mut random = Random(u64::from(seed) | 1 << 32);
    if size < start + 64 || size > max_size || random.below(4) == 0 {
        return libfuzzer_sys::fuzzer_mutate(data, size, max_size);
    }
    let is_big = data[start + 5] == 2;
    for _ in 0..=random.below(3) {
        let width = 1 << (1 + random.below(3));
        let fields = (size - start) / width;
        // Half of the time among the headers and what follows them.
        let near = if random.below(2) == 0 { fields.min(512 / width) } else { fields };
        let at = start + width * random.below(near);
        let value = match random.below(6) {
            0 => [0, 1, 2, u64::MAX, u64::MAX >> 1, 1 << 31, 1 << 32, 4096][random.below(8)],
            1 => random.below(256) as u64,
            2 => (size - start + random.below(17)) as u64 - 8,
            3 => read(&data[at..at + width], is_big) ^ 1 << random.below(8 * width),
            4 => read(&data[at..at + width], is_big).wrapping_add(random.below(65) as u64).wrapping_sub(32),
            _ => {
                let from = start + width * random.below(fields);
                read(&data[from..from + width], is_big).wrapping_add(random.below(3) as u64)
            }
        };
        write(&mut data[at..at + width], value, is_big);
    }
    size
}

fn read(field: &[u8], is_big: bool) -> u64 {
    let byte = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
    if is_big {
        field.iter().fold(0, byte)
    } else {
        field.iter().rev().fold(0, byte)
    }
}

fn write(field: &mut [u8], value: u64, is_big: bool) {
    let bytes = value.to_le_bytes();
    for (index, byte) in bytes[..field.len()].iter().enumerate() {
        let at = if is_big { field.len() - 1 - index } else { index };
        field[at] = *byte;
    }
}

/// Marsaglia's xorshift (2003), 64 bits.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) % limit as u64) as usize
    }
}

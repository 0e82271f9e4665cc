//! What x86-64 and i386 have in common: the bytes of a function, immediates and short jumps.

/// The code that is assembled, and what it begins with before the function.
pub(super) struct Code<'c> {
    bytes: &'c mut Vec<u8>,
    start: usize,
}

impl<'c> Code<'c> {
    /// For a function behind what there is.
    pub(super) fn new(bytes: &'c mut Vec<u8>) -> Self {
        Self {
            start: bytes.len(),
            bytes,
        }
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Bytes from the function's beginning.
    pub(super) fn length(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Replaces bytes of the function from `at` on.
    pub(super) fn patch(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[self.start + at..][..bytes.len()].copy_from_slice(bytes);
    }

    /// `opcode` with a 32-bit immediate.
    pub(super) fn load_immediate(&mut self, opcode: u8, number: u32) {
        self.bytes(&[opcode]);
        self.bytes(&number.to_le_bytes());
    }

    /// A short jump forward; [`Code::land`] fills in the distance.
    pub(super) fn jump(&mut self, opcode: u8) -> usize {
        self.bytes(&[opcode, 0]);
        self.length()
    }

    /// Lets the jump that ends at `from` lead here.
    pub(super) fn land(&mut self, from: usize) {
        let distance = self.length() - from;
        self.patch(from - 1, &[distance as u8]);
    }

    /// `jne` back to `to`.
    pub(super) fn repeat(&mut self, to: usize) {
        self.bytes(&[0x0f, 0x85]);
        let back = to as i64 - (self.length() as i64 + 4);
        self.bytes(&(back as i32).to_le_bytes());
    }

    /// The same by a short jump.
    pub(super) fn repeat_short(&mut self, to: usize) {
        let back = to as i64 - (self.length() as i64 + 2);
        self.bytes(&[0x75, back as i8 as u8]); // jne
    }
}

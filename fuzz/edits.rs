//! Tampering with a table that was whole: the input says which fields get which values.
//!
//! Bytes alone rarely make a table that gets past its first checks. Here each eight bytes of the
//! input are one edit of a good table, so that every edit meets the checks behind those.

/// Applies edits to `table`: two bytes of offset, a width, a kind, four bytes of value.
pub(crate) fn apply(table: &mut Vec<u8>, input: &[u8]) {
    for edit in input.chunks_exact(8) {
        let at = usize::from(u16::from_le_bytes([edit[0], edit[1]])) % table.len().max(1);
        let value = [edit[4], edit[5], edit[6], edit[7]];
        let width = 1 << (edit[2] % 4);
        let extended = i64::from(i32::from_le_bytes(value)).to_le_bytes();
        match edit[3] % 8 {
            // A shorter table.
            0 => table.truncate(at.max(1)),
            // A longer one.
            1 => table.extend_from_slice(&value),
            // One field added to, as an offset or a count that is a little wrong.
            2 => {
                if let Some(field) = table.get_mut(at..at + 4) {
                    let was = u32::from_le_bytes([field[0], field[1], field[2], field[3]]);
                    let is = was.wrapping_add(u32::from_le_bytes(value) % 17).wrapping_sub(8);
                    field.copy_from_slice(&is.to_le_bytes());
                }
            }
            _ => {
                if let Some(field) = table.get_mut(at..at + width) {
                    field.copy_from_slice(&extended[..width]);
                }
            }
        }
    }
}

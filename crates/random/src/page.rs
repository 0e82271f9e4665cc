//! The place of the generation in the vvar pages of a clock image, and its name.
//!
//! Only a kernel knows when its generator got a new seed. So a publisher that is a process
//! leaves the word 0, and an image that is linked to Linux's own vDSO calls that.

use vdsokit_clock::{Clock, page};
use vdsokit_vvar::directory::Variable;
use vdsokit_vvar::layout::{Shape, Type};
use vdsokit_vvar::scalar::ScalarType;

/// The offset of the [`Generation`](crate::Generation), behind the clocks.
pub const OFFSET: usize = 3944;

/// The number of bytes in use, with the header and the clocks.
pub const SIZE: usize = OFFSET + 8;

/// The variables of an image with clocks and random bytes, for its directory.
pub const VARIABLES: [Variable<'static>; 2 * Clock::RECORDS + 1] = {
    let mut variables = [GENERATION; 2 * Clock::RECORDS + 1];
    let mut at = 0;
    while at < page::VARIABLES.len() {
        variables[at] = page::VARIABLES[at];
        at += 1;
    }
    variables
};

const GENERATION: Variable<'static> = Variable {
    name: "random_generation",
    unit: "",
    doc: "how often the kernel's random number generator got a new seed",
    version: "",
    shape: Shape::Plain(Type::Scalar(ScalarType::U64)),
};

const _: () = {
    // A literal, because an offset must never change once it was published.
    assert!(OFFSET == page::SIZE);
    assert!(SIZE <= vdsokit_vvar::PAGE_SIZE);
};

#[cfg(test)]
mod tests {
    use super::*;
    use vdsokit_vvar::layout::Cursor;

    #[test]
    fn the_generation_lies_where_a_directory_has_it() {
        let mut cursor = Cursor::PAGES;
        let offsets = VARIABLES.map(|variable| (variable.name, cursor.variable(&variable.shape)));
        assert_eq!(offsets.last(), Some(&(GENERATION.name, OFFSET)));
        assert_eq!(cursor.end(), SIZE);
        assert_eq!(VARIABLES[0].name, page::VARIABLES[0].name);
    }
}

//! The code of an image, assembled here or compiled from a crate.

/// A name that the image exports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Export {
    pub(crate) name: String,
    /// Which of the declaration's version nodes.
    pub(crate) version: usize,
    /// A weak symbol: a program's own function of that name takes precedence in static
    /// linking.
    pub(crate) weak: bool,
    /// Found only by references that name its version.
    pub(crate) hidden: bool,
    /// Whether it takes the place of the C library's function of its name.
    pub(crate) interpose: bool,
}

/// Code with its unwind tables and constants, at an address.
#[derive(Debug)]
pub(crate) struct Code {
    /// In the order of their addresses, the first at the address itself.
    pub(crate) sections: Vec<Section>,
    /// For each export, in their order, its address and size.
    pub(crate) places: Vec<(u64, u64)>,
}

/// A section of the code.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) name: &'static str,
    pub(crate) address: u64,
    pub(crate) align: u64,
    pub(crate) bytes: Vec<u8>,
}

/// The names of the sections that code may have, in their order.
pub(crate) const UNWIND_HEADER: &str = ".eh_frame_hdr";
pub(crate) const UNWIND: &str = ".eh_frame";
pub(crate) const CONSTANTS: &str = ".rodata";
pub(crate) const TEXT: &str = ".text";

/// The alignment of the code: at least that of each of its sections.
pub(crate) const ALIGN: u64 = 64;

impl Code {
    /// Bytes from its address to its end.
    pub(crate) fn size(&self, address: u64) -> u64 {
        self.sections
            .last()
            .map_or(0, |last| last.address + last.bytes.len() as u64 - address)
    }

    /// The section of that name, if it is there.
    pub(crate) fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }
}

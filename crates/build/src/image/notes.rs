//! The notes: build id and directory.

use crate::declaration::Declaration;
use sha2::{Digest, Sha256};
use vdsokit_vvar::{NOTE_DIRECTORY, NOTE_KERNEL, NOTE_NAME};

/// Bytes of a build id: the length of GNU ld's SHA-1, which some tools expect.
const BUILD_ID: usize = 20;
/// `NT_GNU_BUILD_ID`.
const TYPE_BUILD_ID: u32 = 3;

/// The notes. The build id is still zero: it is a hash of everything else.
pub(super) fn notes(directory: &[u8], kernel: &str) -> Vec<u8> {
    let mut notes = note("GNU", TYPE_BUILD_ID, &[0; BUILD_ID]);
    notes.extend(note(NOTE_NAME, NOTE_DIRECTORY, directory));
    if !kernel.is_empty() {
        notes.extend(note(NOTE_NAME, NOTE_KERNEL, kernel.as_bytes()));
    }
    notes
}

/// The description of the note about the kernel's variables. A declaration in a file goes with its
/// image, and says more; a crate's image goes alone.
pub(super) fn kernel(declaration: &Declaration) -> String {
    let variables = declaration.variables().iter();
    let bound = variables
        .filter(|variable| declaration.functions().is_some() && !variable.kernel.is_empty());
    bound
        .map(|variable| format!("{}\t{}\n", variable.name, variable.kernel))
        .collect()
}

/// The bytes of a note: gABI, "Note Section", with 4-byte alignment as every
/// Linux toolchain has it.
fn note(owner: &str, kind: u32, description: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(12 + owner.len() + 4 + description.len() + 3);
    for number in [owner.len() as u32 + 1, description.len() as u32, kind] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend(owner.bytes());
    bytes.push(0);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend(description);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// The build id of an image in which it is still zero.
pub(super) fn build_id(image: &[u8]) -> [u8; BUILD_ID] {
    let hash: [u8; 32] = Sha256::digest(image).into();
    std::array::from_fn(|index| hash[index])
}

/// Puts the build id into its note.
pub(super) fn set_build_id(image: &mut [u8], id: &[u8; BUILD_ID]) {
    let empty = note("GNU", TYPE_BUILD_ID, &[0; BUILD_ID]);
    let at = image
        .windows(empty.len())
        .position(|window| window == empty);
    if let Some(at) = at {
        let end = at + empty.len();
        image[end - BUILD_ID..end].copy_from_slice(id);
    }
}

//! The machine code of the getters on each architecture, and what the ELF header says of it. To add
//! one, write a file like [`x86_64`], or the encoding of a machine for which [`risc`] has the
//! functions, and add it to [`target`]. [`Architecture`] has names and page sizes.

mod aarch64;
mod i386;
mod loongarch64;
mod risc;
mod riscv64;
mod x86;
mod x86_64;

use object::elf;
use vdsokit_link::Architecture;
use vdsokit_vvar::header;
use vdsokit_vvar::layout::Shape;
use vdsokit_vvar::scalar::ScalarType;

/// The architecture of an image, if images can be built for it.
pub(crate) fn of_image(image: &vdsokit_elf::Image<'_>) -> Option<Architecture> {
    Architecture::ALL
        .into_iter()
        .find(|arch| image.header().machine == arch.abi().machine)
}

/// The machine code and the ELF header of an architecture's images.
pub(crate) fn target(arch: Architecture) -> &'static Target {
    match arch {
        Architecture::X86_64 => &x86_64::TARGET,
        Architecture::Aarch64 => &aarch64::TARGET,
        Architecture::Riscv64 => &riscv64::TARGET,
        Architecture::Loongarch64 => &loongarch64::TARGET,
        Architecture::I386 => &i386::TARGET,
    }
}

/// The getters of an architecture.
pub(crate) struct Target {
    /// `e_flags`.
    pub(crate) flags: elf::FileFlags,
    /// Functions begin at multiples of this.
    pub(crate) function_align: usize,
    /// Bytes that trap, for the gaps between functions.
    pub(crate) filler: &'static [u8],
    /// The unwind rules that hold at every instruction of a function that moves no stack
    /// pointer and saves no register.
    pub(crate) unwind: Unwind,
    /// Appends the code of a function that will lie at `address`; the vvar pages lie at
    /// `pages`. Its length does not depend on the two addresses.
    pub(crate) emit: fn(code: &mut Vec<u8>, address: u64, pages: u64, getter: &Getter) -> Emitted,
}

/// What unwind tables say about a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Emitted {
    /// It moves no stack pointer.
    Leaf,
    /// From `start` to `end`, in bytes from its beginning, the stack pointer is `bytes`
    /// lower.
    Frame {
        /// The end of the instruction that lowers it.
        start: u8,
        /// The end of the instruction that raises it.
        end: u8,
        /// Fewer than 128.
        bytes: u8,
        /// The caller's register that it saves there.
        saved: Option<Saved>,
    },
}

/// A register of the caller's in a frame. It has its value again before the frame ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Saved {
    /// The end of the instruction that saves it.
    pub(crate) at: u8,
    /// Its number.
    pub(crate) register: u8,
    /// How far it lies below the frame address, in units of [`Unwind::data_alignment`].
    pub(crate) below: u8,
}

/// The architecture's part of the Common Information Entry, in DWARF's numbers.
pub(crate) struct Unwind {
    /// The column of the return address.
    pub(crate) return_address: u8,
    /// The unit of distances from the frame address, from -64 to -1.
    pub(crate) data_alignment: i8,
    /// `DW_CFA` instructions.
    pub(crate) initial: &'static [u8],
    /// The offset of the frame address from the stack pointer, as `initial` has it.
    pub(crate) frame_offset: u8,
}

/// A function that reads from the vvar pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Getter {
    /// `TYPE f(void)`: the scalar at this offset.
    Scalar {
        /// Its type.
        ty: ScalarType,
        /// Where it lies, from the start of the pages.
        offset: usize,
    },
    /// `uint32_t f(void *out)`: copies a value out of the latch at this offset, exactly
    /// `size` bytes, and returns the state that the header had before.
    Latch {
        /// Bytes of the value.
        size: usize,
        /// Where the latch begins, from the start of the pages.
        offset: usize,
    },
    /// `uint32_t f(void)`: the condition of the values, by the table in
    /// [`vdsokit_vvar::header`] without the comparison of boots. If the system call that
    /// reads the clock fails, the values are reported as stale.
    Condition,
}

/// `CLOCK_BOOTTIME` (linux/time.h).
const CLOCK_BOOTTIME: u32 = 7;
const NANOSECONDS: u32 = 1_000_000_000;

impl Getter {
    /// `uint32_t PREFIX_state(void)`.
    pub(crate) const STATE: Self = Self::Scalar {
        ty: ScalarType::U32,
        offset: header::STATE_OFFSET,
    };
    /// `uint64_t PREFIX_updated(void)`.
    pub(crate) const UPDATED: Self = Self::Scalar {
        ty: ScalarType::U64,
        offset: header::UPDATED_OFFSET,
    };
    /// `uint64_t PREFIX_stale_after(void)`.
    pub(crate) const STALE_AFTER: Self = Self::Scalar {
        ty: ScalarType::U64,
        offset: header::STALE_AFTER_OFFSET,
    };

    /// The function of a variable that lies at `offset`.
    pub(crate) fn of(shape: &Shape<'_>, offset: usize) -> Self {
        match *shape {
            Shape::Plain(vdsokit_vvar::layout::Type::Scalar(ty)) => Self::Scalar { ty, offset },
            _ => Self::Latch {
                size: shape.size(),
                offset,
            },
        }
    }
}

/// The most words of a latched value that straight-line code copies; longer values are
/// copied by a loop.
const UNROLLED: usize = 16;

/// The widths in bytes, widest first, of the stores of a copy's last, partial word. The word
/// is loaded whole, as everything in a latch is, and stored in pieces so that no byte after
/// the caller's value is written.
fn tail(size: usize) -> impl Iterator<Item = usize> {
    [4, 2, 1].into_iter().filter(move |piece| size & piece != 0)
}

//! The unwind information of an image, evaluated: DWARF 5, section 6.4, by gimli.

use super::tracee::Registers;
use gimli::{
    BaseAddresses, CfaRule, EhFrame, EhFrameHdr, LittleEndian, Register, RegisterRule,
    UnwindContext, UnwindSection, X86_64,
};
use vdsokit_elf::Image;

/// Program header type of .eh_frame_hdr (Linux Standard Base, "Exception Frames").
const PT_GNU_EH_FRAME: u32 = 0x6474_e550;

/// Registers that a function has to restore, in the order of [`Registers::kept`].
const KEPT: [Register; 6] = [
    X86_64::RBX,
    X86_64::RBP,
    X86_64::R12,
    X86_64::R13,
    X86_64::R14,
    X86_64::R15,
];

/// An image's text segment, as it lies in memory.
pub(crate) struct Frames {
    bytes: Vec<u8>,
    /// The address of an image's address 0.
    base: u64,
    start: u64,
    /// Where .eh_frame_hdr lies in the bytes.
    header: usize,
}

impl Frames {
    pub(crate) fn new(file: &[u8], base: u64) -> Self {
        let image = Image::parse(file).unwrap();
        let text = image.segments().find(|segment| segment.is_load()).unwrap();
        let header = image
            .segments()
            .find(|segment| segment.kind == PT_GNU_EH_FRAME)
            .unwrap();
        let range = text.offset as usize..(text.offset + text.filesz) as usize;
        Self {
            bytes: file[range].to_vec(),
            base,
            start: base.wrapping_add(text.vaddr),
            header: (header.offset - text.offset) as usize,
        }
    }

    pub(crate) fn base(&self) -> u64 {
        self.base
    }

    pub(crate) fn contains(&self, pc: u64) -> bool {
        pc.wrapping_sub(self.start) < self.bytes.len() as u64
    }

    /// The registers of the caller of the function at `pc`.
    pub(crate) fn caller(
        &self,
        pc: u64,
        frame: &Registers,
        read: impl Fn(u64) -> u64,
    ) -> Result<Registers, gimli::Error> {
        let header_at = self.start + self.header as u64;
        let bases = BaseAddresses::default().set_eh_frame_hdr(header_at);
        let header = EhFrameHdr::new(&self.bytes[self.header..], LittleEndian).parse(&bases, 8)?;
        let gimli::Pointer::Direct(frames_at) = header.eh_frame_ptr() else {
            return Err(gimli::Error::UnsupportedPointerEncoding(
                gimli::DW_EH_PE_indirect,
            ));
        };
        let bases = bases.set_eh_frame(frames_at);
        let section = EhFrame::new(
            &self.bytes[(frames_at - self.start) as usize..],
            LittleEndian,
        );
        let table = header.table().ok_or(gimli::Error::NoUnwindInfoForAddress)?;
        let mut context = UnwindContext::new();
        let row = table.unwind_info_for_address(
            &section,
            &bases,
            &mut context,
            pc,
            EhFrame::cie_from_offset,
        )?;
        let value = |register| match register {
            X86_64::RSP => frame.sp,
            _ => {
                frame.kept[KEPT
                    .iter()
                    .position(|one| *one == register)
                    .expect("a kept one")]
            }
        };
        let CfaRule::RegisterAndOffset { register, offset } = *row.cfa() else {
            panic!("an expression for the frame's address");
        };
        let cfa = value(register).wrapping_add_signed(offset);
        let restored = |register: Register| match row.register(register) {
            None => value(register),
            Some(RegisterRule::SameValue | RegisterRule::Undefined) => value(register),
            Some(RegisterRule::Offset(offset)) => read(cfa.wrapping_add_signed(offset)),
            Some(rule) => panic!("{rule:?} for a register"),
        };
        let Some(RegisterRule::Offset(offset)) = row.register(X86_64::RA) else {
            panic!("no rule for the return address");
        };
        Ok(Registers {
            pc: read(cfa.wrapping_add_signed(offset)),
            sp: cfa,
            kept: KEPT.map(restored),
        })
    }
}

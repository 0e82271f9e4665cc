//! The numbers of the ELF format that a vDSO image uses, each in this one place.
//!
//! Sources: System V ABI (gABI) chapters 4 and 5; LSB Core, "Symbol Versioning"; Linux 6.18
//! `include/uapi/linux/elf.h` and `elf-em.h`; glibc 2.36 `elf/elf.h`.
#![allow(
    missing_docs,
    reason = "each constant is the format's own name and is documented there"
)]

pub const PT_LOAD: u32 = 1;
pub const PT_DYNAMIC: u32 = 2;
pub const PT_INTERP: u32 = 3;
pub const PT_NOTE: u32 = 4;
pub const PT_PHDR: u32 = 6;
pub const PT_TLS: u32 = 7;
pub const PT_GNU_EH_FRAME: u32 = 0x6474_e550;
pub const PT_GNU_STACK: u32 = 0x6474_e551;
pub const PT_GNU_RELRO: u32 = 0x6474_e552;
pub const PT_GNU_PROPERTY: u32 = 0x6474_e553;

pub const PF_X: u32 = 1;
pub const PF_W: u32 = 2;
pub const PF_R: u32 = 4;

pub const DT_NULL: u64 = 0;
pub const DT_NEEDED: u64 = 1;
pub const DT_PLTRELSZ: u64 = 2;
pub const DT_PLTGOT: u64 = 3;
pub const DT_HASH: u64 = 4;
pub const DT_STRTAB: u64 = 5;
pub const DT_SYMTAB: u64 = 6;
pub const DT_RELA: u64 = 7;
pub const DT_STRSZ: u64 = 10;
pub const DT_SYMENT: u64 = 11;
pub const DT_INIT: u64 = 12;
pub const DT_FINI: u64 = 13;
pub const DT_SONAME: u64 = 14;
pub const DT_REL: u64 = 17;
pub const DT_TEXTREL: u64 = 22;
pub const DT_JMPREL: u64 = 23;
pub const DT_INIT_ARRAY: u64 = 25;
pub const DT_FINI_ARRAY: u64 = 26;
pub const DT_RELR: u64 = 36;
pub const DT_GNU_HASH: u64 = 0x6fff_fef5;
pub const DT_VERSYM: u64 = 0x6fff_fff0;
pub const DT_VERDEF: u64 = 0x6fff_fffc;
pub const DT_VERDEFNUM: u64 = 0x6fff_fffd;
pub const DT_VERNEED: u64 = 0x6fff_fffe;

pub const SHT_RELA: u32 = 4;
pub const SHT_NOBITS: u32 = 8;
pub const SHT_REL: u32 = 9;
pub const SHT_DYNSYM: u32 = 11;
pub const SHT_RELR: u32 = 19;
pub const SHF_ALLOC: u64 = 2;

pub const SHN_UNDEF: u16 = 0;
pub const SHN_ABS: u16 = 0xfff1;

pub const STB_LOCAL: u8 = 0;
pub const STB_GLOBAL: u8 = 1;
pub const STB_WEAK: u8 = 2;
pub const STB_GNU_UNIQUE: u8 = 10;

pub const STT_NOTYPE: u8 = 0;
pub const STT_OBJECT: u8 = 1;
pub const STT_FUNC: u8 = 2;
pub const STT_SECTION: u8 = 3;
pub const STT_FILE: u8 = 4;
pub const STT_COMMON: u8 = 5;
pub const STT_TLS: u8 = 6;
pub const STT_GNU_IFUNC: u8 = 10;

/// The version definition that names the file itself.
pub const VER_FLG_BASE: u16 = 1;
/// Set in a symbol's version index: not the default version of its name.
pub const VERSYM_HIDDEN: u16 = 0x8000;
/// The version index of a local symbol.
pub const VER_NDX_LOCAL: u16 = 0;
/// The version index of a symbol without version.
pub const VER_NDX_GLOBAL: u16 = 1;

pub const NT_GNU_BUILD_ID: u32 = 3;
/// In a core dump: the auxiliary vector.
pub const NT_AUXV: u32 = 6;

pub const AT_NULL: u64 = 0;
/// In the auxiliary vector: the address of the vDSO's ELF header.
pub const AT_SYSINFO_EHDR: u64 = 33;

/// A relocatable object file.
pub const ET_REL: u16 = 1;
pub const ET_DYN: u16 = 3;
pub const ET_CORE: u16 = 4;
/// `e_phnum` when the number of program headers stands in section header 0.
pub const PN_XNUM: u16 = 0xffff;

pub const EM_386: u16 = 3;
pub const EM_MIPS: u16 = 8;
pub const EM_PARISC: u16 = 15;
pub const EM_SPARC32PLUS: u16 = 18;
pub const EM_PPC: u16 = 20;
pub const EM_PPC64: u16 = 21;
pub const EM_S390: u16 = 22;
pub const EM_ARM: u16 = 40;
pub const EM_SH: u16 = 42;
pub const EM_SPARCV9: u16 = 43;
pub const EM_IA_64: u16 = 50;
pub const EM_X86_64: u16 = 62;
pub const EM_BLACKFIN: u16 = 106;
pub const EM_AARCH64: u16 = 183;
pub const EM_RISCV: u16 = 243;
pub const EM_CSKY: u16 = 252;
pub const EM_LOONGARCH: u16 = 258;
pub const EM_ALPHA: u16 = 0x9026;

/// In `e_flags` of a MIPS image: the n32 ABI.
pub const EF_MIPS_ABI2: u32 = 0x20;
/// In `e_flags` of a PowerPC64 image: 2 for ELFv2; 0 or 1 for the ABI with descriptors.
pub const EF_PPC64_ABI: u32 = 3;

//! The architectures and ABIs for which Linux has, or had, a vDSO or something like one.
//!
//! The table is data that code uses ([`of`], [`named`], [`current`]) and that programs print.
//! Where vdso(7) and the kernel's sources disagree, the row follows the sources and mentions it.

mod functions;
mod table;

use crate::constants::{EF_MIPS_ABI2, EM_MIPS};
use crate::data::{Class, Order};
use crate::image::{Header, Image};
use crate::symbol::Kind;
use crate::text::Text;

pub use table::ALL;

/// The system call that a function of a vDSO replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// `clock_gettime(2)` with the ABI's own `struct timespec`.
    ClockGettime,
    /// `clock_gettime64(2)` of a 32-bit ABI: 64-bit seconds.
    ClockGettime64,
    /// `clock_getres(2)`.
    ClockGetres,
    /// `gettimeofday(2)`.
    Gettimeofday,
    /// `time(2)`.
    Time,
    /// `getcpu(2)`.
    Getcpu,
    /// `getrandom(2)` from a state that the caller keeps.
    Getrandom,
    /// Returning from a signal handler: the kernel and debuggers use it.
    Signal,
    /// Another one; see the name.
    Other,
}

/// A function of a vDSO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// The symbol's name.
    pub name: &'static str,
    /// The symbol's version.
    pub version: &'static str,
    /// The call that it replaces.
    pub call: Call,
    /// The first Linux with it, where there is a source for it.
    pub since: Option<&'static str>,
    /// The first Linux from which it was removed.
    pub until: Option<&'static str>,
}

impl Function {
    const fn new(name: &'static str, version: &'static str, call: Call) -> Self {
        Self {
            name,
            version,
            call,
            since: None,
            until: None,
        }
    }

    const fn since(mut self, linux: &'static str) -> Self {
        self.since = Some(linux);
        self
    }

    const fn until(mut self, linux: &'static str) -> Self {
        self.until = Some(linux);
        self
    }
}

/// A user ABI and its vDSO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abi {
    /// Its name, in vdso(7) if listed there.
    pub name: &'static str,
    /// `e_machine` of its programs.
    pub machine: u16,
    /// The size of its addresses.
    pub class: Class,
    /// Its byte order, where it has only one.
    pub order: Option<Order>,
    /// The vDSO's soname; `None` where there is no ELF image.
    pub soname: Option<&'static str>,
    /// The largest page of a kernel for it, in bytes: the alignment that an image needs to be
    /// mapped anywhere.
    pub max_page: u64,
    /// The functions of the vDSO.
    pub functions: &'static [Function],
    /// Peculiarities.
    pub quirks: &'static [&'static str],
    /// The sources of the row, and what they did not confirm.
    pub source: &'static str,
}

impl Abi {
    /// The function for a call.
    pub fn function(&self, call: Call) -> Option<&'static Function> {
        self.functions.iter().find(|function| function.call == call)
    }

    /// The exports of an image that this row lacks: functions that are newer than the table. Weak
    /// names without the prefix of the ABI's functions are aliases, not functions of their own.
    pub fn unknown<'i>(
        &'static self,
        image: &'i Image<'_>,
    ) -> impl Iterator<Item = Text<'i>> + use<'i> {
        let is_known = |name: &str| {
            self.functions.iter().any(|function| {
                let alias = ["__vdso_", "__kernel_"]
                    .into_iter()
                    .find_map(|prefix| function.name.strip_prefix(prefix));
                function.name == name || alias == Some(name)
            })
        };
        image
            .symbols()
            .filter(|symbol| {
                symbol.is_export() && matches!(symbol.kind, Kind::Function | Kind::NoType)
            })
            .map(|symbol| symbol.name())
            .filter(move |name| !name.to_str().is_some_and(is_known))
    }

    fn matches(&self, header: &Header) -> bool {
        self.machine == header.machine
            && self.class == header.class
            && self.order.is_none_or(|order| order == header.order)
            && (self.machine != EM_MIPS
                || self.class == Class::Elf64
                || (self.name == "mips n32") == (header.flags & EF_MIPS_ABI2 != 0))
    }
}

/// The ABI of an image.
pub fn of(header: &Header) -> Option<&'static Abi> {
    ALL.iter().find(|abi| abi.matches(header))
}

/// The ABI with this name.
pub fn named(name: &str) -> Option<&'static Abi> {
    ALL.iter().find(|abi| abi.name == name)
}

/// The ABI that this was compiled for.
pub const fn current() -> Option<&'static Abi> {
    const FOUND: Option<&Abi> = row(CURRENT.as_bytes());
    FOUND
}

/// The function of [`current`] for a call.
#[cfg(feature = "std")]
pub(crate) const fn current_function(call: Call) -> Option<&'static Function> {
    let Some(abi) = current() else {
        return None;
    };
    let mut index = 0;
    while index < abi.functions.len() {
        if abi.functions[index].call as u8 == call as u8 {
            return Some(&abi.functions[index]);
        }
        index += 1;
    }
    None
}

/// [`named`] at compile time.
const fn row(name: &[u8]) -> Option<&'static Abi> {
    let mut index = 0;
    while index < ALL.len() {
        let other = ALL[index].name.as_bytes();
        let mut same = 0;
        while same < name.len() && same < other.len() && name[same] == other[same] {
            same += 1;
        }
        if same == name.len() && same == other.len() {
            return Some(&ALL[index]);
        }
        index += 1;
    }
    None
}

const CURRENT: &str = if cfg!(all(target_arch = "x86_64", target_pointer_width = "64")) {
    "x86-64"
} else if cfg!(target_arch = "x86_64") {
    "x32"
} else if cfg!(target_arch = "x86") {
    "i386"
} else if cfg!(target_arch = "aarch64") {
    "aarch64"
} else if cfg!(target_arch = "arm") {
    "arm"
} else if cfg!(target_arch = "riscv64") {
    "riscv64"
} else if cfg!(target_arch = "riscv32") {
    "riscv32"
} else if cfg!(target_arch = "loongarch64") {
    "loongarch64"
} else if cfg!(target_arch = "s390x") {
    "s390x"
} else if cfg!(all(target_arch = "powerpc64", target_endian = "little")) {
    "ppc64le"
} else if cfg!(target_arch = "powerpc64") {
    "ppc64"
} else if cfg!(target_arch = "powerpc") {
    "ppc32"
} else if cfg!(any(target_arch = "mips64", target_arch = "mips64r6")) {
    "mips n64"
} else if cfg!(any(target_arch = "mips", target_arch = "mips32r6")) {
    "mips o32"
} else if cfg!(target_arch = "sparc64") {
    "sparc64"
} else {
    "unknown"
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_versions_look_like_versions() {
        for (index, abi) in ALL.iter().enumerate() {
            assert!(
                ALL[..index].iter().all(|other| other.name != abi.name),
                "{}",
                abi.name
            );
            assert!(abi.max_page.is_power_of_two(), "{}", abi.name);
            assert!(!abi.source.is_empty(), "{}", abi.name);
            assert_eq!(
                abi.soname.is_none(),
                abi.functions.is_empty(),
                "{}",
                abi.name
            );
            for function in abi.functions {
                assert!(function.version.starts_with("LINUX_"), "{}", function.name);
            }
        }
    }

    #[test]
    fn each_function_is_found_by_its_call_and_each_row_by_its_name() {
        for abi in ALL {
            assert_eq!(named(abi.name), Some(abi), "{}", abi.name);
            for function in abi.functions {
                let found = abi.function(function.call).expect("a function");
                assert_eq!(found.call, function.call, "{}", abi.name);
            }
        }
        assert_eq!(named("x86"), None);
        assert_eq!(named(""), None);
        let abi = current().expect("a row for this architecture");
        for call in [
            Call::ClockGettime,
            Call::ClockGettime64,
            Call::ClockGetres,
            Call::Gettimeofday,
            Call::Time,
            Call::Getcpu,
            Call::Getrandom,
        ] {
            assert_eq!(current_function(call), abi.function(call), "{call:?}");
        }
    }

    #[test]
    fn a_row_is_found_by_its_whole_name() {
        for abi in ALL {
            let found = row(abi.name.as_bytes());
            assert!(found.is_some_and(|found| found == abi), "{}", abi.name);
        }
        assert!(row(b"x86").is_none() && row(b"x86-640").is_none() && row(b"").is_none());
    }

    #[test]
    fn an_image_of_each_row_leads_back_to_it() {
        for abi in ALL {
            let mut header = Header {
                class: abi.class,
                order: abi.order.unwrap_or(Order::Little),
                kind: 3,
                machine: abi.machine,
                flags: if abi.name == "mips n32" {
                    EF_MIPS_ABI2
                } else {
                    0
                },
                entry: 0,
                phoff: 0,
                phentsize: 0,
                phnum: 0,
                shoff: 0,
                shentsize: 0,
                shnum: 0,
                shstrndx: 0,
            };
            assert_eq!(of(&header).map(|found| found.name), Some(abi.name));
            // The bit means something else on other machines.
            if abi.machine != EM_MIPS {
                header.flags = EF_MIPS_ABI2;
                assert_eq!(of(&header).map(|found| found.name), Some(abi.name));
            }
        }
    }
}

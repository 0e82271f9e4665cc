//! From a return address to the name of the function that contains it, and to that of its caller.
//!
//! A wrapper sees the function that calls the vDSO. In most programs that is the C library's
//! `clock_gettime`, which says nothing about the program. So for callers in a C library the reader
//! computes, from its unwind tables, where on the stack the next return address lies, and wrappers
//! count for that one.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::fmt::{self, Display};
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use gimli::{BaseAddresses, CfaRule, EhFrame, LittleEndian, UnwindContext, UnwindSection, X86_64};
use object::elf::FileHeader64;
use object::read::elf::{ElfFile64, FileHeader, ProgramHeader};
use object::{Endianness, Object, ObjectSection, ObjectSymbol, ReadCache, SymbolKind};
use serde::Serialize;

use crate::output;
use vdsokit_trace::buffer::{Caller, NAME};

/// A place in a program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub(crate) struct Site {
    /// The function, where the file has a symbol for it.
    symbol: Option<String>,
    /// How many bytes behind the start of that function the call returns to; without a symbol,
    /// behind the start of the image.
    offset: Option<u64>,
    /// The file that is mapped there.
    object: Option<PathBuf>,
    /// The address in the process.
    address: u64,
}

impl Site {
    /// The function without the place in it, which is what callers are counted by.
    pub(crate) fn function(&self) -> Site {
        match self.symbol {
            Some(_) => Site {
                offset: None,
                address: 0,
                ..self.clone()
            },
            None => self.clone(),
        }
    }
}

impl Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let object = self.object.as_deref().map(|object| {
            let name = object.file_name().map_or(object, Path::new);
            output::path(name)
        });
        match (&self.symbol, self.offset, object) {
            (Some(symbol), offset, object) => {
                f.write_str(&output::escaped(symbol))?;
                if let Some(offset) = offset {
                    write!(f, "+{offset:#x}")?;
                }
                object.map_or(Ok(()), |object| write!(f, " ({object})"))
            }
            (None, Some(offset), Some(object)) => write!(f, "{object}+{offset:#x}"),
            _ => write!(f, "{:#x}", self.address),
        }
    }
}

/// The callers that were seen, by the numbers of their entries.
#[derive(Debug)]
pub(crate) struct Callers {
    /// The inode of the shared memory, by which a traced process is known.
    inode: u64,
    /// The files that callers lie in, by device and inode.
    modules: HashMap<(u64, u64), Option<Rc<Module>>>,
    sites: HashMap<usize, Place>,
}

/// Where a caller lies.
#[derive(Clone, Debug)]
struct Place {
    address: u64,
    object: Option<PathBuf>,
    /// The file, and the address in it as it was linked.
    module: Option<(Rc<Module>, u64)>,
}

impl Callers {
    pub(crate) fn new(inode: u64) -> Callers {
        Callers {
            inode,
            modules: HashMap::new(),
            sites: HashMap::new(),
        }
    }

    /// Looks at the process of a new caller, while it waits. Returns how many bytes above the return
    /// address that of the caller's own caller lies, or 0 if calls are to be counted for the caller
    /// itself.
    pub(crate) fn add(&mut self, caller: &Caller) -> u32 {
        let place = self.locate(caller);
        let skip = place.module.as_ref().map_or(0, |(module, address)| {
            // The call ends where the address is, and may be the last instruction of its function.
            module.skip(address.wrapping_sub(1)).unwrap_or(0)
        });
        self.sites.insert(caller.entry, place);
        skip
    }

    /// The caller with this number.
    pub(crate) fn site(&self, entry: usize) -> Option<Site> {
        let place = self.sites.get(&entry)?;
        let mut site = Site {
            address: place.address,
            object: place.object.clone(),
            ..Site::default()
        };
        if let Some((module, address)) = &place.module {
            let found = module.symbol(address.wrapping_sub(1));
            site.symbol = found.map(|symbol| demangled(&symbol.name));
            let start = found.map_or(0, |symbol| symbol.address);
            site.offset = Some(address.wrapping_sub(start));
        }
        Some(site)
    }

    fn locate(&mut self, caller: &Caller) -> Place {
        let mut place = Place {
            address: caller.address,
            object: None,
            module: None,
        };
        let (pid, address) = (caller.pid, caller.address);
        let Ok(maps) = fs::read_to_string(format!("/proc/{pid}/maps")) else {
            return place;
        };
        // The process's own number may be another one's here (pid_namespaces(7)).
        if !is_traced(&maps, self.inode) {
            return place;
        }
        let Some(mapping) = maps.lines().filter_map(Mapping::parse).find(|mapping| {
            (mapping.start..mapping.end).contains(&address) && !mapping.path.is_empty()
        }) else {
            return place;
        };
        place.object = Some(PathBuf::from(mapping.path));
        place.module = self.module(pid, &mapping).and_then(|module| {
            let offset = address - mapping.start + mapping.offset;
            let linked = module.linked(offset)?;
            Some((module, linked))
        });
        place
    }

    fn module(&mut self, pid: u32, mapping: &Mapping<'_>) -> Option<Rc<Module>> {
        // The path may lead elsewhere by now; the first of these takes rights that the second doesn't.
        let (start, end) = (mapping.start, mapping.end);
        let exact = File::open(format!("/proc/{pid}/map_files/{start:x}-{end:x}")).ok();
        let file = exact.or_else(|| {
            let path = mapping.path.strip_prefix('/')?;
            File::open(format!("/proc/{pid}/root/{path}")).ok()
        })?;
        let metadata = file.metadata().ok()?;
        if !metadata.is_file() || metadata.ino() != mapping.inode {
            return None;
        }
        let key = (metadata.dev(), metadata.ino());
        let name = Path::new(mapping.path).file_name();
        let is_library = name
            .and_then(|name| name.to_str())
            .is_some_and(is_c_library);
        let module = self.modules.entry(key).or_insert_with(|| {
            let module = Module::open(file, is_library);
            module.map(Rc::new)
        });
        module.clone()
    }
}

/// Whether a process with these mappings counts in the memory with the inode `inode`.
pub(crate) fn is_traced(maps: &str, inode: u64) -> bool {
    maps.lines()
        .filter_map(Mapping::parse)
        .any(|mapping| mapping.inode == inode && mapping.path.contains(NAME))
}

/// A line of `/proc/PID/maps` (proc_pid_maps(5)).
struct Mapping<'a> {
    start: u64,
    end: u64,
    offset: u64,
    inode: u64,
    path: &'a str,
}

impl Mapping<'_> {
    fn parse(line: &str) -> Option<Mapping<'_>> {
        let mut fields = line.splitn(6, ' ');
        let (start, end) = fields.next()?.split_once('-')?;
        let hex = |text| u64::from_str_radix(text, 16).ok();
        Some(Mapping {
            start: hex(start)?,
            end: hex(end)?,
            offset: hex(fields.nth(1)?)?,
            inode: fields.nth(1)?.parse().ok()?,
            path: fields.next().unwrap_or("").trim_start(),
        })
    }
}

/// Whether a file of this name is a C library.
fn is_c_library(name: &str) -> bool {
    name == "libc.so"
        || name.starts_with("libc.so.")
        || name.starts_with("libc-2.")
        || name.starts_with("ld-musl-")
}

/// Functions of C libraries that read a clock, the processor or random bytes for their caller, as
/// static programs have them too. Source: glibc 2.36, sysdeps/unix/sysv/linux and its aliases; musl
/// 1.2.3, src/time and src/sched.
const READERS: [&str; 21] = [
    "__clock_getres",
    "__clock_getres64",
    "__clock_gettime",
    "__clock_gettime64",
    "__getcpu",
    "__getrandom",
    "__gettimeofday",
    "__sched_getcpu",
    "__time",
    "__timespec_get",
    "clock",
    "clock_getres",
    "clock_gettime",
    "getcpu",
    "getrandom",
    "gettimeofday",
    "sched_getcpu",
    "time",
    "timespec_get",
    "timespec_getres",
    "__gettimeofday_syscall",
];

/// An executable or a library.
#[derive(Debug)]
struct Module {
    file: File,
    /// Offset in the file, length, and address as linked of each part that is mapped.
    segments: Vec<(u64, u64, u64)>,
    is_c_library: bool,
    /// Whether it is a static program, which contains functions of a C library.
    is_static: bool,
    details: OnceCell<Details>,
}

/// What takes long to read of a large file.
#[derive(Debug, Default)]
struct Details {
    /// Functions by address.
    symbols: Vec<Symbol>,
    /// Where `.eh_frame` lies as linked, and its bytes.
    frames: Option<(u64, Vec<u8>)>,
}

#[derive(Debug)]
struct Symbol {
    address: u64,
    size: u64,
    name: String,
}

impl Module {
    /// `None`: the file is no 64-bit ELF file.
    fn open(file: File, is_c_library: bool) -> Option<Module> {
        let cache = ReadCache::new(&file);
        let header = FileHeader64::<Endianness>::parse(&cache).ok()?;
        let endian = header.endian().ok()?;
        let headers = header.program_headers(endian, &cache).ok()?;
        let has = |kind| headers.iter().any(|header| header.p_type(endian) == kind);
        let is_static = !has(object::elf::PT_INTERP) && header.e_entry(endian) != 0;
        let loads = headers.iter();
        let loads = loads.filter(|load| load.p_type(endian) == object::elf::PT_LOAD);
        let segments = loads.map(|load| {
            (
                load.p_offset(endian),
                load.p_filesz(endian),
                load.p_vaddr(endian),
            )
        });
        let segments = segments.collect();
        drop(cache);
        Some(Module {
            file,
            segments,
            is_c_library,
            is_static,
            details: OnceCell::new(),
        })
    }

    fn details(&self) -> &Details {
        self.details
            .get_or_init(|| Details::read(&self.file).unwrap_or_default())
    }

    /// The address as linked of a byte of the file.
    fn linked(&self, offset: u64) -> Option<u64> {
        let segment = self.segments.iter().find(|(start, length, _)| {
            let offset = offset.checked_sub(*start);
            offset.is_some_and(|offset| offset < *length)
        });
        segment.map(|(start, _, address)| offset - start + address)
    }

    /// The function that contains `address`.
    fn symbol(&self, address: u64) -> Option<&Symbol> {
        let symbols = &self.details().symbols;
        let behind = symbols.partition_point(|symbol| symbol.address <= address);
        let symbol = symbols.get(behind.checked_sub(1)?)?;
        (symbol.size == 0 || address - symbol.address < symbol.size).then_some(symbol)
    }

    /// If the function that contains `address` only reads for its own caller: how far above its return
    /// address from the vDSO that from itself lies. At a call the frame's base (CFA) is the stack
    /// pointer plus a constant, in code without a frame pointer; the return address lies below it.
    ///
    /// The process waits meanwhile, so other files are not read for it.
    fn skip(&self, address: u64) -> Option<u32> {
        if !self.is_c_library && !self.is_static {
            return None;
        }
        let symbol = self.symbol(address);
        let reads = symbol.is_some_and(|symbol| READERS.contains(&symbol.name.as_str()));
        if !self.is_c_library && !reads {
            return None;
        }
        let (at, bytes) = self.details().frames.as_ref()?;
        let section = EhFrame::new(bytes, LittleEndian);
        let bases = BaseAddresses::default().set_eh_frame(*at);
        let mut context = UnwindContext::new();
        let cie = EhFrame::cie_from_offset;
        let row = section.unwind_info_for_address(&bases, &mut context, address, cie);
        match row.ok()?.cfa() {
            CfaRule::RegisterAndOffset { register, offset } if *register == X86_64::RSP => {
                u32::try_from(*offset).ok()
            }
            _ => None,
        }
    }
}

impl Details {
    fn read(file: &File) -> Option<Details> {
        let cache = ReadCache::new(file);
        let elf = ElfFile64::<Endianness, _>::parse(&cache).ok()?;
        let symbols = elf.symbols().chain(elf.dynamic_symbols());
        let mut symbols: Vec<Symbol> = symbols
            .filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.is_definition())
            .filter_map(|symbol| {
                Some(Symbol {
                    address: symbol.address(),
                    size: symbol.size(),
                    name: symbol.name().ok()?.to_owned(),
                })
            })
            .collect();
        // Of several names of one function the shortest: aliases begin with underscores.
        symbols.sort_by(|a, b| {
            let key = |symbol: &Symbol| (symbol.address, symbol.name.len());
            key(a).cmp(&key(b)).then_with(|| a.name.cmp(&b.name))
        });
        symbols.dedup_by_key(|symbol| symbol.address);
        let section = elf.section_by_name(".eh_frame");
        let frames =
            section.and_then(|section| Some((section.address(), section.data().ok()?.to_vec())));
        Some(Details { symbols, frames })
    }
}

/// A symbol as its language writes it.
fn demangled(name: &str) -> String {
    if let Ok(rust) = rustc_demangle::try_demangle(name) {
        return format!("{rust:#}");
    }
    let cpp = cpp_demangle::Symbol::new(name).ok();
    cpp.and_then(|symbol| symbol.demangle().ok())
        .unwrap_or_else(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_maps_with_spaces_in_its_path() {
        let line = "7f00-7f10 r-xp 00001000 fe:01 42                         /a b (deleted)";
        let mapping = Mapping::parse(line).expect("a mapping");
        assert_eq!((mapping.start, mapping.end), (0x7f00, 0x7f10));
        assert_eq!((mapping.offset, mapping.inode), (0x1000, 42));
        assert_eq!(mapping.path, "/a b (deleted)");
        let anonymous = Mapping::parse("1-2 rw-p 00000000 00:00 0 ").expect("a mapping");
        assert_eq!(anonymous.path, "");
        assert!(Mapping::parse("").is_none());
    }

    #[test]
    fn names_are_written_as_their_language_does() {
        assert_eq!(demangled("_ZN2os13javaTimeNanosEv"), "os::javaTimeNanos()");
        assert_eq!(demangled("_RNvC4demo4main"), "demo::main");
        assert_eq!(demangled("uv__hrtime"), "uv__hrtime");
    }

    #[test]
    fn this_test_finds_itself() {
        let file = File::open("/proc/self/exe").expect("this program");
        let module = Module::open(file, false).expect("an ELF file");
        let found = module.details().symbols.iter().find(|symbol| {
            demangled(&symbol.name).ends_with("symbols::tests::this_test_finds_itself")
                && symbol.size > 1
        });
        let this = found.expect("it is not stripped");
        let inside = module.symbol(this.address + 1).expect("a function");
        assert_eq!(inside.name, this.name);
    }
}

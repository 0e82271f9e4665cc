//! The bpf(2) system call: as much of it as a publisher needs.
//!
//! Source: bpf(2) and union bpf_attr in include/uapi/linux/bpf.h of Linux 6.12. The
//! kernel takes a shorter attribute than its own as one that ends in zeros.
#![allow(
    unsafe_code,
    reason = "bpf(2) has no safe wrapper; every call of it is here, behind one that is"
)]

mod objects;

use crate::btf::TypeId;
pub use objects::{detach_links, enable_stats, no_more_objects_than, objects};
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// enum bpf_cmd.
#[derive(Clone, Copy)]
#[repr(i64)]
enum Command {
    MapCreate = 0,
    MapLookup = 1,
    MapUpdate = 2,
    ProgramLoad = 5,
    Pin = 6,
    Get = 7,
    TestRun = 10,
    ProgramNextId = 11,
    MapNextId = 12,
    Info = 15,
    RawTracepointOpen = 17,
    MapFreeze = 22,
    LinkById = 30,
    LinkNextId = 31,
    EnableStats = 32,
    LinkDetach = 34,
}

/// enum bpf_prog_type and enum bpf_attach_type, as far as they go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attach {
    /// Before a function.
    Entry(TypeId),
    /// After a function.
    Exit(TypeId),
    /// At a tracepoint.
    Tracepoint(TypeId),
    /// Nowhere: run by hand.
    ByHand,
}

const TYPE_RAW_TRACEPOINT: u32 = 17;
const TYPE_TRACING: u32 = 26;
const TRACE_RAW_TP: u32 = 23;
const TRACE_FENTRY: u32 = 24;
const TRACE_FEXIT: u32 = 25;
const MAP_ARRAY: u32 = 2;
const MAP_HASH_OF_MAPS: u32 = 13;
const MMAPABLE: u32 = 1 << 10;

/// Helpers that read kernel memory are for programs under a licence compatible with
/// the GPL; these are MIT, and "Dual MIT/GPL" is how the kernel spells that
/// (license_is_gpl_compatible in include/linux/license.h).
const LICENCE: &CStr = c"Dual MIT/GPL";

/// Shown by `bpftool`.
const NAME: [u8; 16] = *b"vdsokit\0\0\0\0\0\0\0\0\0";

#[repr(C)]
#[derive(Default)]
struct MapCreate {
    kind: u32,
    key_size: u32,
    value_size: u32,
    entries: u32,
    flags: u32,
    inner: u32,
    node: u32,
    name: [u8; 16],
}

#[repr(C)]
struct Element {
    map: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Default)]
struct ProgramLoad {
    kind: u32,
    count: u32,
    instructions: u64,
    licence: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    version: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    attach: u32,
    btf: u32,
    function_record: u32,
    functions: u64,
    function_count: u32,
    line_record: u32,
    lines: u64,
    line_count: u32,
    attach_type: u32,
}

#[repr(C)]
struct Object {
    path: u64,
    fd: u32,
    flags: u32,
}

#[repr(C)]
#[derive(Default)]
struct TestRun {
    program: u32,
    result: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    context_size_in: u32,
    context_size_out: u32,
    context_in: u64,
    context_out: u64,
}

#[repr(C)]
struct InfoOf {
    fd: u32,
    size: u32,
    info: u64,
}

/// struct bpf_map_info, up to the part that is used.
#[repr(C)]
#[derive(Default)]
struct MapInfo {
    kind: u32,
    id: u32,
    key_size: u32,
    value_size: u32,
}

/// struct bpf_link_info, up to the part that is used.
#[repr(C)]
#[derive(Default)]
struct LinkInfo {
    kind: u32,
    id: u32,
}

/// struct bpf_prog_info, up to the part that is used.
#[repr(C)]
#[derive(Default)]
struct ProgramInfo {
    skipped: [u64; 24],
    run_time: u64,
    runs: u64,
    missed: u64,
}

/// How often a program ran, and for how long.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Runs {
    /// How often, counted only while [`enable_stats`] lasts.
    pub count: u64,
    /// For how many nanoseconds in all, counted likewise.
    pub nanoseconds: u64,
    /// How often it was not run because it was running on that CPU already.
    pub missed: u64,
}

/// Calls bpf(2).
///
/// # Safety
/// `attribute` is the structure that goes with the command, and every address in it
/// is that of memory which is valid for what the command does with it.
unsafe fn bpf<T>(command: Command, attribute: &mut T) -> io::Result<libc::c_long> {
    // SAFETY: (1) the pointer and the size are those of an exclusive reference; (2)
    // the caller answers for what the structure says.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command as libc::c_long,
            std::ptr::from_mut(attribute),
            size_of::<T>(),
        )
    };
    match result {
        -1 => Err(io::Error::last_os_error()),
        result => Ok(result),
    }
}

/// As [`bpf`], for commands that return a file descriptor.
///
/// # Safety
/// As for [`bpf`], and the command returns a new descriptor.
unsafe fn bpf_fd<T>(command: Command, attribute: &mut T) -> io::Result<OwnedFd> {
    // SAFETY: the caller answers for it.
    let fd = unsafe { bpf(command, attribute) }?;
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made it, and nothing else has its number.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn raw(fd: impl AsFd) -> u32 {
    fd.as_fd().as_raw_fd().cast_unsigned()
}

fn address<T: ?Sized>(memory: &T) -> u64 {
    std::ptr::from_ref(memory).cast::<u8>().expose_provenance() as u64
}

/// An array map of one element, which user space may map.
pub(crate) fn map_create(size: u32) -> io::Result<OwnedFd> {
    let mut attribute = MapCreate {
        kind: MAP_ARRAY,
        key_size: 4,
        value_size: size,
        entries: 1,
        flags: MMAPABLE,
        name: NAME,
        ..MapCreate::default()
    };
    // SAFETY: the structure is the command's and holds no address.
    unsafe { bpf_fd(Command::MapCreate, &mut attribute) }
}

/// A hash map of so many array maps such as `inner`, by numbers of 4 bytes.
pub(crate) fn map_create_of_maps(entries: u32, inner: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut attribute = MapCreate {
        kind: MAP_HASH_OF_MAPS,
        key_size: 4,
        value_size: 4,
        entries,
        inner: raw(inner),
        name: NAME,
        ..MapCreate::default()
    };
    // SAFETY: the structure is the command's and holds no address.
    unsafe { bpf_fd(Command::MapCreate, &mut attribute) }
}

/// Stores a map in a map of maps.
pub(crate) fn map_insert(maps: BorrowedFd<'_>, key: u32, inner: BorrowedFd<'_>) -> io::Result<()> {
    let value = raw(inner);
    let mut attribute = Element {
        map: raw(maps),
        pad: 0,
        key: address(&key),
        value: address(&value),
        flags: 0,
    };
    // SAFETY: a map of maps has a key and a value of 4 bytes each, which live until the call returns.
    // A map of another kind is never given here.
    unsafe { bpf(Command::MapUpdate, &mut attribute) }.map(drop)
}

/// Stores the only element of an array map, whose size `value` has.
pub(crate) fn map_update(map: BorrowedFd<'_>, value: &[u8]) -> io::Result<()> {
    if value.len() != map_size(map)? as usize {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let key = 0_u32;
    let mut attribute = Element {
        map: raw(map),
        pad: 0,
        key: address(&key),
        value: address(value),
        flags: 0,
    };
    // SAFETY: (1) the key has the 4 bytes that the kernel reads for an array map; (2)
    // the value has as many as the map's, which was just asked for; (3) both live
    // until the call returns.
    unsafe { bpf(Command::MapUpdate, &mut attribute) }.map(drop)
}

/// Loads the only element of an array map.
pub(crate) fn map_lookup(map: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    let mut value = vec![0_u8; map_size(map)? as usize];
    let key = 0_u32;
    let mut attribute = Element {
        map: raw(map),
        pad: 0,
        key: address(&key),
        value: value.as_mut_ptr().expose_provenance() as u64,
        flags: 0,
    };
    // SAFETY: (1) as in `map_update`; (2) the kernel writes one value, for which
    // there is room, through a pointer that may be written through.
    unsafe { bpf(Command::MapLookup, &mut attribute) }?;
    Ok(value)
}

/// Forbids user space to write to a map ever again; programs may.
pub(crate) fn map_freeze(map: BorrowedFd<'_>) -> io::Result<()> {
    let mut attribute = Element {
        map: raw(map),
        pad: 0,
        key: 0,
        value: 0,
        flags: 0,
    };
    // SAFETY: the structure begins as the command's does, and holds no address.
    unsafe { bpf(Command::MapFreeze, &mut attribute) }.map(drop)
}

/// The size of a map's values.
pub(crate) fn map_size(map: BorrowedFd<'_>) -> io::Result<u32> {
    let info: MapInfo = info(map)?;
    Ok(info.value_size)
}

/// The number by which bpftool(8) knows a map.
pub(crate) fn map_id(map: BorrowedFd<'_>) -> io::Result<u32> {
    let info: MapInfo = info(map)?;
    Ok(info.id)
}

/// The number by which the kernel knows a link.
pub(crate) fn link_id(link: BorrowedFd<'_>) -> io::Result<u32> {
    let info: LinkInfo = info(link)?;
    Ok(info.id)
}

/// How often a program ran.
pub(crate) fn runs(program: BorrowedFd<'_>) -> io::Result<Runs> {
    let info: ProgramInfo = info(program)?;
    Ok(Runs {
        count: info.runs,
        nanoseconds: info.run_time,
        missed: info.missed,
    })
}

/// A structure that holds nothing but numbers, for any bits.
///
/// # Safety
/// Every bit pattern is a value of the type.
unsafe trait Plain: Default {}
// SAFETY: four integers.
unsafe impl Plain for MapInfo {}
// SAFETY: two integers.
unsafe impl Plain for LinkInfo {}
// SAFETY: integers and an array of them.
unsafe impl Plain for ProgramInfo {}

fn info<T: Plain>(fd: BorrowedFd<'_>) -> io::Result<T> {
    let mut info = T::default();
    let mut attribute = InfoOf {
        fd: raw(fd),
        size: size_of::<T>() as u32,
        info: std::ptr::from_mut(&mut info).expose_provenance() as u64,
    };
    // SAFETY: (1) the kernel writes at most `size` bytes; (2) whatever it writes is a
    // value of the type; (3) zeros, as the type's default has them, ask for nothing
    // to be written elsewhere.
    unsafe { bpf(Command::Info, &mut attribute) }?;
    Ok(info)
}

/// Loads a program. When `log` is given, the verifier writes its reasons there.
pub(crate) fn program_load(
    code: &[[u8; 8]],
    attach: Attach,
    log: Option<&mut [u8]>,
) -> io::Result<OwnedFd> {
    let (kind, attach, attach_type) = match attach {
        Attach::Entry(ty) => (TYPE_TRACING, TRACE_FENTRY, ty),
        Attach::Exit(ty) => (TYPE_TRACING, TRACE_FEXIT, ty),
        Attach::Tracepoint(ty) => (TYPE_TRACING, TRACE_RAW_TP, ty),
        Attach::ByHand => (TYPE_RAW_TRACEPOINT, 0, 0),
    };
    let mut attribute = ProgramLoad {
        kind,
        count: u32::try_from(code.len()).map_err(io::Error::other)?,
        instructions: address(code),
        licence: address(LICENCE),
        name: NAME,
        attach,
        attach_type,
        ..ProgramLoad::default()
    };
    if let Some(log) = log {
        attribute.log_level = 1;
        attribute.log_size = u32::try_from(log.len()).map_err(io::Error::other)?;
        attribute.log = log.as_mut_ptr().expose_provenance() as u64;
    }
    // SAFETY: (1) `count` instructions of eight bytes are at `instructions`; (2) the
    // licence ends in a NUL; (3) the log has the room that is given, and is written
    // through an exclusive reference; (4) all live until the call returns.
    unsafe { bpf_fd(Command::ProgramLoad, &mut attribute) }
}

/// Attaches a program to the hook that it was loaded for, for as long as the
/// returned link lives.
pub(crate) fn attach(program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut attribute = Object {
        path: 0,
        fd: raw(program),
        flags: 0,
    };
    // SAFETY: the command takes a name, which programs with a BTF hook have none of,
    // and a program: the same shape as a path and an object.
    unsafe { bpf_fd(Command::RawTracepointOpen, &mut attribute) }
}

/// Runs a program that is attached nowhere, once, here and now.
pub(crate) fn run(program: BorrowedFd<'_>) -> io::Result<()> {
    // As many arguments as a tracepoint may have, all zero.
    let context = [0_u64; 12];
    let mut attribute = TestRun {
        program: raw(program),
        context_size_in: size_of_val(&context) as u32,
        context_in: address(&context),
        ..TestRun::default()
    };
    // SAFETY: the context has the size that is given and lives until the call returns;
    // the kernel only reads it.
    unsafe { bpf(Command::TestRun, &mut attribute) }.map(drop)
}

/// Gives an object a name in a BPF file system; it lives as long as the name.
pub(crate) fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attribute = Object {
        path: address(path.as_c_str()),
        fd: raw(object),
        flags: 0,
    };
    // SAFETY: the path ends in a NUL and lives until the call returns.
    unsafe { bpf(Command::Pin, &mut attribute) }.map(drop)
}

/// Opens an object by its name.
pub(crate) fn get(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attribute = Object {
        path: address(path.as_c_str()),
        fd: 0,
        flags: 0,
    };
    // SAFETY: as for `pin`.
    unsafe { bpf_fd(Command::Get, &mut attribute) }
}

//! Finding the images.

use super::published::Published;
use super::{ImageView, InspectError, Pages, Role, Target};
use crate::process::{is_kernel_thread, started_with};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use vdsokit_elf::constants::ET_CORE;
use vdsokit_elf::file::{open, read_image, read_open_image};
use vdsokit_elf::process::{Mapping, ProcessError, ProcessVdso};
use vdsokit_elf::{Image, core_dump, process};
use vdsokit_sources::kernel;
use vdsokit_vvar::{NOTE_DIRECTORY, NOTE_NAME};

/// An image's bytes.
#[derive(Clone, Debug)]
pub struct Bytes {
    /// Their address in the process; `None` for a file's.
    pub address: Option<u64>,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// The images that the target has: the one that a process was started with first.
///
/// # Errors
/// [`InspectError`] where there is none, or the target can't be read.
pub fn inspect(target: &Target) -> Result<Vec<ImageView>, InspectError> {
    match target {
        Target::Process(pid) => of_process(*pid),
        Target::File(path) => Ok(vec![of_file(path)?]),
    }
}

/// The bytes of the vDSO that a process was started with or that a core dump holds, as they lie in
/// memory; of an image's file, as they are.
///
/// # Errors
/// As [`inspect`].
pub fn bytes_of(target: &Target) -> Result<Bytes, InspectError> {
    match target {
        Target::Process(pid) => {
            let copy = started(*pid)?.ok_or_else(|| InspectError::NoVdso {
                target: target.clone(),
            })?;
            Ok(Bytes {
                address: Some(copy.address),
                bytes: copy.bytes,
            })
        }
        Target::File(path) => {
            let unreadable = |source| InspectError::Read {
                path: path.clone(),
                source,
            };
            let file = open(path).map_err(unreadable)?;
            if is_core(&file) {
                return core_vdso(path, &file);
            }
            Ok(Bytes {
                address: None,
                bytes: read_open_image(&file).map_err(unreadable)?,
            })
        }
    }
}

/// Whether the file's type, at byte 16 in either byte order, is a core dump's.
fn is_core(file: &File) -> bool {
    let mut start = [0; 18];
    if file.read_exact_at(&mut start, 0).is_err() || !start.starts_with(b"\x7fELF") {
        return false;
    }
    let kind = [start[16], start[17]];
    match start[5] {
        2 => u16::from_be_bytes(kind) == ET_CORE,
        _ => u16::from_le_bytes(kind) == ET_CORE,
    }
}

/// The most bytes of a core dump's vDSO that are read.
const MAX_CORE_VDSO: u64 = 16 << 20;

/// The vDSO in a core dump, of which nothing else is read: a dump may be as large as memory.
fn core_vdso(path: &Path, file: &File) -> Result<Bytes, InspectError> {
    let unreadable = |source| InspectError::Read {
        path: path.to_owned(),
        source,
    };
    let length = file.metadata().map_err(unreadable)?.len();
    let location = core_dump::locate(length, |at, bytes| file.read_exact_at(bytes, at).is_ok());
    let core_dump::Location { address, range } = location.map_err(|reason| InspectError::Core {
        path: path.to_owned(),
        reason,
    })?;
    let mut bytes = vec![0; (range.end - range.start).min(MAX_CORE_VDSO) as usize];
    file.read_exact_at(&mut bytes, range.start)
        .map_err(unreadable)?;
    Ok(Bytes {
        address: Some(address),
        bytes,
    })
}

fn of_file(path: &Path) -> Result<ImageView, InspectError> {
    let copy = bytes_of(&Target::File(path.to_owned()))?;
    let not_an_image = |reason| InspectError::not_an_image(path, &copy.bytes, reason);
    let length = copy.bytes.len() as u64;
    if let Some(address) = copy.address {
        let image = Image::parse_memory(&copy.bytes, address).map_err(not_an_image)?;
        return Ok(ImageView::of(&image, Role::Core, length));
    }
    let image = Image::parse(&copy.bytes).map_err(not_an_image)?;
    let mut view = ImageView::of(&image, Role::File, length);
    view.path = Some(path.display().to_string());
    if let Some(published) = &mut view.published {
        published.read(path);
    }
    Ok(view)
}

/// A copy of the vDSO that a process was started with; `None` where it has none, or unmapped it.
fn started(pid: u32) -> Result<Option<ProcessVdso>, InspectError> {
    let address = match started_with(pid) {
        Ok(address) => address,
        Err(_) if is_kernel_thread(pid) => return Err(InspectError::KernelThread { pid }),
        Err(source) => return Err(InspectError::process(pid)(source)),
    };
    match address.map(|address| process::at(pid, address)) {
        None | Some(Err(ProcessError::NotMapped { .. })) => Ok(None),
        Some(copy) => copy
            .map(Some)
            .map_err(|error| InspectError::of_process(pid, error)),
    }
}

fn of_process(pid: u32) -> Result<Vec<ImageView>, InspectError> {
    let started = started(pid)?;
    let maps = process::mappings(pid).map_err(|error| InspectError::of_process(pid, error))?;
    let mut views = Vec::new();
    if let Some(copy) = &started {
        let role = if copy.mapping.name == "[vdso]" {
            Role::Kernels
        } else {
            Role::InPlaceOfKernels
        };
        views.push(view(pid, copy, role, &maps)?);
    }
    let known = |start: u64| started.as_ref().is_some_and(|copy| copy.address == start);
    for mapping in maps.iter().filter(|mapping| !known(mapping.range.start)) {
        let role = if mapping.name == "[vdso]" {
            Role::Displaced
        } else if is_vdsokit_image(pid, mapping) {
            Role::Library
        } else {
            continue;
        };
        let copy = process::at(pid, mapping.range.start);
        let copy = copy.map_err(|error| InspectError::of_process(pid, error))?;
        views.push(view(pid, &copy, role, &maps)?);
    }
    if views.is_empty() {
        return Err(InspectError::NoVdso {
            target: Target::Process(pid),
        });
    }
    Ok(views)
}

/// The part of a mapping in which headers and notes are expected.
const HEAD: u64 = 64 << 10;

/// Whether a mapping of a file begins with an image that vdsokit built.
fn is_vdsokit_image(pid: u32, mapping: &Mapping) -> bool {
    if !mapping.name.starts_with('/') {
        return false;
    }
    let length = (mapping.range.end - mapping.range.start).min(HEAD);
    let mut bytes = vec![0; length as usize];
    let Ok(memory) = File::open(format!("/proc/{pid}/mem")) else {
        return false;
    };
    // Pages beyond the end of a file can't be read.
    if memory
        .read_exact_at(&mut bytes, mapping.range.start)
        .is_err()
    {
        return false;
    }
    let Ok(image) = Image::parse_memory(&bytes, mapping.range.start) else {
        return false;
    };
    let mut notes = image.notes();
    notes.any(|note| note.kind == NOTE_DIRECTORY && note.name == NOTE_NAME)
}

fn view(
    pid: u32,
    copy: &ProcessVdso,
    role: Role,
    maps: &[Mapping],
) -> Result<ImageView, InspectError> {
    let image = copy.image().map_err(|reason| InspectError::Broken {
        pid,
        address: copy.address,
        reason,
    })?;
    let mut view = ImageView::of(&image, role, copy.bytes.len() as u64);
    if copy.mapping.name == "[vdso]" {
        let vsyscall = maps.iter().filter(|mapping| mapping.name == "[vsyscall]");
        view.data = copy.data.iter().chain(vsyscall).map(Pages::from).collect();
        view.sealed = process::is_sealed(pid).unwrap_or_default();
        return Ok(view);
    }
    // The vvar pages are mapped behind the text: those of the same file, those of the publisher's
    // file where the image was delivered in a memfd, or the kernel's map.
    let (name, end) = (&copy.mapping.name, copy.mapping.range.end);
    let is_delivered = name.starts_with("/memfd:");
    let is_behind = |mapping: &&Mapping| {
        let is_file = mapping.name.starts_with('/') && mapping.name != *name;
        mapping.range.start == end && (mapping.name == BPF_MAP || is_delivered && is_file)
    };
    let behind = maps.iter().find(is_behind);
    let data = maps.iter().filter(|mapping| {
        behind.is_some_and(|behind| behind.range == mapping.range)
            || mapping.name == *name && mapping.range.start >= end
    });
    view.data = data.map(Pages::from).collect();
    view.path = Some(name.clone());
    let file = match behind {
        Some(map) if map.name == BPF_MAP => {
            if let Some(published) = &mut view.published
                && let Some(file) = file_of_map(pid, map, published.layout)
            {
                published.read_map(&file);
            }
            return Ok(view);
        }
        Some(pages) => file_of(pid, pages),
        None => file_of(pid, &copy.mapping),
    };
    if behind.is_some() && view.published.is_none() {
        // A delivered image may lack the directory's note; the publisher's file has it.
        let bytes = read_image(&file).unwrap_or_default();
        view.published = Image::parse(&bytes).ok().as_ref().and_then(Published::of);
    }
    if let Some(published) = &mut view.published {
        published.read(&file);
    }
    Ok(view)
}

/// The name of a BPF map in /proc/PID/maps (kernel/bpf/syscall.c, `bpf_map_new_fd`).
const BPF_MAP: &str = "anon_inode:bpf-map";

/// The file of the vDSO whose map is mapped behind a delivered image. Neither mapping names it: the
/// image is a memfd, and all maps have the inode of anonymous files. Two maps may hold the same
/// values, updated at the same tick, so the page frames are compared; the kernel shows them to
/// processes with CAP_SYS_ADMIN (Documentation/admin-guide/mm/pagemap.rst).
fn file_of_map(pid: u32, map: &Mapping, layout: u64) -> Option<PathBuf> {
    let frame = page_frame(pid, map.range.start)?;
    kernel::files().into_iter().find(|file| {
        let Some(map) = kernel::open(file) else {
            return false;
        };
        let Ok(pages) = map.pages() else {
            return false;
        };
        let header = std::ptr::from_ref(pages.header()).addr() as u64;
        pages.header().layout() == layout && page_frame(std::process::id(), header) == Some(frame)
    })
}

/// The number of the page frame at an address of a process; `None` where there is none, or it is
/// hidden from this process, which reads 0.
fn page_frame(pid: u32, address: u64) -> Option<u64> {
    const PRESENT: u64 = 1 << 63;
    const FRAME: u64 = (1 << 55) - 1;
    let mut entry = [0; 8];
    let page = address / rustix::param::page_size() as u64;
    File::open(format!("/proc/{pid}/pagemap"))
        .and_then(|table| table.read_exact_at(&mut entry, page * 8))
        .ok()?;
    let entry = u64::from_ne_bytes(entry);
    (entry & PRESENT != 0 && entry & FRAME != 0).then_some(entry & FRAME)
}

/// A path to the file of a mapping, which may have been unlinked, or be in another mount namespace:
/// the link in /proc/PID/map_files, or the name as the process sees it where that link can't be
/// followed (it requires CAP_CHECKPOINT_RESTORE).
fn file_of(pid: u32, mapping: &Mapping) -> PathBuf {
    let range = &mapping.range;
    let link = format!("/proc/{pid}/map_files/{:x}-{:x}", range.start, range.end);
    if File::open(&link).is_ok() {
        return link.into();
    }
    in_root(pid, mapping)
}

/// The file by its name as the process sees it.
fn in_root(pid: u32, mapping: &Mapping) -> PathBuf {
    format!("/proc/{pid}/root{}", mapping.name).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::SymbolView;

    #[test]
    fn targets_are_distinguished_by_their_form() {
        assert_eq!("self".parse(), Ok(Target::this()));
        assert_eq!("17".parse(), Ok(Target::Process(17)));
        assert_eq!("./17".parse(), Ok(Target::File("./17".into())));
    }

    #[test]
    fn this_process_has_the_kernels() {
        let views = inspect(&Target::this()).unwrap();
        let view = &views[0];
        assert_eq!(view.role, Role::Kernels);
        assert_eq!(
            view.architecture,
            vdsokit_elf::arch::current().map(|abi| abi.name)
        );
        assert!(view.data.iter().any(|pages| pages.name == "[vvar]"));
        let function = |symbol: &&SymbolView| symbol.name.ends_with("clock_gettime");
        let symbol = view.symbols.iter().find(function).unwrap();
        assert!(symbol.version.is_some() && symbol.size > 0);
        let base = view.base.unwrap();
        assert!((base..base + view.size).contains(&symbol.address));
        assert!(view.published.is_none());
    }

    #[test]
    fn a_copied_image_has_the_build_id_of_the_mapped_one() {
        let copy = bytes_of(&Target::this()).unwrap();
        let image = Image::parse_memory(&copy.bytes, copy.address.unwrap()).unwrap();
        let own = vdsokit_elf::own::image().unwrap();
        assert_eq!(image.build_id(), own.build_id());
    }

    #[test]
    fn a_target_that_is_not_an_image_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "no image").unwrap();
        let target = Target::File(file.path().to_owned());
        assert!(matches!(
            inspect(&target),
            Err(InspectError::NotAnImage { .. })
        ));
        let missing = Target::File("/no/such/file".into());
        assert!(matches!(inspect(&missing), Err(InspectError::Read { .. })));
        let gone = Target::Process(u32::MAX);
        assert!(matches!(inspect(&gone), Err(InspectError::Process { .. })));
    }
}

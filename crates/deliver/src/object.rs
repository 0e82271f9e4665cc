//! A vDSO ready to be delivered: image, vvar pages and links.

use std::ffi::c_int;
use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{MemfdFlags, OFlags, SealFlags};
use rustix::process::{Resource, getrlimit};
use vdsokit_elf::check::{self, Profile};
use vdsokit_elf::constants::{ET_CORE, PF_W, PF_X};
use vdsokit_elf::{Image, Kind, Segment};
use vdsokit_waits::gate::Gate;

use crate::arch::{self, Word};
use crate::error::{Error, ImageError};
use crate::join;
use crate::link::{self, Link};
use crate::proc;
use crate::visit::Place;

/// `e_type` of relocatable object files and of programs with a fixed address (elf(5)).
const ET_REL: u16 = 1;
const ET_EXEC: u16 = 2;

/// The page size of x86-64 and the smallest of every other architecture.
pub(crate) const PAGE: u64 = 4096;

/// An image together with the vvar pages that go behind it.
///
/// The image lies in a sealed memfd, which vanishes with its last descriptor and mapping: nobody
/// can change it once it was checked.
#[derive(Debug)]
pub struct Object {
    /// The first is the image's text.
    sources: Vec<Source>,
    pub(crate) links: Vec<Link>,
    functions: Vec<Function>,
    pub(crate) length: u64,
    /// Where it is to lie; 0: where the kernel likes.
    address: u64,
}

/// A range of a file and its place in the object.
#[derive(Debug)]
pub(crate) struct Source {
    file: File,
    device: u64,
    inode: u64,
    offset: u64,
    /// Bytes from the object's start.
    distance: u64,
    length: u64,
    role: Role,
}

/// How a range of an object is mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Headers and code: private and executable.
    Text,
    /// Vvar pages: shared and read-only.
    Vvar,
    /// Memory of the process's own: private and writable.
    Own,
}

/// An exported function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) version: Option<String>,
    /// Bytes from the object's start.
    pub(crate) distance: u64,
    pub(crate) size: u64,
}

impl Source {
    pub(crate) fn new(
        file: File,
        offset: u64,
        distance: u64,
        length: u64,
        role: Role,
    ) -> io::Result<Source> {
        let metadata = file.metadata()?;
        let (device, inode) = (metadata.dev(), metadata.ino());
        Ok(Source {
            file,
            device,
            inode,
            offset,
            distance,
            length,
            role,
        })
    }

    /// How it is mapped, with `flags` in addition to those of its role.
    pub(crate) fn place(&self, flags: c_int) -> Place<'_> {
        let &Source {
            ref file,
            device,
            inode,
            offset,
            distance,
            length,
            role,
        } = self;
        let (protection, sharing) = match role {
            Role::Text => (libc::PROT_READ | libc::PROT_EXEC, libc::MAP_PRIVATE),
            Role::Vvar => (libc::PROT_READ, libc::MAP_SHARED),
            Role::Own => (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE),
        };
        let flags = flags | sharing;
        Place {
            file,
            device,
            inode,
            offset,
            length,
            distance,
            protection,
            flags,
        }
    }
}

impl Object {
    /// An object of the image in `bytes`, with its vvar pages as they are in the image:
    /// they never change. [`Object::with_vvar`] replaces them by a publisher's.
    ///
    /// # Errors
    /// [`Error::Image`] when the image can't be delivered, [`Error::FileSizeLimit`],
    /// [`Error::NoProc`], or [`Error::System`] when the kernel refuses a memfd.
    pub fn new(bytes: &[u8]) -> Result<Object, Error> {
        let layout = Layout::of(bytes)?;
        let file = image_file(bytes)?;
        let vvar = file
            .try_clone()
            .map_err(Error::system("hand on the image"))?;
        Object::assemble(file, vvar, layout)
    }

    /// An object of an image file whose vvar pages are kept up to date in the file itself.
    ///
    /// # Errors
    /// As [`Object::new`], and when the file can't be read.
    pub fn open(path: &Path) -> Result<Object, Error> {
        let system = || Error::system("read the image");
        let mut file = File::open(path).map_err(system())?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(system())?;
        let layout = Layout::of(&bytes)?;
        // The text comes from a copy: the file may be changed after the check.
        let text = &bytes[..layout.text.min(bytes.len() as u64) as usize];
        Object::assemble(image_file(text)?, file, layout)
    }

    /// An object whose text is in `file` and whose vvar pages are in `vvar`.
    fn assemble(file: File, vvar_file: File, layout: Layout) -> Result<Object, Error> {
        let system = || Error::system("look at the image");
        let vvar = match layout.vvar {
            Some(vvar) => {
                let Stretch {
                    offset,
                    distance,
                    length,
                } = vvar;
                let source = Source::new(vvar_file, offset, distance, length, Role::Vvar);
                Some(source.map_err(system())?)
            }
            None => None,
        };
        let text = Source::new(file, 0, 0, layout.text, Role::Text).map_err(system())?;
        Ok(Object {
            sources: std::iter::once(text).chain(vvar).collect(),
            links: layout.links,
            functions: layout.functions,
            length: layout.length,
            address: 0,
        })
    }

    /// One object of several: a program finds the functions of all of them at
    /// AT_SYSINFO_EHDR, and in `linux-vdso.so.1`. Where two have a function of the same name
    /// and version, the earlier one's is found.
    ///
    /// # Errors
    /// [`Error::System`] when the kernel refuses a memfd, or the tables outgrow an image.
    pub fn join(objects: Vec<Object>) -> Result<Object, Error> {
        let compose = |functions: &[Function], shift| {
            join::compose(functions, shift)
                .map_err(|error| Error::system("join the images")(io::Error::other(error)))
        };
        let (mut sources, mut links, mut functions) = (Vec::new(), Vec::new(), Vec::new());
        let mut length = 0;
        for object in objects {
            let shifted = |function: Function| Function {
                distance: function.distance + length,
                ..function
            };
            functions.extend(object.functions.into_iter().map(shifted));
            let shifted = |link: Link| Link {
                word: link.word + length,
                own: link.own.map(|own| own + length),
                ..link
            };
            links.extend(object.links.into_iter().map(shifted));
            let shifted = |source: Source| Source {
                distance: source.distance + length,
                ..source
            };
            sources.extend(object.sources.into_iter().map(shifted));
            length += object.length;
        }
        let shift = (compose(&functions, 0)?.len() as u64).next_multiple_of(PAGE);
        let system = || Error::system("keep the joint image in memory");
        let file = image_file(&compose(&functions, shift)?)?;
        let joint = Source::new(file, 0, 0, shift, Role::Text).map_err(system())?;
        functions
            .iter_mut()
            .for_each(|function| function.distance += shift);
        for link in &mut links {
            link.word += shift;
            link.own = link.own.map(|own| own + shift);
        }
        sources
            .iter_mut()
            .for_each(|source| source.distance += shift);
        sources.insert(0, joint);
        Ok(Object {
            sources,
            links,
            functions,
            length: shift + length,
            address: 0,
        })
    }

    /// Takes the vvar pages from `file` at `offset` (bytes, a multiple of the page size)
    /// instead of from the image. Programs map them shared and read-only.
    ///
    /// `file` may be writable, as a publisher's memfd is: programs get a read-only descriptor of
    /// the same file. Of joined objects the first with vvar pages gets them: set those of each
    /// object before joining.
    ///
    /// # Errors
    /// [`Error::Image`] when the image has no vvar pages, or `file` is too short or `offset`
    /// not at a page.
    pub fn with_vvar(self, file: OwnedFd, offset: u64) -> Result<Object, Error> {
        let system = || Error::system("hand on the vvar pages");
        let file = read_only(file).map_err(system())?;
        let length = file.metadata().map_err(system())?.len();
        self.replace_vvar(file, offset, length)
    }

    /// Takes the vvar pages from a BPF map of `length` bytes that the kernel fills, instead of
    /// from the image. Programs map it shared and read-only.
    ///
    /// The map must be frozen (BPF_MAP_FREEZE, bpf(2)), so that no process can make a mapping
    /// of it writable: Linux maps only descriptors of maps that permit writing, so a read-only
    /// one can't be handed on.
    ///
    /// # Errors
    /// [`Error::Image`] when the image has no vvar pages, or the map is too short.
    pub fn with_map(self, map: OwnedFd, length: u64) -> Result<Object, Error> {
        self.replace_vvar(map.into(), 0, length)
    }

    fn replace_vvar(mut self, file: File, offset: u64, length: u64) -> Result<Object, Error> {
        let system = || Error::system("hand on the vvar pages");
        let vvar = self
            .sources
            .iter_mut()
            .find(|source| source.role == Role::Vvar);
        let vvar = vvar.ok_or(ImageError::NoVvar)?;
        let end = offset.checked_add(vvar.length);
        if !offset.is_multiple_of(PAGE) || end.is_none_or(|end| end > length) {
            return Err(ImageError::VvarOffset {
                offset,
                needed: vvar.length,
                length,
            }
            .into());
        }
        let source = Source::new(file, offset, vvar.distance, vvar.length, Role::Vvar);
        *vvar = source.map_err(system())?;
        Ok(self)
    }

    /// Gives every program a private word, 0 when the program begins, and stores its address in the
    /// image's link called `link`. A child of fork(2) has a copy of its parent's word.
    ///
    /// # Errors
    /// [`Error::Image`] when the image has no such link, [`Error::System`] when the kernel
    /// refuses a memfd.
    pub fn with_word(mut self, link: &str) -> Result<Object, Error> {
        let system = || Error::system("make a word for each program");
        let own = self.length;
        let link = self.links.iter_mut().find(|known| known.name == link);
        link.ok_or(ImageError::NoLink)?.own = Some(own);
        let file = memfd("vdso-word", &[0; PAGE as usize]).map_err(system())?;
        let source = Source::new(file, 0, own, PAGE, Role::Own).map_err(system())?;
        self.sources.push(source);
        self.length += PAGE;
        Ok(self)
    }

    /// Puts a gate behind the object, and the object at an address that is the same in every
    /// process: a filter compares with it.
    pub(crate) fn with_gate(mut self) -> io::Result<(Object, Gate)> {
        let mut code = Gate::code().to_vec();
        code.resize(PAGE as usize, 0);
        let code = memfd("vdso-gate", &code)?;
        let frames = blank("vdso-frames", Gate::LENGTH - PAGE)?;
        let start = self.length;
        self.sources
            .push(Source::new(code, 0, start, PAGE, Role::Text)?);
        let length = Gate::LENGTH - PAGE;
        self.sources
            .push(Source::new(frames, 0, start + PAGE, length, Role::Own)?);
        self.length += Gate::LENGTH;
        self.address = address();
        let gate = Gate::at(self.address + start);
        // A filter compares the upper half of an address with one number.
        debug_assert_eq!(self.address >> 32, (self.address + self.length) >> 32);
        Ok((self, gate))
    }

    /// The values of the links. `functions` are the kernel's, one for each link.
    pub(crate) fn words(&self, functions: impl Iterator<Item = u64>) -> impl Iterator<Item = Word> {
        self.links
            .iter()
            .zip(functions)
            .map(|(link, function)| Word {
                distance: link.word,
                value: link.own.unwrap_or(function),
                is_relative: if link.own.is_some() { u64::MAX } else { 0 },
            })
    }

    /// The links of the object at `address`: pairs of a word's address and its value.
    /// `functions` are the kernel's, one for each link.
    pub(crate) fn linked(
        &self,
        address: u64,
        functions: impl Iterator<Item = u64>,
    ) -> impl Iterator<Item = (u64, u64)> {
        self.words(functions).map(move |word| {
            let value = word.value + (word.is_relative & address);
            (address + word.distance, value)
        })
    }

    /// The function that replaces the kernel's `name`, in bytes from the image's start. Most of
    /// the kernel's functions have two names, with and without `__vdso_`.
    pub(crate) fn function(&self, name: &str) -> Option<u64> {
        let plain = |name: &str| name.strip_prefix("__vdso_").unwrap_or(name).to_owned();
        let found = self.functions.iter().find(|function| function.name == name);
        let found = found.or_else(|| {
            self.functions
                .iter()
                .find(|own| plain(&own.name) == plain(name))
        });
        found.map(|function| function.distance)
    }

    /// All ranges as they are mapped. The first covers the address space of the whole object, and
    /// the others are then mapped over it.
    pub(crate) fn places(&self) -> Vec<Place<'_>> {
        let mut places: Vec<Place<'_>> = self
            .sources
            .iter()
            .map(|source| source.place(libc::MAP_FIXED))
            .collect();
        places[0].flags = libc::MAP_PRIVATE;
        places[0].length = self.length;
        if self.address != 0 {
            places[0].flags |= libc::MAP_FIXED_NOREPLACE;
            places[0].distance = self.address;
        }
        places
    }

    /// The files that the object consists of.
    pub(crate) fn files(&self) -> impl Iterator<Item = &File> {
        self.sources.iter().map(|source| &source.file)
    }

    /// The address space that the object takes in a process, in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }
}

/// A read-only memfd of an image that nobody can change.
fn image_file(bytes: &[u8]) -> Result<File, Error> {
    memfd("vdso", bytes).map_err(|source| match source.raw_os_error() {
        Some(libc::EFBIG) => Error::FileSizeLimit {
            limit: getrlimit(Resource::Fsize).current.unwrap_or(u64::MAX),
            needed: bytes.len() as u64,
        },
        Some(libc::ENOENT) if !proc::is_mounted() => Error::NoProc,
        _ => Error::system("keep the image in memory")(source),
    })
}

/// An address where nothing lies when a program begins, another at each call.
///
/// It is below what the kernel maps from the top down (arch/x86/mm/mmap.c) and above what mmap(2)
/// gives to programs whose stack is unlimited; and within the program's part of the address space
/// of address, memory, leak and thread sanitizers (compiler-rt, sanitizer_common and tsan
/// platform headers).
fn address() -> u64 {
    const START: u64 = 0x7e80_0000_0000;
    const END: u64 = 0x7ef0_0000_0000;
    /// The upper half is the same in all of it.
    const STEP: u64 = 1 << 30;
    let random = RandomState::new().build_hasher().finish();
    let block = START + random % ((END - START) / STEP) * STEP;
    block + (random >> 32) % (STEP / 2 / PAGE) * PAGE
}

/// A read-only memfd of `length` zeros that nobody can change.
fn blank(name: &str, length: u64) -> io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = File::from(rustix::fs::memfd_create(name, flags)?);
    file.set_len(length)?;
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&file, seals)?;
    read_only(file.into())
}

/// A read-only memfd of `bytes` that nobody can change.
pub(crate) fn memfd(name: &str, bytes: &[u8]) -> io::Result<File> {
    // The write would end this process by SIGXFSZ (setrlimit(2)).
    let limit = getrlimit(Resource::Fsize).current;
    if limit.is_some_and(|limit| limit < bytes.len() as u64) {
        return Err(io::Error::from_raw_os_error(libc::EFBIG));
    }
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut file = File::from(rustix::fs::memfd_create(name, flags)?);
    file.write_all(bytes)?;
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&file, seals)?;
    read_only(file.into())
}

/// The same file, by a descriptor that can only read. A shared mapping of a descriptor that
/// can write could be made writable by its process with mprotect(2).
fn read_only(file: OwnedFd) -> io::Result<File> {
    if rustix::fs::fcntl_getfl(&file)? & OFlags::RWMODE == OFlags::RDONLY {
        return Ok(file.into());
    }
    File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// How an image is mapped, and what it exports.
#[derive(Debug)]
struct Layout {
    /// Bytes of the text's pages.
    text: u64,
    /// Bytes of all.
    length: u64,
    vvar: Option<Stretch>,
    links: Vec<Link>,
    functions: Vec<Function>,
}

#[derive(Debug)]
struct Stretch {
    offset: u64,
    distance: u64,
    length: u64,
}

impl Layout {
    /// Reads the layout of an image.
    ///
    /// # Errors
    /// When the image does not have the shape that delivery relies on (a first PT_LOAD, readable
    /// and executable, at offset 0 and an address other than 0, then at most one more, read-only,
    /// at the distance of its offset), or breaks another rule of `vdso check`: code of a damaged
    /// image would run in every program.
    fn of(bytes: &[u8]) -> Result<Layout, Error> {
        let image = Image::parse(bytes).map_err(ImageError::Parse)?;
        match image.header().kind {
            ET_REL => return Err(ImageError::Kind("a relocatable object file").into()),
            ET_EXEC => return Err(ImageError::Kind("a program").into()),
            ET_CORE => return Err(ImageError::Kind("a core dump").into()),
            _ => {}
        }
        if image.header().machine != arch::MACHINE {
            return Err(ImageError::Machine(image.header().machine).into());
        }
        let loads: Vec<_> = image
            .segments()
            .filter(|segment| segment.is_load())
            .collect();
        let [text, rest @ ..] = loads.as_slice() else {
            return Err(ImageError::Segments("it has no PT_LOAD").into());
        };
        let refuse = |why| Err(Error::from(ImageError::Segments(why)));
        let pages = |length: u64| length.checked_next_multiple_of(PAGE);
        if text.offset != 0 {
            return refuse("its first PT_LOAD does not begin with the ELF header");
        }
        if text.vaddr == 0 || !text.vaddr.is_multiple_of(PAGE) {
            return refuse("its first PT_LOAD lies at address 0, or not at a page");
        }
        if loads.iter().any(|load| load.flags & PF_W != 0) || text.flags & PF_X == 0 {
            return refuse("a PT_LOAD is writable, or the first is not executable");
        }
        if loads.iter().any(|load| load.memsz != load.filesz) {
            return refuse("a PT_LOAD has memory that is not in the file");
        }
        let file_length = bytes.len() as u64;
        let too_long = |end: Option<u64>| end.is_none_or(|end| end > file_length);
        if text.memsz == 0 || too_long(text.offset.checked_add(text.memsz)) {
            return refuse("its first PT_LOAD is not all in the file");
        }
        let (Some(text_length), true) = (pages(text.memsz), rest.len() <= 1) else {
            return refuse("it has more than two PT_LOADs");
        };
        let mut layout = Layout {
            text: text_length,
            length: text_length,
            vvar: None,
            links: link::read(&image, text)?,
            functions: functions(&image, text),
        };
        let Some(vvar) = rest.first() else {
            checked(&image)?;
            return Ok(layout);
        };
        if vvar.flags & PF_X != 0 || !vvar.offset.is_multiple_of(PAGE) || vvar.offset < text_length
        {
            return refuse("its second PT_LOAD is executable, or does not follow at a page");
        }
        if vvar.vaddr.checked_sub(vvar.offset) != Some(text.vaddr) {
            return refuse("its PT_LOADs differ in p_vaddr - p_offset");
        }
        let (Some(length), false) = (
            pages(vvar.memsz),
            too_long(vvar.offset.checked_add(vvar.memsz)),
        ) else {
            return refuse("its second PT_LOAD is not all in the file");
        };
        if length > 0 {
            layout.length = vvar.offset + length;
            layout.vvar = Some(Stretch {
                offset: vvar.offset,
                distance: vvar.offset,
                length,
            });
        }
        checked(&image)?;
        Ok(layout)
    }
}

/// Checks all rules of an image of one's own.
fn checked(image: &Image<'_>) -> Result<(), ImageError> {
    match check::check(image, Profile::Own).into_iter().next() {
        Some(finding) => Err(ImageError::Broken(finding)),
        None => Ok(()),
    }
}

/// The functions that `image` exports, counted from the start of `text`.
fn functions(image: &Image<'_>, text: &Segment) -> Vec<Function> {
    image
        .symbols()
        .filter(|symbol| symbol.is_export() && symbol.kind == Kind::Function)
        .filter(|symbol| text.holds(symbol.value, 1))
        .filter_map(|symbol| {
            Some(Function {
                name: symbol.name().to_str()?.to_owned(),
                version: match symbol.version {
                    Some(version) => Some(version.name().to_str()?.to_owned()),
                    None => None,
                },
                distance: symbol.value - text.vaddr,
                size: symbol.size,
            })
        })
        .collect()
}

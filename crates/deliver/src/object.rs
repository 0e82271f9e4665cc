//! A vDSO ready to be delivered: image, vvar pages and links.

mod layout;
mod source;

use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Seek, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{MemfdFlags, OFlags, SealFlags};
use rustix::process::{Resource, getrlimit};
use vdsokit_elf::constants::EM_386;
use vdsokit_elf::file::{open, read_open_image};
use vdsokit_waits::gate::Gate;

use crate::arch::{self, Word};
use crate::error::{Error, ImageError};
use crate::join;
use crate::link::Link;
use crate::proc;
use crate::unwind::Frame;
use crate::visit::Place;
use layout::{Layout, Stretch};
pub(crate) use source::{Backing, ObjectRange, Role};

/// The size of the architecture's largest page: what lies at multiples of it can be mapped apart,
/// whatever size the running kernel's pages have.
pub(crate) use vdsokit_waits::gate::PAGE;

/// An image together with the vvar pages that go behind it.
///
/// The image lies in a sealed memfd, which vanishes with its last descriptor and mapping. Nothing can
/// change it once it was checked.
#[derive(Debug)]
pub struct Object {
    /// The first is the image's text.
    pub(crate) sources: Vec<ObjectRange>,
    pub(crate) links: Vec<Link>,
    pub(crate) functions: Vec<Function>,
    /// The first word of each text.
    pub(crate) heads: Vec<Head>,
    /// The unwind tables of all texts.
    pub(crate) frames: Vec<Frame>,
    /// The bytes of the first text.
    pub(crate) text: Text,
    /// Whether it begins with an image that leads to all of its functions.
    is_complete: bool,
    pub(crate) length: u64,
    /// Where it is to lie; 0: where the kernel likes.
    address: u64,
    /// Where the gate is through which waits are made.
    gate: Option<u64>,
    /// What 32-bit programs get.
    i386: Option<Box<Object>>,
}

/// The bytes of a text, up to the end of its last page.
#[derive(Debug, Default)]
pub(crate) struct Text {
    pub(crate) bytes: Vec<u8>,
    /// Where its `.eh_frame` lies, and its length.
    pub(crate) frames: Option<(u64, u64)>,
}

impl Text {
    /// Where its `.eh_frame` lies, and the bytes of that.
    fn section(&self) -> Option<(u64, &[u8])> {
        let (start, length) = self.frames?;
        let bytes = self.bytes.get(start as usize..)?.get(..length as usize)?;
        Some((start, bytes))
    }
}

/// The first word of a text, which delivery writes again with the same value. The kernel dumps
/// core of a private mapping only if a page of it was written (fs/coredump.c, `vma_dump_size`).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    distance: u64,
    value: u64,
}

impl Head {
    /// That of the text `bytes`, which lies `distance` bytes from the object's start.
    pub(crate) fn of(bytes: &[u8], distance: u64) -> Head {
        let value = bytes.first_chunk().copied().map_or(0, u64::from_ne_bytes);
        Head { distance, value }
    }
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

impl Object {
    /// An object of the image in `bytes`, with its vvar pages as they are in the image:
    /// they never change. [`Object::with_vvar`] replaces them by a publisher's.
    ///
    /// # Errors
    /// [`Error::Image`] when the image can't be delivered, [`Error::FileSizeLimit`],
    /// [`Error::NoProc`], or [`Error::System`] when the kernel refuses a memfd.
    pub fn new(bytes: &[u8]) -> Result<Object, Error> {
        let layout = Layout::of(bytes, arch::MACHINE)?;
        let file = image_file(bytes)?;
        let vvar = file
            .try_clone()
            .map_err(Error::system("hand on the image"))?;
        Object::assemble(Some(file), vvar, layout, bytes)
    }

    /// An object of an image file whose vvar pages are kept up to date in the file itself.
    ///
    /// # Errors
    /// As [`Object::new`], and when the file can't be read, is no regular file, or is larger than any image.
    pub fn open(path: &Path) -> Result<Object, Error> {
        let file = open(path).map_err(Error::system("read the image"))?;
        Object::from_file(file)
    }

    /// As [`Object::open`], of a file that is open for reading: the object is the file that the
    /// caller has checked, whatever its path leads to by now.
    ///
    /// # Errors
    /// As [`Object::open`].
    pub fn from_file(mut file: File) -> Result<Object, Error> {
        let system = || Error::system("read the image");
        // The caller may have read the file, and duplicates of a descriptor share its offset.
        file.rewind().map_err(system())?;
        let bytes = read_open_image(&file).map_err(system())?;
        let layout = Layout::of(&bytes, arch::MACHINE)?;
        // The text comes from a copy: the file may be changed after the check.
        let text = &bytes[..layout.text.min(bytes.len() as u64) as usize];
        Object::assemble(Some(image_file(text)?), file, layout, text)
    }

    /// An object whose text is in `file`, or in none yet, and whose vvar pages are in `vvar`.
    fn assemble(
        file: Option<File>,
        vvar_file: File,
        layout: Layout,
        bytes: &[u8],
    ) -> Result<Object, Error> {
        let system = || Error::system("look at the image");
        let vvar = match layout.vvar {
            Some(vvar) => {
                let Stretch {
                    offset,
                    distance,
                    length,
                } = vvar;
                let source = ObjectRange::new(vvar_file, offset, distance, length, Role::Vvar);
                Some(source.map_err(system())?)
            }
            None => None,
        };
        let text = match file {
            Some(file) => ObjectRange::new(file, 0, 0, layout.text, Role::Text).map_err(system())?,
            None => ObjectRange::text(layout.text),
        };
        Ok(Object {
            sources: std::iter::once(text).chain(vvar).collect(),
            links: layout.links,
            functions: layout.functions,
            heads: vec![Head::of(bytes, 0)],
            frames: layout.frames,
            text: layout.text_bytes,
            is_complete: false,
            length: layout.length,
            address: 0,
            gate: None,
            i386: None,
        })
    }

    /// One object of several: a program finds the functions of all of them at
    /// AT_SYSINFO_EHDR, and in `linux-vdso.so.1`. Where two have a function of the same name
    /// and version, the earlier one's is found.
    ///
    /// # Errors
    /// [`Error::FileSizeLimit`], or [`Error::System`] when the kernel refuses a memfd.
    pub fn join(objects: Vec<Object>) -> Result<Object, Error> {
        let mut all = Object::empty();
        for (index, mut object) in objects.into_iter().enumerate() {
            object.shift(all.length);
            all.sources.append(&mut object.sources);
            all.links.append(&mut object.links);
            all.functions.append(&mut object.functions);
            all.heads.append(&mut object.heads);
            all.frames.append(&mut object.frames);
            all.length += object.length;
            all.i386 = all.i386.or(object.i386);
            if index == 0 {
                all.text = object.text;
            }
        }
        // Without a first text there would be nothing to map.
        if all.sources.is_empty() {
            all.complete(&[])?;
        }
        Ok(all)
    }

    /// An object without anything.
    pub(crate) fn empty() -> Object {
        Object {
            sources: Vec::new(),
            links: Vec::new(),
            functions: Vec::new(),
            heads: Vec::new(),
            frames: Vec::new(),
            text: Text::default(),
            is_complete: false,
            length: 0,
            address: 0,
            gate: None,
            i386: None,
        }
    }

    /// Moves everything in the object by `shift` bytes.
    fn shift(&mut self, shift: u64) {
        let sources = self.sources.iter_mut().map(|source| &mut source.distance);
        let functions = self.functions.iter_mut();
        let functions = functions.map(|function| &mut function.distance);
        let heads = self.heads.iter_mut().map(|head| &mut head.distance);
        for distance in sources.chain(functions).chain(heads).chain(&mut self.gate) {
            *distance += shift;
        }
        for link in &mut self.links {
            link.word += shift;
            link.own = link.own.map(|own| own + shift);
        }
        for frame in &mut self.frames {
            frame.function += shift as i64;
            frame.description += shift as i64;
        }
    }

    /// Puts an image in front that exports the functions of all objects, and those of the kernel's
    /// vDSO that they lack. It has section headers and unwind tables for debuggers, and they find
    /// all of its file in its mapping. Does nothing to an object that is complete.
    ///
    /// A function of the kernel's with one of the names that a function of the object replaces
    /// leads to that; the others jump to the kernel's, by a link.
    pub(crate) fn complete(&mut self, kernel: &[Function]) -> Result<(), Error> {
        let has = |name: &str, version: &Option<String>| {
            let mut functions = self.functions.iter();
            functions.any(|function| function.name == name && function.version == *version)
        };
        let (mut forwards, mut aliases) = (Vec::new(), Vec::new());
        for export in kernel {
            if has(&export.name, &export.version) {
                continue;
            }
            match self.function(&export.name) {
                Some(distance) => aliases.push(Function {
                    distance,
                    ..export.clone()
                }),
                None => forwards.push(export),
            }
        }
        if self.is_complete && forwards.is_empty() && aliases.is_empty() {
            return Ok(());
        }
        // The first text lies in the same file behind the image in front: one mapping for both.
        let first = match self.sources.is_empty() {
            true => 0,
            false => self.text.bytes.len() as u64,
        };
        let mut functions = self.functions.clone();
        functions.append(&mut aliases);
        let others = self.sources.iter().skip(1);
        let parts = join::Parts {
            functions: &functions,
            forwards: &forwards,
            frames: &self.frames,
            section: self.text.section(),
            gate: self.gate,
            first,
            others: others.map(ObjectRange::load).collect(),
        };
        let compose = |shift| {
            join::compose(&parts, shift)
                .map_err(|error| Error::system("join the images")(io::Error::other(error)))
        };
        let shift = (compose(0)?.bytes.len() as u64).next_multiple_of(PAGE);
        let mut front = compose(shift)?;
        front.bytes.resize(shift as usize, 0);
        front.bytes.extend(&self.text.bytes[..first as usize]);
        let system = || Error::system("keep the joint image in memory");
        let file = image_file(&front.bytes)?;
        let text = ObjectRange::new(file, 0, 0, shift + first, Role::Text).map_err(system())?;

        self.functions = functions;
        self.shift(shift);
        match self.sources.first_mut() {
            Some(source) => *source = text,
            None => self.sources.push(text),
        }
        self.heads.retain(|head| head.distance >= shift + first);
        self.heads.insert(0, Head::of(&front.bytes, 0));
        self.frames = front.frames;
        self.is_complete = true;
        self.length += shift;
        // The gate stays where the filter expects it.
        self.address = self.address.saturating_sub(shift);
        for (forward, word) in forwards.into_iter().zip(front.words) {
            self.functions.push(Function {
                distance: word.function,
                ..forward.clone()
            });
            self.links.push(Link {
                word: word.word,
                name: forward.name.clone(),
                version: forward.version.clone().unwrap_or_default(),
                own: None,
            });
        }
        self.text = Text {
            frames: self
                .text
                .frames
                .map(|(start, length)| (start + shift, length)),
            bytes: front.bytes,
        };
        Ok(())
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
        let source = ObjectRange::new(file, offset, vvar.distance, vvar.length, Role::Vvar);
        *vvar = source.map_err(system())?;
        Ok(self)
    }

    /// Gives 32-bit programs on an x86-64 kernel the functions of `image`, an image for i386, over
    /// the vvar pages of this object: those of them that tell time replace the kernel's. Without
    /// it they are left as they are. Set the vvar pages before.
    ///
    /// # Errors
    /// As [`Object::new`], and [`Error::Image`] when the object has no vvar pages, or too few.
    pub fn with_i386(mut self, image: &[u8]) -> Result<Object, Error> {
        let system = || Error::system("hand on the image");
        let layout = Layout::of(image, EM_386)?;
        let mut vvar = self
            .sources
            .iter()
            .filter(|source| source.role == Role::Vvar);
        let vvar = vvar.next().ok_or(ImageError::NoVvar)?;
        let needed = layout.vvar.as_ref().map_or(0, |vvar| vvar.length);
        let (Some(backing), true) = (&vvar.backing, needed <= vvar.length) else {
            let (offset, length) = (vvar.offset, vvar.length);
            return Err(ImageError::VvarOffset {
                offset,
                needed,
                length,
            }
            .into());
        };
        let pages = backing.file.try_clone().map_err(system())?;
        let text = &image[..layout.text.min(image.len() as u64) as usize];
        // Most trees have no 32-bit program.
        let mut object = Object::assemble(None, pages, layout, text)?;
        for source in object
            .sources
            .iter_mut()
            .filter(|source| source.role == Role::Vvar)
        {
            source.offset = vvar.offset;
        }
        self.i386 = Some(Box::new(object));
        Ok(self)
    }

    /// Keeps the first text in a file, unless one has it.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn keep(&mut self) -> Result<(), Error> {
        if let Some(first) = self.sources.first_mut()
            && first.backing.is_none()
        {
            let file = image_file(&self.text.bytes)?;
            let text = ObjectRange::new(file, 0, first.distance, first.length, first.role);
            *first = text.map_err(Error::system("look at the image"))?;
        }
        Ok(())
    }

    /// What 32-bit programs get. It is no part of the object any more.
    pub(crate) fn i386(&mut self) -> Option<Object> {
        self.i386.take().map(|object| *object)
    }

    /// Gives every program a private word, 0 when the program begins, and stores its address in the
    /// image's link called `name`. A child of fork(2) has a copy of its parent's word.
    ///
    /// # Errors
    /// [`Error::Image`] when the image has no such link.
    pub fn with_word(mut self, name: &str) -> Result<Object, Error> {
        if let Some(object) = self.i386.take() {
            self.i386 = Some(Box::new(object.with_word(name)?));
        }
        self.with_memory(name, [])
    }

    /// Whether the image has a link called `name`.
    #[must_use]
    pub fn has_link(&self, name: &str) -> bool {
        self.links.iter().any(|known| known.name == name)
    }

    /// Gives every program a private page, zeros when the program begins, and right behind it these
    /// BPF maps of so many bytes each, whole pages, shared and read-only; stores the
    /// address of the private page in the image's link called `name`. A child of fork(2) has a copy of
    /// its parent's private page. 32-bit programs get neither.
    ///
    /// Maps must be frozen, as for [`Object::with_map`].
    ///
    /// # Errors
    /// [`Error::Image`] when the image has no such link.
    pub fn with_memory(
        mut self,
        name: &str,
        maps: impl IntoIterator<Item = (OwnedFd, u64)>,
    ) -> Result<Object, Error> {
        let own = self.length;
        let link = self.links.iter_mut().find(|known| known.name == name);
        link.ok_or(ImageError::NoLink)?.own = Some(own);
        self.sources.push(ObjectRange::own(own, PAGE));
        self.length += PAGE;
        for (map, length) in maps {
            let source = ObjectRange::new(map.into(), 0, self.length, length, Role::Vvar);
            self.sources
                .push(source.map_err(Error::system("hand on a map"))?);
            self.length += length.next_multiple_of(PAGE);
        }
        Ok(self)
    }

    /// Puts a gate in front of the object and its frames behind it, and the object at an address
    /// that is the same in every process: a filter compares with it.
    ///
    /// The gate is in the file of the first text, and the frames are anonymous: each file that is
    /// mapped costs every program some ten microseconds.
    pub(crate) fn with_gate(self) -> (Object, Gate) {
        let (object, frames) = self.behind_gate(Gate::code(), address());
        // A filter compares the upper half of an address with one number.
        let end = object.address + object.length;
        debug_assert_eq!(object.address >> 32, end >> 32);
        let gate = Gate::at(object.address, frames);
        (object, gate)
    }

    /// The same for what 32-bit programs get. `None`: they get nothing.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn with_i386_gate(mut self) -> (Object, Option<Gate>) {
        let Some(object) = self.i386.take() else {
            return (self, None);
        };
        let length = object.length + PAGE + Gate::FRAMES_LENGTH;
        let address = arch::narrow_address(random(), length);
        let (object, frames) = object.behind_gate(Gate::i386_code(), address);
        let gate = Gate::i386_at(object.address, frames);
        self.i386 = Some(Box::new(object));
        (self, Some(gate))
    }

    /// The object at `address` with a page of `gate` in front and frames behind it. Returns the
    /// address of these, too.
    fn behind_gate(mut self, gate: &[u8], address: u64) -> (Object, u64) {
        let mut code = gate.to_vec();
        code.resize(PAGE as usize, 0);
        code.append(&mut self.text.bytes);
        self.shift(PAGE);
        self.length += PAGE;
        // It is completed before a program gets it.
        self.sources[0] = ObjectRange::text(code.len() as u64);
        self.text.bytes = code;
        // An image that was in front lies behind the gate now.
        self.is_complete = false;
        self.text.frames = self
            .text
            .frames
            .map(|(start, length)| (start + PAGE, length));
        let frames = self.length;
        self.sources
            .push(ObjectRange::own(frames, Gate::FRAMES_LENGTH));
        self.length += Gate::FRAMES_LENGTH;
        self.gate = Some(0);
        self.address = address;
        (self, address + frames)
    }

    /// What delivery writes into the texts: the values of the links, and the first word of each
    /// text as it is. `functions` are the kernel's, one for each link.
    pub(crate) fn words(&self, functions: impl Iterator<Item = u64>) -> impl Iterator<Item = Word> {
        let heads = self.heads.iter().map(|head| Word {
            distance: head.distance,
            value: head.value,
            is_relative: 0,
        });
        let links = self
            .links
            .iter()
            .zip(functions)
            .map(|(link, function)| Word {
                distance: link.word,
                value: link.own.unwrap_or(function),
                is_relative: if link.own.is_some() { u64::MAX } else { 0 },
            });
        heads.chain(links)
    }

    /// The same for the object at `address`: pairs of a word's address and its value.
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
        self.places_at(self.address)
    }

    /// Where it is to lie; `None`: anywhere.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn address(&self) -> Option<u64> {
        (self.address != 0).then_some(self.address)
    }

    /// The same for the object at `address`; 0: where the kernel likes.
    pub(crate) fn places_at(&self, address: u64) -> Vec<Place<'_>> {
        let mut places: Vec<Place<'_>> = self
            .sources
            .iter()
            .map(|source| source.place(libc::MAP_FIXED))
            .collect();
        places[0].flags = libc::MAP_PRIVATE;
        places[0].length = self.length;
        if address != 0 {
            places[0].flags |= libc::MAP_FIXED_NOREPLACE;
            places[0].distance = address;
        }
        places
    }

    /// The files that the object consists of.
    pub(crate) fn files(&self) -> impl Iterator<Item = &File> {
        let backings = self
            .sources
            .iter()
            .filter_map(|source| source.backing.as_ref());
        backings.map(|backing| &backing.file)
    }

    /// The address space that the object takes in a process, in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }
}

/// A sealed, read-only memfd of an image.
pub(crate) fn image_file(bytes: &[u8]) -> Result<File, Error> {
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
fn address() -> u64 {
    let free = arch::free_addresses();
    // The upper half is the same in all of a step.
    let step = (free.end - free.start).min(1 << 30);
    let random = random();
    let block = free.start + random % ((free.end - free.start) / step) * step;
    block + (random >> 32) % (step / 2 / PAGE) * PAGE
}

/// Another number at each call.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// A sealed, read-only memfd of `bytes`.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_that_is_delivered_is_sealed_and_read_only() {
        let file = image_file(b"an image").expect("memory");
        let seals = rustix::fs::fcntl_get_seals(&file).expect("its seals");
        assert!(seals.contains(SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK));
        assert!((&file).write_all(b"x").is_err() && file.set_len(0).is_err());
    }
}

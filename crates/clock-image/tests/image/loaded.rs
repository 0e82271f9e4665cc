//! The image in this process, with a publisher of its own.
#![allow(
    unsafe_code,
    reason = "an image is loaded, called, and its pages written, as programs do it"
)]

use std::ffi::{CString, c_void};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd};
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;
use vdsokit_clock::page::{RECORD_SIZE, record_offset, source_offset};
use vdsokit_clock::{Clock, Record};
use vdsokit_clock_image::gettime::Timespec;
use vdsokit_clock_image::wall::{Timeval, Timezone};
use vdsokit_elf::Image;
use vdsokit_vvar::latch::LatchWriter;
use vdsokit_vvar::pages::{Pages, PagesMut};
use vdsokit_vvar::scalar::Scalar;

type ClockCall = unsafe extern "C" fn(u32, *mut Timespec) -> i32;
type DayCall = unsafe extern "C" fn(*mut Timeval, *mut Timezone) -> i32;
type TimeCall = unsafe extern "C" fn(*mut i64) -> i64;
type CpuCall = unsafe extern "C" fn(*mut u32, *mut u32, *mut c_void) -> i64;
type RandomCall = unsafe extern "C" fn(*mut c_void, usize, u32, *mut c_void, usize) -> isize;
type BoundCall = unsafe extern "C" fn(u32, *mut Timespec, *mut Timespec) -> i32;

/// The functions of an image.
#[derive(Clone, Copy)]
pub(crate) struct Calls {
    pub(crate) clock_gettime: ClockCall,
    pub(crate) clock_getres: ClockCall,
    pub(crate) gettimeofday: DayCall,
    pub(crate) time: TimeCall,
    pub(crate) getcpu: CpuCall,
    pub(crate) getrandom: RandomCall,
}

impl Calls {
    /// Of the image at `base`, a vDSO's address, or a library's.
    fn new(image: &Image<'_>, base: usize) -> Self {
        let at = |name: &str| {
            let symbol = image
                .lookup_version(&format!("__vdso_{name}"), "LINUX_2.6")
                .unwrap_or_else(|| panic!("the image has no {name}"));
            base.wrapping_add(symbol.value as usize)
        };
        // SAFETY: the symbols' functions are of these types.
        unsafe {
            Self {
                clock_gettime: std::mem::transmute::<usize, ClockCall>(at("clock_gettime")),
                clock_getres: std::mem::transmute::<usize, ClockCall>(at("clock_getres")),
                gettimeofday: std::mem::transmute::<usize, DayCall>(at("gettimeofday")),
                time: std::mem::transmute::<usize, TimeCall>(at("time")),
                getcpu: std::mem::transmute::<usize, CpuCall>(at("getcpu")),
                getrandom: std::mem::transmute::<usize, RandomCall>(at("getrandom")),
            }
        }
    }

    /// The kernel's own.
    pub(crate) fn kernel() -> Self {
        // SAFETY: it has no side effect.
        let base = unsafe { libc::getauxval(libc::AT_SYSINFO_EHDR) } as usize;
        let image = vdsokit_elf::own::image().expect("the kernel's vDSO");
        let load = image
            .segments()
            .find(|segment| segment.kind == 1)
            .expect("a segment");
        Self::new(&image, base.wrapping_sub(load.vaddr as usize))
    }

    pub(crate) fn gettime(&self, clock: u32) -> Result<(i64, i64), i32> {
        let mut time = Timespec::default();
        // SAFETY: a pointer to a local variable.
        match unsafe { (self.clock_gettime)(clock, &raw mut time) } {
            0 => Ok((time.seconds, time.nanoseconds)),
            error => Err(error),
        }
    }

    pub(crate) fn nanoseconds(&self, clock: Clock) -> i128 {
        let (seconds, nanoseconds) = self.gettime(clock.id()).expect("a clock");
        i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds)
    }
}

/// An image that this process has loaded as a library, from a file in memory,
/// and whose pages it publishes.
pub(crate) struct Loaded {
    pub(crate) calls: Calls,
    bound: BoundCall,
    base: usize,
    links: Vec<(String, usize)>,
    pages: PagesMut<'static>,
}

impl Loaded {
    /// A copy of the image that is in memory alone.
    pub(crate) fn new(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        // SAFETY: the name is a C string; the descriptor is new and ours.
        let mut file = unsafe { File::from_raw_fd(libc::memfd_create(c"image".as_ptr(), 0)) };
        file.write_all(&bytes).unwrap();
        Self::of(file, &bytes)
    }

    /// The image in a file, shared by all that map it.
    pub(crate) fn open(path: &Path) -> Self {
        let file = File::options().read(true).write(true).open(path).unwrap();
        Self::of(file, &std::fs::read(path).unwrap())
    }

    fn of(file: File, bytes: &[u8]) -> Self {
        let image = Image::parse(bytes).unwrap();
        let loads: Vec<_> = image
            .segments()
            .filter(|segment| segment.kind == 1)
            .collect();
        let (text, vvar) = (loads[0], loads[1]);
        let name = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
        // SAFETY: a C string; the image has no constructors.
        let library = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW) };
        assert!(!library.is_null(), "the image can't be loaded");
        let symbol = |name: &std::ffi::CStr| {
            // SAFETY: a library just loaded, and a C string.
            let at = unsafe { libc::dlsym(library, name.as_ptr()) };
            assert!(!at.is_null(), "{name:?}");
            at as usize
        };
        // ld.so takes a name that it knows for the library that it knows: this
        // descriptor's number may not be used again.
        let descriptor = file.into_raw_fd();
        let known = image.lookup("__vdso_clock_gettime").unwrap().value as usize;
        let base = symbol(c"__vdso_clock_gettime") - known;
        // SAFETY: a new mapping of a file that is not cut; it stays for ever.
        let pages = unsafe {
            let at = libc::mmap(
                std::ptr::null_mut(),
                vvar.memsz as usize,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                descriptor,
                vvar.offset as i64,
            );
            assert_ne!(at, libc::MAP_FAILED);
            let pages = NonNull::new(at.cast()).unwrap();
            PagesMut::new(Pages::new(pages, vvar.memsz as usize).unwrap())
        };
        let note = image
            .notes()
            .find(|note| note.name == "vdsokit" && note.kind == 2)
            .unwrap();
        let links = links(note.desc, |vaddr| vaddr >= text.vaddr && vaddr % 8 == 0);
        Self {
            calls: Calls::new(&image, base),
            // SAFETY: the symbol's function is of this type.
            bound: unsafe { std::mem::transmute::<usize, BoundCall>(symbol(c"vdso_clock_bound")) },
            base,
            links,
            pages,
        }
    }

    /// Does to a link what delivery does.
    pub(crate) fn link(&self, name: &str, to: usize) {
        let (_, vaddr) = self
            .links
            .iter()
            .find(|(link, _)| link == name)
            .expect("a link");
        let word = (self.base + vaddr) as *mut usize;
        // SAFETY: the page belongs to this process's copy of the image, and the
        // word to the link.
        unsafe {
            let page = (word as usize & !0xfff) as *mut c_void;
            assert_eq!(
                libc::mprotect(page, 4096, libc::PROT_READ | libc::PROT_WRITE),
                0
            );
            word.write_volatile(to);
            assert_eq!(
                libc::mprotect(page, 4096, libc::PROT_READ | libc::PROT_EXEC),
                0
            );
        }
    }

    /// Links the kernel's own functions.
    pub(crate) fn link_kernel(&self) {
        let kernel = Calls::kernel();
        self.link("__vdso_clock_gettime", kernel.clock_gettime as usize);
        self.link("__vdso_clock_getres", kernel.clock_getres as usize);
        self.link("__vdso_gettimeofday", kernel.gettimeofday as usize);
        self.link("__vdso_getcpu", kernel.getcpu as usize);
        self.link("__vdso_getrandom", kernel.getrandom as usize);
    }

    /// The address of the image's address 0.
    pub(crate) fn base(&self) -> usize {
        self.base
    }

    /// The address of `vdso_clock_bound`.
    pub(crate) fn bound(&self) -> usize {
        self.bound as usize
    }

    /// A scalar of the pages.
    pub(crate) fn scalar(&self, offset: usize) -> &'static AtomicU64 {
        self.pages.scalar::<u64>(offset).unwrap()
    }

    pub(crate) fn publish(&self, id: u32, record: &Record) {
        self.writer(id)
            .write(|copy| copy.set_words(&record.to_words()));
        let source = self.pages.scalar::<u64>(source_offset(id)).unwrap();
        u64::store(source, record.source.to_word());
    }

    pub(crate) fn writer(&self, id: u32) -> LatchWriter<'static> {
        self.pages.latch(record_offset(id), RECORD_SIZE).unwrap()
    }

    /// The word of the generation of random bytes, as a kernel has it.
    pub(crate) fn generation(&self) -> &'static AtomicU64 {
        self.pages
            .scalar::<u64>(vdsokit_random::page::OFFSET)
            .unwrap()
    }

    pub(crate) fn clock_bound(&self, clock: u32) -> Result<(i128, i128), i32> {
        let (mut earliest, mut latest) = (Timespec::default(), Timespec::default());
        let whole = |time: Timespec| {
            i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanoseconds)
        };
        // SAFETY: pointers to local variables.
        match unsafe { (self.bound)(clock, &raw mut earliest, &raw mut latest) } {
            0 => Ok((whole(earliest), whole(latest))),
            error => Err(error),
        }
    }
}

/// Names of the links and the addresses of their words.
fn links(bytes: &[u8], valid: impl Fn(u64) -> bool) -> Vec<(String, usize)> {
    let count = u32::from_le_bytes(bytes[..4].try_into().unwrap());
    let mut rest = &bytes[8..];
    let mut links = vec![];
    for _ in 0..count {
        let (vaddr, texts) = rest.split_at(8);
        let vaddr = u64::from_le_bytes(vaddr.try_into().unwrap());
        assert!(valid(vaddr), "a word outside of the text");
        let mut parts = texts.split(|byte| *byte == 0);
        let (name, version) = (parts.next().unwrap(), parts.next().unwrap());
        links.push((String::from_utf8(name.to_vec()).unwrap(), vaddr as usize));
        rest = &texts[(name.len() + version.len() + 2).next_multiple_of(8)..];
    }
    links
}

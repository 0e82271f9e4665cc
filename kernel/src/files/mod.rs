//! Open files: the initrd's, which can't be changed, the console, pipes and a few devices.

pub mod epoll;
pub mod initrd;
pub mod pipe;

use crate::errno::Errno;
use crate::lock::Guarded;
use crate::memory::SharedImage;
use crate::task::{Denied, Key, schedule};
use crate::{call, console, random, vdso};
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use linux_raw_sys::general::{O_CLOEXEC, O_NONBLOCK};

/// What is behind a descriptor.
pub enum Object {
    /// The serial port.
    Console,
    /// Nothing is in it, and it takes everything.
    Null,
    /// Zeros.
    Zero,
    /// Random bytes.
    Random,
    /// A file or directory of the initrd, with the position in it.
    Node(&'static initrd::Node, Guarded<usize>),
    /// The end of a pipe that is read.
    Reader(pipe::Reader),
    /// The end of a pipe that is written.
    Writer(pipe::Writer),
    /// Pages of the kernel's own image, to be mapped.
    Image(SharedImage),
    /// A set of files to wait for.
    Epoll(epoll::Set),
}

/// An open file, which descriptors of several processes may lead to.
pub struct Open {
    /// What it is.
    pub object: Object,
    /// `O_` flags that `fcntl` can change.
    pub flags: Guarded<u32>,
}

impl Open {
    /// Opens an object.
    pub fn new(object: Object, flags: u32) -> Arc<Self> {
        Arc::new(Self {
            object,
            flags: Guarded::new(flags),
        })
    }

    /// The device, file or directory of a path, in a directory unless it is absolute.
    pub fn at_path(directory: &str, path: &str, flags: u32) -> Result<Arc<Self>, Errno> {
        let path = initrd::absolute(directory, path);
        let object = match path.as_str() {
            "/dev/console" | "/dev/tty" | "/dev/ttyS0" => Object::Console,
            "/dev/null" => Object::Null,
            "/dev/zero" => Object::Zero,
            "/dev/random" | "/dev/urandom" => {
                match schedule::current()
                    .process
                    .denied
                    .get()
                    .contains(Denied::RANDOM)
                {
                    true => return Err(Errno::PERMISSION),
                    false => Object::Random,
                }
            }
            "/dev/image/vdso" => Object::Image(vdso::image()),
            "/dev/image/calls" => Object::Image(SharedImage::of(&call::COUNTS)),
            path => Object::Node(initrd::find("/", path)?, Guarded::new(0)),
        };
        Ok(Self::new(object, flags & O_NONBLOCK))
    }

    /// Reads at the position; 0 at the end.
    pub fn read(&self, bytes: &mut [u8]) -> Result<usize, Errno> {
        match &self.object {
            Object::Console => self.wait_until(|| console::read(bytes)),
            Object::Reader(pipe) => self.wait_until(|| pipe.read(bytes)),
            Object::Writer(_) => Err(Errno::BAD_DESCRIPTOR),
            Object::Epoll(_) | Object::Image(_) => Err(Errno::INVALID),
            Object::Null => Ok(0),
            Object::Zero => {
                bytes.fill(0);
                Ok(bytes.len())
            }
            Object::Random => {
                random::fill(bytes);
                Ok(bytes.len())
            }
            Object::Node(node, position) => {
                let contents = node.contents().ok_or(Errno::IS_DIRECTORY)?;
                let mut position = position.get();
                let rest = contents.get(*position..).unwrap_or_default();
                let length = rest.len().min(bytes.len());
                bytes[..length].copy_from_slice(&rest[..length]);
                *position += length;
                Ok(length)
            }
        }
    }

    /// Writes, at least one byte unless there are none.
    pub fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        match &self.object {
            Object::Console => {
                console::write(bytes);
                Ok(bytes.len())
            }
            Object::Writer(pipe) => self.wait_until(|| pipe.write(bytes))?,
            Object::Reader(_) => Err(Errno::BAD_DESCRIPTOR),
            Object::Null | Object::Zero | Object::Random => Ok(bytes.len()),
            Object::Node(..) | Object::Image(_) => Err(Errno::BAD_DESCRIPTOR),
            Object::Epoll(_) => Err(Errno::INVALID),
        }
    }

    /// Whether a read, and a write, would not wait.
    pub fn is_ready(&self) -> (bool, bool) {
        match &self.object {
            Object::Console => (console::is_ready(), true),
            Object::Reader(pipe) => (pipe.is_ready(), false),
            Object::Writer(pipe) => (false, pipe.is_ready()),
            Object::Epoll(set) => (!set.get().ready(1).is_empty(), false),
            _ => (true, true),
        }
    }

    /// Waits for other processes or the user, unless it must not.
    fn wait_until<T>(&self, mut attempt: impl FnMut() -> Option<T>) -> Result<T, Errno> {
        let may_wait = *self.flags.get() & O_NONBLOCK == 0;
        schedule::wait_until(Key::Files, None, || match attempt() {
            None if !may_wait => Err(Errno::AGAIN),
            result => Ok(result),
        })
    }
}

/// An entry of a process's table.
#[derive(Clone)]
struct Descriptor {
    open: Arc<Open>,
    closes_on_exec: bool,
}

/// The descriptors of a process.
#[derive(Clone, Default)]
pub struct Descriptors(BTreeMap<usize, Descriptor>);

/// Descriptors are below this.
const MOST: usize = 1024;

impl Descriptors {
    /// 0, 1 and 2 lead to the console.
    pub fn console() -> Self {
        let mut descriptors = Self::default();
        let open = Open::new(Object::Console, 0);
        for number in 0..3 {
            descriptors.set(number, open.clone(), false);
        }
        descriptors
    }

    /// The open file of a descriptor.
    pub fn open(&self, number: usize) -> Result<Arc<Open>, Errno> {
        let descriptor = self.0.get(&number).ok_or(Errno::BAD_DESCRIPTOR)?;
        Ok(descriptor.open.clone())
    }

    /// The lowest free descriptor, not below `least`, leads to a file now.
    pub fn add(&mut self, open: Arc<Open>, flags: u32, least: usize) -> Result<usize, Errno> {
        let mut free = (least..MOST).filter(|number| !self.0.contains_key(number));
        let number = free.next().ok_or(Errno::TOO_MANY_FILES)?;
        self.set(number, open, flags & O_CLOEXEC != 0);
        Ok(number)
    }

    /// A descriptor leads to a file now, whatever it led to before.
    pub fn set(&mut self, number: usize, open: Arc<Open>, closes_on_exec: bool) {
        let descriptor = Descriptor {
            open,
            closes_on_exec,
        };
        self.0.insert(number, descriptor);
    }

    /// Closes a descriptor.
    pub fn close(&mut self, number: usize) -> Result<(), Errno> {
        self.0
            .remove(&number)
            .map(drop)
            .ok_or(Errno::BAD_DESCRIPTOR)
    }

    /// Closes all descriptors from `first` to `last`.
    pub fn close_range(&mut self, first: usize, last: usize) {
        self.0.retain(|number, _| !(first..=last).contains(number));
    }

    /// Closes all descriptors.
    pub fn close_all(&mut self) {
        self.0.clear();
    }

    /// Closes those that are not for another program.
    pub fn close_on_exec(&mut self) {
        self.0.retain(|_, descriptor| !descriptor.closes_on_exec);
    }

    /// Whether a descriptor is closed at exec, to read and to change.
    pub fn closes_on_exec(&mut self, number: usize) -> Result<&mut bool, Errno> {
        let descriptor = self.0.get_mut(&number).ok_or(Errno::BAD_DESCRIPTOR)?;
        Ok(&mut descriptor.closes_on_exec)
    }
}

/// The target of a symbolic link, or of the few links in /proc that programs read.
pub fn link(directory: &str, path: &str) -> Result<String, Errno> {
    let absolute = initrd::absolute(directory, path);
    if absolute == "/proc/self/exe" {
        return Ok(schedule::current().process.program.get().clone());
    }
    initrd::link(&absolute)
}

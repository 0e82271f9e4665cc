//! Calls about files, by the table of calls.

use crate::errno::Errno;
use crate::files::initrd::{self, Node};
use crate::files::{self, Object, Open, epoll, pipe};
use crate::lock::Guarded;
use crate::task::signal::{Info, send};
use crate::task::{Key, Process, schedule};
use crate::user;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::mem::offset_of;
use linux_raw_sys::general as linux;
use linux_raw_sys::ioctl;

/// A descriptor's number as far as paths go: the current directory.
#[cfg(target_arch = "x86_64")]
pub const HERE: usize = linux::AT_FDCWD as usize;
/// `stat` of a symbolic link itself.
pub const NO_FOLLOW: usize = linux::AT_SYMLINK_NOFOLLOW as usize;

/// Bytes are copied in pieces of at most this size.
const PIECE: usize = 64 << 10;

fn process() -> Arc<Process> {
    schedule::current().process.clone()
}

fn opened(descriptor: usize) -> Result<Arc<Open>, Errno> {
    process().files.get().open(descriptor)
}

pub fn read(descriptor: usize, address: usize, length: usize) -> Result<usize, Errno> {
    let open = opened(descriptor)?;
    let mut bytes = vec![0; length.min(PIECE)];
    let length = open.read(&mut bytes)?;
    user::write(address, &bytes[..length])?;
    Ok(length)
}

pub fn write(descriptor: usize, address: usize, length: usize) -> Result<usize, Errno> {
    let open = opened(descriptor)?;
    let mut bytes = vec![0; length.min(PIECE)];
    user::read(address, &mut bytes)?;
    let result = open.write(&bytes);
    if result == Err(Errno::PIPE) {
        let task = schedule::current();
        let info = Info::sent(linux::SIGPIPE, task.process.id);
        send(&task.process, Some(&task), info);
    }
    result
}

/// `readv`, `writev`: until one buffer is not used to its end.
pub fn vectored(
    a: super::Arguments,
    call: fn(usize, usize, usize) -> Result<usize, Errno>,
) -> Result<usize, Errno> {
    let [descriptor, vector, count, ..] = a;
    let mut done = 0;
    for index in 0..count {
        let [address, length] = user::words(vector.wrapping_add(index * 2 * user::WORD))?;
        if length == 0 {
            continue;
        }
        match call(descriptor, address, length) {
            Ok(part) => {
                done += part;
                if part < length {
                    break;
                }
            }
            Err(_) if done > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

pub fn read_at(
    descriptor: usize,
    address: usize,
    length: usize,
    at: usize,
) -> Result<usize, Errno> {
    match &opened(descriptor)?.object {
        Object::Node(node, _) => {
            let contents = node.contents().ok_or(Errno::IS_DIRECTORY)?;
            let rest = contents.get(at..).unwrap_or_default();
            let length = rest.len().min(length);
            user::write(address, &rest[..length])?;
            Ok(length)
        }
        _ => Err(Errno::SEEK),
    }
}

/// The directory that a relative path begins in.
fn directory(descriptor: usize) -> Result<String, Errno> {
    if descriptor as i32 == linux::AT_FDCWD {
        return Ok(process().directory.get().clone());
    }
    match &opened(descriptor)?.object {
        Object::Node(node, _) if node.is_directory() => Ok(node.path.clone()),
        _ => Err(Errno::NOT_DIRECTORY),
    }
}

pub fn open(at: usize, path: usize, flags: usize) -> Result<usize, Errno> {
    let flags = flags as u32;
    let open = Open::at_path(&directory(at)?, &user::path(path)?, flags);
    let open = match open {
        Err(Errno::NOT_FOUND) if flags & linux::O_CREAT != 0 => Err(Errno::READ_ONLY),
        open => open,
    }?;
    if let Object::Node(node, _) = &open.object {
        if flags & linux::O_ACCMODE != linux::O_RDONLY {
            return Err(Errno::READ_ONLY);
        }
        if flags & linux::O_DIRECTORY != 0 && !node.is_directory() {
            return Err(Errno::NOT_DIRECTORY);
        }
    }
    process().files.get().add(open, flags, 0)
}

pub fn close(descriptor: usize) -> Result<usize, Errno> {
    process().files.get().close(descriptor).map(|()| 0)
}

pub fn close_range(first: usize, last: usize) -> Result<usize, Errno> {
    process().files.get().close_range(first, last);
    Ok(0)
}

pub fn seek(descriptor: usize, offset: isize, from: usize) -> Result<usize, Errno> {
    let open = opened(descriptor)?;
    let Object::Node(node, position) = &open.object else {
        return Err(Errno::SEEK);
    };
    let mut position = position.get();
    let base = match from as u32 {
        linux::SEEK_SET => 0,
        linux::SEEK_CUR => *position,
        linux::SEEK_END => node.size(),
        _ => return Err(Errno::INVALID),
    };
    *position = base.checked_add_signed(offset).ok_or(Errno::INVALID)?;
    Ok(*position)
}

pub fn stat_of(descriptor: usize, address: usize) -> Result<usize, Errno> {
    user::write_stat(address, &stat(&opened(descriptor)?.object)).map(|()| 0)
}

pub fn stat_at(at: usize, path: usize, address: usize, flags: usize) -> Result<usize, Errno> {
    let path = user::path(path)?;
    if path.is_empty() && flags & linux::AT_EMPTY_PATH as usize != 0 {
        return stat_of(at, address);
    }
    let directory = directory(at)?;
    let result = match flags & NO_FOLLOW {
        0 => stat(&Open::at_path(&directory, &path, 0)?.object),
        _ => stat_node(initrd::find_link(&directory, &path)?),
    };
    user::write_stat(address, &result).map(|()| 0)
}

fn stat(object: &Object) -> linux::stat {
    let mut stat = user::stat_of_nothing();
    let kind = match object {
        Object::Node(node, _) => return stat_node(node),
        Object::Reader(_) | Object::Writer(_) => linux::S_IFIFO,
        _ => linux::S_IFCHR,
    };
    stat.st_mode = kind | 0o666;
    stat.st_nlink = 1;
    stat.st_blksize = 4096;
    stat
}

fn stat_node(node: &Node) -> linux::stat {
    let mut stat = user::stat_of_nothing();
    stat.st_ino = node.inode as _;
    stat.st_mode = node.mode;
    stat.st_nlink = 1;
    stat.st_size = node.size() as _;
    stat.st_blksize = 4096;
    stat.st_blocks = node.size().div_ceil(512) as _;
    stat
}

pub fn directory_entries(descriptor: usize, address: usize, length: usize) -> Result<usize, Errno> {
    let open = opened(descriptor)?;
    let Object::Node(node, position) = &open.object else {
        return Err(Errno::NOT_DIRECTORY);
    };
    if !node.is_directory() {
        return Err(Errno::NOT_DIRECTORY);
    }
    let mut position = position.get();
    let here = [(".", *node), ("..", *node)];
    let mut bytes = Vec::new();
    for (name, node) in here
        .into_iter()
        .chain(initrd::entries(node))
        .skip(*position)
    {
        const NAME: usize = offset_of!(linux::linux_dirent64, d_name);
        let size = (NAME + name.len() + 1).next_multiple_of(8);
        if bytes.len() + size > length {
            if bytes.is_empty() {
                return Err(Errno::INVALID);
            }
            break;
        }
        *position += 1;
        bytes.extend((node.inode as u64).to_ne_bytes());
        bytes.extend((*position as u64).to_ne_bytes());
        bytes.extend((size as u16).to_ne_bytes());
        // DT_ types are the kind's bits of a mode (linux/fs_types.h).
        bytes.push((node.mode >> 12) as u8);
        bytes.extend(name.as_bytes());
        bytes.resize(bytes.len() + size - NAME - name.len(), 0);
    }
    user::write(address, &bytes)?;
    Ok(bytes.len())
}

pub fn read_link(at: usize, path: usize, address: usize, length: usize) -> Result<usize, Errno> {
    let target = files::link(&directory(at)?, &user::path(path)?)?;
    let length = length.min(target.len());
    user::write(address, &target.as_bytes()[..length])?;
    Ok(length)
}

/// `faccessat`: every program runs as root.
pub fn access(at: usize, path: usize) -> Result<usize, Errno> {
    Open::at_path(&directory(at)?, &user::path(path)?, 0).map(|_| 0)
}

pub fn current_directory(address: usize, length: usize) -> Result<usize, Errno> {
    let mut bytes = process().directory.get().clone().into_bytes();
    bytes.push(0);
    if bytes.len() > length {
        return Err(Errno::RANGE);
    }
    user::write(address, &bytes)?;
    Ok(bytes.len())
}

pub fn change_directory(path: usize) -> Result<usize, Errno> {
    let process = process();
    let path = user::path(path)?;
    let mut directory = process.directory.get();
    let node = initrd::find(&directory, &path)?;
    if !node.is_directory() {
        return Err(Errno::NOT_DIRECTORY);
    }
    directory.clone_from(&node.path);
    Ok(0)
}

pub fn duplicate(descriptor: usize) -> Result<usize, Errno> {
    let open = opened(descriptor)?;
    process().files.get().add(open, 0, 0)
}

pub fn duplicate_to(descriptor: usize, to: usize, flags: usize) -> Result<usize, Errno> {
    if descriptor == to {
        return Err(Errno::INVALID);
    }
    let open = opened(descriptor)?;
    let closes = flags as u32 & linux::O_CLOEXEC != 0;
    process().files.get().set(to, open, closes);
    Ok(to)
}

#[cfg(target_arch = "x86_64")]
pub fn duplicate_over(descriptor: usize, to: usize) -> Result<usize, Errno> {
    let open = opened(descriptor)?;
    if descriptor != to {
        process().files.get().set(to, open, false);
    }
    Ok(to)
}

pub fn pipe(address: usize, flags: usize) -> Result<usize, Errno> {
    let flags = flags as u32;
    let (reader, writer) = pipe::new();
    let process = process();
    let mut files = process.files.get();
    let mut add = |object| {
        let open = Open::new(object, flags & linux::O_NONBLOCK);
        files.add(open, flags, 0)
    };
    let ends = [add(Object::Reader(reader))?, add(Object::Writer(writer))?];
    drop(files);
    for (index, end) in ends.into_iter().enumerate() {
        user::write_u32(address + 4 * index, end as u32)?;
    }
    Ok(0)
}

pub fn control(descriptor: usize, command: usize, argument: usize) -> Result<usize, Errno> {
    let open = opened(descriptor)?;
    let process = process();
    let mut files = process.files.get();
    let changeable = linux::O_NONBLOCK;
    match command as u32 {
        linux::F_DUPFD => files.add(open, 0, argument),
        linux::F_DUPFD_CLOEXEC => files.add(open, linux::O_CLOEXEC, argument),
        linux::F_GETFD => Ok(usize::from(*files.closes_on_exec(descriptor)?)),
        linux::F_SETFD => {
            *files.closes_on_exec(descriptor)? = argument as u32 & linux::FD_CLOEXEC != 0;
            Ok(0)
        }
        linux::F_GETFL => {
            let access = match open.object {
                Object::Node(..) | Object::Reader(_) => linux::O_RDONLY,
                Object::Writer(_) => linux::O_WRONLY,
                _ => linux::O_RDWR,
            };
            Ok((access | *open.flags.get()) as usize)
        }
        linux::F_SETFL => {
            *open.flags.get() = argument as u32 & changeable;
            Ok(0)
        }
        _ => Err(Errno::INVALID),
    }
}

/// `ioctl`: the console is a terminal, in the foreground of every group.
pub fn device_control(descriptor: usize, request: usize, address: usize) -> Result<usize, Errno> {
    let open = opened(descriptor)?;
    if !matches!(open.object, Object::Console) {
        return Err(Errno::NO_TERMINAL);
    }
    match request as u32 {
        ioctl::TCGETS => {
            // Canonical mode with echo, ICANON | ECHO in `c_lflag`, and 19 control characters.
            let mut bytes = [0; 36];
            bytes[12..16].copy_from_slice(&(linux::ICANON | linux::ECHO).to_ne_bytes());
            user::write(address, &bytes)?;
        }
        ioctl::TIOCGWINSZ => user::write(address, &[24, 0, 80, 0, 0, 0, 0, 0])?,
        ioctl::TIOCGPGRP => {
            let group = process().group.get().0;
            user::write_u32(address, group as u32)?;
        }
        ioctl::TIOCSPGRP | ioctl::TCSETS | ioctl::TCSETSW | ioctl::TCSETSF => {}
        _ => return Err(Errno::NO_TERMINAL),
    }
    Ok(0)
}

/// `ppoll`, without changing the mask, and `poll`: until the time that is left is over.
pub fn poll(address: usize, count: usize, left: Option<u64>) -> Result<usize, Errno> {
    let deadline = left.map(|left| crate::time::monotonic().saturating_add(left));
    if count > 1024 {
        return Err(Errno::INVALID);
    }
    let mut entries = vec![[0_u8; 8]; count];
    for (index, entry) in entries.iter_mut().enumerate() {
        user::read(address.wrapping_add(8 * index), entry)?;
    }
    let result = schedule::wait_until(Key::Files, deadline, || {
        let mut ready = 0;
        for entry in &mut entries {
            let descriptor = i32::from_ne_bytes([entry[0], entry[1], entry[2], entry[3]]);
            let wanted = u16::from_ne_bytes([entry[4], entry[5]]);
            let events = ready_events(descriptor, wanted);
            entry[6..].copy_from_slice(&events.to_ne_bytes());
            ready += usize::from(events != 0);
        }
        Ok((ready > 0).then_some(ready))
    });
    let ready = match result {
        Err(Errno::TIMED_OUT) => 0,
        Err(Errno::RESTART) => return Err(Errno::INTERRUPTED),
        result => result?,
    };
    for (index, entry) in entries.iter().enumerate() {
        user::write(address + 8 * index, entry)?;
    }
    Ok(ready)
}

fn ready_events(descriptor: i32, wanted: u16) -> u16 {
    const IN: u16 = linux::POLLIN as u16;
    const OUT: u16 = linux::POLLOUT as u16;
    let Ok(number) = usize::try_from(descriptor) else {
        return 0;
    };
    match opened(number) {
        Err(_) => linux::POLLNVAL as u16,
        Ok(open) => {
            let (readable, writable) = open.is_ready();
            let bit = |is_ready: bool, event: u16| if is_ready { event } else { 0 };
            wanted & (bit(readable, IN) | bit(writable, OUT))
        }
    }
}

/// `struct epoll_event`: events, and data that x86-64 alone does not align.
const EVENT: usize = if cfg!(target_arch = "x86_64") { 12 } else { 16 };

pub fn new_set(flags: usize) -> Result<usize, Errno> {
    let open = Open::new(Object::Epoll(Guarded::new(epoll::Epoll::default())), 0);
    process().files.get().add(open, flags as u32, 0)
}

pub fn control_set(
    set: usize,
    operation: usize,
    descriptor: usize,
    address: usize,
) -> Result<usize, Errno> {
    let (set, open) = (opened(set)?, opened(descriptor)?);
    let Object::Epoll(set) = &set.object else {
        return Err(Errno::INVALID);
    };
    if matches!(open.object, Object::Epoll(_)) {
        // Sets within sets could lead in circles.
        return Err(Errno::INVALID);
    }
    let (mut events, mut data) = ([0; 4], [0; 8]);
    if operation as u32 != linux::EPOLL_CTL_DEL {
        user::read(address, &mut events)?;
        user::read(address.wrapping_add(EVENT - 8), &mut data)?;
    }
    let event = (u32::from_ne_bytes(events), u64::from_ne_bytes(data));
    set.get()
        .control(operation as u32, descriptor, &open, event)?;
    Ok(0)
}

/// `epoll_pwait`, without changing the mask.
pub fn wait_for_set(
    set: usize,
    address: usize,
    most: usize,
    left: Option<u64>,
) -> Result<usize, Errno> {
    let deadline = left.map(|left| crate::time::monotonic().saturating_add(left));
    let open = opened(set)?;
    let Object::Epoll(set) = &open.object else {
        return Err(Errno::INVALID);
    };
    if most == 0 || most > 1024 {
        return Err(Errno::INVALID);
    }
    let ready = schedule::wait_until(Key::Files, deadline, || {
        let ready = set.get().ready(most);
        Ok((!ready.is_empty()).then_some(ready))
    });
    let ready = match ready {
        Err(Errno::TIMED_OUT) => return Ok(0),
        Err(Errno::RESTART) => return Err(Errno::INTERRUPTED),
        ready => ready?,
    };
    for (index, (events, data)) in ready.iter().enumerate() {
        let at = address.wrapping_add(EVENT * index);
        user::write_u32(at, *events)?;
        user::write(at.wrapping_add(EVENT - 8), &data.to_ne_bytes())?;
    }
    Ok(ready.len())
}

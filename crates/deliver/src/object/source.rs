//! The ranges of an object, and the files behind them.

use std::ffi::c_int;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;

use crate::join;
use crate::visit::Place;

/// A range of the object, and the bytes that it begins with in every program.
#[derive(Debug)]
pub(crate) struct ObjectRange {
    /// `None`: zeros, or the first text before [`Object::keep`] or [`Object::complete`].
    pub(super) backing: Option<Backing>,
    pub(super) offset: u64,
    /// Bytes from the object's start.
    pub(super) distance: u64,
    pub(super) length: u64,
    pub(super) role: Role,
}

/// A file, and its identity in all mount namespaces (inode(7)).
#[derive(Debug)]
pub(crate) struct Backing {
    pub(crate) file: File,
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

/// How a range of an object is mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Headers and code: private and executable.
    Text,
    /// Vvar pages: shared and read-only.
    Vvar,
    /// Memory of the process's own: anonymous and writable.
    Own,
    /// What is only read, and by tools alone: private and read-only.
    Record,
    /// Memory in which a traced program counts its calls: shared and writable.
    #[cfg(target_arch = "x86_64")]
    Counts,
}

impl ObjectRange {
    pub(crate) fn new(
        file: File,
        offset: u64,
        distance: u64,
        length: u64,
        role: Role,
    ) -> io::Result<ObjectRange> {
        let metadata = file.metadata()?;
        let (device, inode) = (metadata.dev(), metadata.ino());
        Ok(ObjectRange {
            backing: Some(Backing {
                file,
                device,
                inode,
            }),
            offset,
            distance,
            length,
            role,
        })
    }

    /// The first text, which is in no file yet.
    pub(super) fn text(length: u64) -> ObjectRange {
        ObjectRange {
            backing: None,
            offset: 0,
            distance: 0,
            length,
            role: Role::Text,
        }
    }

    /// Zeros that each process has for itself.
    pub(crate) fn own(distance: u64, length: u64) -> ObjectRange {
        ObjectRange {
            backing: None,
            offset: 0,
            distance,
            length,
            role: Role::Own,
        }
    }

    /// Its PT_LOAD in the image in front of the object.
    pub(super) fn load(&self) -> join::Load {
        join::Load {
            distance: self.distance,
            length: self.length,
            is_text: self.role == Role::Text,
        }
    }

    /// How it is mapped, with `flags` in addition to those of its role.
    pub(crate) fn place(&self, flags: c_int) -> Place<'_> {
        let &ObjectRange {
            ref backing,
            offset,
            distance,
            length,
            role,
        } = self;
        // Zeros would be mapped in its place.
        debug_assert_eq!(backing.is_none(), role == Role::Own, "{role:?} has a file");
        let (protection, sharing) = match role {
            Role::Text => (libc::PROT_READ | libc::PROT_EXEC, libc::MAP_PRIVATE),
            Role::Vvar => (libc::PROT_READ, libc::MAP_SHARED),
            Role::Record => (libc::PROT_READ, libc::MAP_PRIVATE),
            Role::Own => (
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            ),
            #[cfg(target_arch = "x86_64")]
            Role::Counts => (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED),
        };
        let flags = flags | sharing;
        Place {
            backing: backing.as_ref(),
            offset,
            length,
            distance,
            protection,
            flags,
        }
    }
}

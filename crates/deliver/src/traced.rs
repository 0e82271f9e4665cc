//! An object in front of others, or of the kernel's vDSO alone, whose functions call the functions
//! behind them and count the calls.
//!
//! Its text, and what lies behind that, are [`vdsokit_trace::text`]'s. A function of the kernel's is
//! reached by a link; one of another object by a link that holds an address in this one, as that of
//! an object's own memory does.

use std::io;

use vdsokit_elf::own;
use vdsokit_trace::buffer::Buffer;
use vdsokit_trace::function::{Failure, KNOWN, Known, VERSION, known};
use vdsokit_trace::text::{self, LENGTH, OWN_AT, OWN_LENGTH, SHARED_AT, Target};

use crate::error::Error;
use crate::link::Link;
use crate::object::{Function, Head, Object, ObjectRange, Role, image_file};
use crate::unwind::Section;

/// DW_CFA_def_cfa_offset (DWARF 5, 6.4.2.2).
const DEF_CFA_OFFSET: u8 = 0x0e;

/// A function to be wrapped.
struct Wrapped {
    name: String,
    version: Option<String>,
    known: Option<&'static Known>,
    /// Where it lies in the objects; `None`: in the kernel's vDSO.
    distance: Option<u64>,
}

impl Object {
    /// One object of several, all of whose functions `is_wanted` are counted in `buffer`, and those of
    /// the kernel's vDSO that no object replaces. The second value has the names of the functions
    /// that are counted, by their numbers in the buffer; the kernel's are without `__vdso_`.
    ///
    /// What programs count they write into memory that all of them share: each of them can make the
    /// counts wrong, and do nothing else to the others.
    ///
    /// # Errors
    /// [`Error::FileSizeLimit`], or [`Error::System`] when there are more than
    /// [`text::FUNCTIONS`] functions, or the kernel refuses a descriptor.
    pub fn traced(
        objects: Vec<Object>,
        buffer: &Buffer,
        is_wanted: impl Fn(&str) -> bool,
    ) -> Result<(Object, Vec<String>), Error> {
        let system = || Error::system("prepare the tracing");
        let (shared, shared_length) = buffer.file().map_err(system())?;
        let length = SHARED_AT as u64 + shared_length;
        let mut wrapped = Vec::new();
        let mut start = length;
        for object in &objects {
            for function in &object.functions {
                wrapped.push(Wrapped {
                    name: function.name.clone(),
                    version: function.version.clone(),
                    known: known(&function.name),
                    distance: Some(start + function.distance),
                });
            }
            start += object.length;
        }
        for known in KNOWN {
            let is_replaced = |other: &Wrapped| other.known.is_some_and(|o| o.name == known.name);
            if has_kernel(known.symbol) && !wrapped.iter().any(is_replaced) {
                wrapped.push(Wrapped {
                    name: known.symbol.to_owned(),
                    version: Some(VERSION.to_owned()),
                    known: vdsokit_trace::function::known(known.name),
                    distance: None,
                });
            }
        }
        wrapped.retain(|wrapped| is_wanted(wrapped.plain_name()));
        let names = wrapped
            .iter()
            .map(|wrapped| wrapped.plain_name().to_owned());
        let names = names.collect();
        let mut traced = Object::of_wrappers(&wrapped, buffer)?;
        let shared = ObjectRange::new(
            shared.into(),
            0,
            SHARED_AT as u64,
            shared_length,
            Role::Counts,
        );
        traced.sources.push(shared.map_err(system())?);
        traced.length = length;
        let all = Object::join(std::iter::once(traced).chain(objects).collect())?;
        Ok((all, names))
    }

    fn of_wrappers(wrapped: &[Wrapped], buffer: &Buffer) -> Result<Object, Error> {
        let system = || Error::system("prepare the tracing");
        let targets: Vec<Target> = wrapped.iter().map(Wrapped::target).collect();
        let too_many = || io::Error::other("there are too many functions; choose some");
        let mut text = text::compose(&targets, buffer).ok_or_else(|| system()(too_many()))?;
        let mut object = Object::empty();
        let at = text.bytes.len().next_multiple_of(8);
        let mut section = Section::new(at as i64, 0, &[]);
        for frame in &text.frames {
            let mut instructions = Vec::new();
            if frame.above != 0 {
                instructions.push(DEF_CFA_OFFSET);
                instructions.extend(uleb128(frame.above + 8));
            }
            section.describe(frame.code.start as i64, frame.code.len(), &instructions);
        }
        let frames = section.bytes();
        text.bytes.resize(at, 0);
        object.text.frames = Some((at as u64, frames.len() as u64));
        text.bytes.extend(frames);
        object.frames = section.entries;
        for ((wrapped, wrapper), word) in wrapped.iter().zip(text.wrappers).zip(text.words) {
            object.functions.push(Function {
                name: wrapped.name.clone(),
                version: wrapped.version.clone(),
                distance: wrapper.start as u64,
                size: wrapper.len() as u64,
            });
            object.links.push(Link {
                word: word as u64,
                name: wrapped.name.clone(),
                version: wrapped.version.clone().unwrap_or_default(),
                own: wrapped.distance,
            });
        }
        text.bytes.resize(LENGTH, 0);
        let file = image_file(&text.bytes)?;
        let source = ObjectRange::new(file, 0, 0, LENGTH as u64, Role::Text);
        object.sources.push(source.map_err(system())?);
        let own = ObjectRange::own(OWN_AT as u64, OWN_LENGTH as u64);
        object.sources.push(own);
        object.heads.push(Head::of(&text.bytes, 0));
        object.text.bytes = text.bytes;
        Ok(object)
    }
}

impl Wrapped {
    fn plain_name(&self) -> &str {
        match self.known {
            Some(known) => known.name,
            None => &self.name,
        }
    }

    fn target(&self) -> Target {
        match self.known {
            Some(known) => Target {
                number: known.number,
                failure: known.failure,
                written: known.written,
            },
            None => Target {
                number: None,
                failure: Failure::None,
                written: &[],
            },
        }
    }
}

/// Whether the kernel's vDSO has the function `symbol`. A process whose vDSO is another assumes it: a
/// wrapper without a function makes the system call.
fn has_kernel(symbol: &str) -> bool {
    own::image().is_none_or(|image| image.lookup(symbol).is_some())
}

/// A number of at most 14 bits in the variable-length form of DWARF 5, 7.6.
fn uleb128(value: usize) -> Vec<u8> {
    match value {
        0..0x80 => vec![value as u8],
        _ => vec![value as u8 | 0x80, (value >> 7) as u8],
    }
}

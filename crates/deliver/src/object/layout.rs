//! How an image is mapped: the shape that delivery relies on, read from the file.

use vdsokit_elf::check::{self, Profile};
use vdsokit_elf::constants::{ET_CORE, PF_W, PF_X, PT_GNU_EH_FRAME};
use vdsokit_elf::{Image, Kind, Segment};

use super::{Function, PAGE, Text};
use crate::error::{Error, ImageError};
use crate::link::{self, Link};
use crate::unwind::{self, Frame};

/// `e_type` of relocatable object files and of programs with a fixed address (elf(5)).
const ET_REL: u16 = 1;
const ET_EXEC: u16 = 2;

/// How an image is mapped, and what it exports.
#[derive(Debug)]
pub(super) struct Layout {
    /// Bytes of the text's pages.
    pub(super) text: u64,
    /// Bytes of all.
    pub(super) length: u64,
    pub(super) vvar: Option<Stretch>,
    pub(super) links: Vec<Link>,
    pub(super) functions: Vec<Function>,
    pub(super) frames: Vec<Frame>,
    pub(super) text_bytes: Text,
}

/// A range of an image, from the start of its text.
#[derive(Debug)]
pub(super) struct Stretch {
    pub(super) offset: u64,
    pub(super) distance: u64,
    pub(super) length: u64,
}

impl Layout {
    /// Reads the layout of an image for `machine`.
    ///
    /// # Errors
    /// When the image does not have the shape that delivery relies on (a first PT_LOAD, readable
    /// and executable, at offset 0 and an address other than 0, then at most one more, read-only,
    /// at the distance of its offset), or breaks another rule of `vdso check`: code of a damaged
    /// image would run in every program.
    pub(super) fn of(bytes: &[u8], machine: u16) -> Result<Layout, Error> {
        let image = Image::parse(bytes).map_err(ImageError::Parse)?;
        match image.header().kind {
            ET_REL => return Err(ImageError::Kind("a relocatable object file").into()),
            ET_EXEC => return Err(ImageError::Kind("a program").into()),
            ET_CORE => return Err(ImageError::Kind("a core dump").into()),
            _ => {}
        }
        if image.header().machine != machine {
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
            frames: Vec::new(),
            text_bytes: Text::default(),
        };
        let mut code = bytes[..text.memsz as usize].to_vec();
        let frames = image
            .segments()
            .find(|segment| segment.kind == PT_GNU_EH_FRAME);
        if let Some(at) = frames.and_then(|frames| frames.vaddr.checked_sub(text.vaddr)) {
            layout.frames = unwind::read(&code, at as usize);
            layout.text_bytes.frames = unwind::section(&code, at as usize);
        }
        code.resize(text_length as usize, 0);
        layout.text_bytes.bytes = code;
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

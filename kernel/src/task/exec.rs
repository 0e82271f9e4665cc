//! Programs: loading one, and becoming it.

use super::process::Process;
use super::signal::Action;
use super::{Key, schedule};
use crate::arch::{self, Frame};
use crate::errno::Errno;
use crate::files::initrd;
use crate::memory::{Area, PAGE, Rights, Source, Space, page_of};
use crate::{random, vdso};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use linux_raw_sys::auxvec::{
    AT_BASE, AT_CLKTCK, AT_EGID, AT_ENTRY, AT_EUID, AT_EXECFN, AT_FLAGS, AT_GID, AT_HWCAP, AT_NULL,
    AT_PAGESZ, AT_PHDR, AT_PHENT, AT_PHNUM, AT_RANDOM, AT_SECURE, AT_UID,
};
use vdsokit_elf::constants::{PF_R, PF_W, PF_X, PT_INTERP};
use vdsokit_elf::{Class, Image as Elf};

/// A program in a space of its own, before its first instruction.
pub struct Image {
    /// Its path.
    pub path: String,
    /// Its space.
    pub space: Space,
    /// Its registers.
    pub frame: Frame,
}

/// The size of a program's stack, of which only touched pages exist.
const STACK: usize = 8 << 20;

/// Where programs that may lie anywhere are put.
const ANYWHERE: usize = 0x10_0000_0000;

/// `ET_DYN`: a program that may lie anywhere.
const RELOCATABLE: u16 = 3;

/// Loads a program of a process, with its arguments and environment.
pub fn load(
    path: &str,
    arguments: &[String],
    environment: &[String],
    process: &Process,
) -> Result<Image, Errno> {
    let file = initrd::find("/", path)?;
    let bytes = file.program().ok_or(Errno::ACCESS)?;
    let elf = Elf::parse(bytes).map_err(|_| Errno::FORMAT)?;
    let header = *elf.header();
    if header.machine != arch::ELF_MACHINE || header.class != Class::Elf64 {
        return Err(Errno::FORMAT);
    }
    let bias = if header.kind == RELOCATABLE {
        ANYWHERE
    } else {
        0
    };
    let mut space = Space::new()?;
    let mut end = 0;
    let mut headers = 0;
    for segment in elf.segments() {
        if segment.kind == PT_INTERP {
            // Only static programs: there is no dynamic linker.
            return Err(Errno::FORMAT);
        }
        if !segment.is_load() || segment.memsz == 0 {
            continue;
        }
        let start = bias.wrapping_add(segment.vaddr as usize);
        let stop = start
            .checked_add(segment.memsz as usize)
            .ok_or(Errno::FORMAT)?;
        let offset = segment.offset as usize;
        let in_file = offset
            .checked_add(segment.filesz as usize)
            .ok_or(Errno::FORMAT)?;
        let content = bytes.get(page_of(offset)..in_file).ok_or(Errno::FORMAT)?;
        if offset % PAGE != start % PAGE {
            return Err(Errno::FORMAT);
        }
        let stop_page = stop.checked_next_multiple_of(PAGE).ok_or(Errno::FORMAT)?;
        let right = |flag, right| match segment.flags & flag {
            0 => Rights::empty(),
            _ => right,
        };
        let rights =
            right(PF_R, Rights::READ) | right(PF_W, Rights::WRITE) | right(PF_X, Rights::EXECUTE);
        // Whole pages of the file, as on Linux.
        let area = Area::new(rights, Source::Bytes(content, page_of(start)));
        space
            .add(page_of(start)..stop_page, area)
            .map_err(|_| Errno::FORMAT)?;
        end = end.max(stop_page);
        let within = (header.phoff as usize).checked_sub(offset);
        if let Some(within) = within.filter(|within| *within < segment.filesz as usize) {
            headers = start + within;
        }
    }
    if end == 0 {
        return Err(Errno::FORMAT);
    }
    space.heap = end..end;
    let stack = arch::USER_END - PAGE - STACK..arch::USER_END - PAGE;
    let area = Area::new(Rights::READ | Rights::WRITE, Source::Zeros);
    space.add(stack.clone(), area)?;
    vdso::map(&mut space, process.facts(), *process.denied.get())?;
    let entry = bias.wrapping_add(header.entry as usize);
    let auxiliary = [
        (AT_PHDR as usize, headers),
        (AT_PHENT as usize, usize::from(header.phentsize)),
        (AT_PHNUM as usize, usize::from(header.phnum)),
        (AT_ENTRY as usize, entry),
    ];
    let pointer = fill_stack(
        &mut space,
        stack.end,
        path,
        arguments,
        environment,
        &auxiliary,
    )?;
    Ok(Image {
        path: file.path.clone(),
        space,
        frame: Frame::new(entry, pointer),
    })
}

/// Writes what a program finds on its stack, and returns the stack pointer.
fn fill_stack(
    space: &mut Space,
    top: usize,
    path: &str,
    arguments: &[String],
    environment: &[String],
    auxiliary: &[(usize, usize)],
) -> Result<usize, Errno> {
    let mut at = top;
    let mut push = |space: &mut Space, bytes: &[u8]| {
        at = at.checked_sub(bytes.len()).ok_or(Errno::TOO_BIG)?;
        if at < top - STACK / 4 {
            return Err(Errno::TOO_BIG);
        }
        space.write(at, bytes)?;
        Ok(at)
    };
    let mut push_text = |space: &mut Space, text: &str| {
        push(space, &[0])?;
        push(space, text.as_bytes())
    };
    let name = push_text(space, path)?;
    let mut texts = |space: &mut Space, texts: &[String]| -> Result<Vec<usize>, Errno> {
        texts.iter().map(|text| push_text(space, text)).collect()
    };
    let environment = texts(space, environment)?;
    let arguments = texts(space, arguments)?;
    let mut bytes = [0; 16];
    random::fill(&mut bytes);
    let random = push(space, &bytes)?;
    let mut words = alloc::vec![arguments.len()];
    words.extend(arguments);
    words.push(0);
    words.extend(environment);
    words.push(0);
    let own = [
        (AT_HWCAP, arch::capabilities()),
        (AT_PAGESZ, PAGE),
        (AT_CLKTCK, 100),
        (AT_BASE, 0),
        (AT_FLAGS, 0),
        (AT_UID, 0),
        (AT_EUID, 0),
        (AT_GID, 0),
        (AT_EGID, 0),
        (AT_SECURE, 0),
        (AT_RANDOM, random),
        (AT_EXECFN, name),
    ];
    let own = own.map(|(kind, value)| (kind as usize, value));
    let entries = own.into_iter().chain(vdso::auxiliary(space));
    let entries = entries.chain(auxiliary.iter().copied());
    words.extend(entries.flat_map(|(kind, value)| [kind, value]));
    words.extend([AT_NULL as usize, 0]);
    let pointer = (random - size_of_val(words.as_slice())) & !15;
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    space.write(pointer, &bytes)?;
    Ok(pointer)
}

/// Has the current process become another program.
pub fn become_program(
    frame: &mut Frame,
    path: &str,
    arguments: &[String],
    environment: &[String],
) -> Result<(), Errno> {
    let task = schedule::current();
    let process: Arc<Process> = task.process.clone();
    let image = load(&path_from(&process, path), arguments, environment, &process)?;
    process.end_threads(Some(task.id));
    schedule::wait_until(Key::Thread(process.id), None, || {
        Ok((process.threads.get().len() == 1).then_some(()))
    })?;
    process.set_space(image.space);
    process.return_space();
    *process.program.get() = image.path;
    process.files.get().close_on_exec();
    for action in process.actions.get().iter_mut() {
        // What is ignored stays ignored.
        if action.handler > 1 {
            *action = Action::default();
        }
    }
    task.signals.get().stack = (0, 0);
    *task.clear_id_at.get() = 0;
    let mut state = task.state.get();
    *state = Default::default();
    state.restore();
    *frame = image.frame;
    Ok(())
}

fn path_from(process: &Process, path: &str) -> String {
    initrd::absolute(&process.directory.get(), path)
}

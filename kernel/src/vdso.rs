//! The vDSO of all processes: `vdsokit-guest` with this kernel's frames.

use crate::command_line::Options;
use crate::errno::Errno;
use crate::lock::Guarded;
use crate::memory::{Frame, PAGE, Rights, Space};
use crate::task::Process;
use crate::{arch, println, random};
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use vdsokit_clock::Timekeeper;
use vdsokit_guest::{Contents, Facts, Image, Page, Plan, Publisher, Reseeds};

/// A page that programs read.
pub struct Shared(Frame);

/// The page with facts of the process that an address space belongs to.
pub type ProcessPage = vdsokit_guest::Process<Shared>;

impl Page for Shared {
    fn store(&self, index: usize, word: u64) {
        self.0.word(index * 8).store(word, Ordering::Relaxed);
    }
}

struct Vdso {
    plan: Plan,
    /// The frames of the image's pages, in their order.
    text: Vec<Frame>,
    page: Frame,
    publisher: Publisher<Shared>,
}

static VDSO: Guarded<Option<Vdso>> = Guarded::new(None);

/// Where in an address space vDSOs lie: below the stack, anywhere in a gigabyte.
const WINDOW: core::ops::Range<u64> = {
    let end = arch::USER_END as u64 - (16 << 20);
    end - (1 << 30)..end
};

/// Fills the frames of the image, and begins the page.
pub fn initialise(options: &Options) {
    if !options.vdso {
        println!("reference kernel: no vDSO");
        return;
    }
    let image = Image::native().expect("vdsokit-guest has an image for each architecture here");
    let plan = Plan::new(image, PAGE).expect("every image can be mapped by pages of 4 KiB");
    let text = plan.pages().filter_map(|page| match page.contents {
        Contents::Text(bytes) => {
            let frame = Frame::zeroed().expect("the machine has no memory");
            frame.write(0, bytes);
            arch::instructions_written(frame.physical());
            Some(frame)
        }
        Contents::Vvar => None,
    });
    let text = text.collect();
    let page = Frame::zeroed().expect("the machine has no memory");
    let mut publisher = Publisher::new(Shared(page.clone()));
    publisher.process_pages();
    if random::is_seeded() {
        // The generator's key is never replaced again, so one generation is all there is.
        Reseeds::new(Shared(page.clone())).reseeded();
    }
    *VDSO.get() = Some(Vdso {
        plan,
        text,
        page,
        publisher,
    });
}

/// Publishes the clocks.
pub fn publish(keeper: &Timekeeper) {
    if let Some(vdso) = VDSO.get().as_mut() {
        vdso.publisher.publish(keeper);
    }
}

/// Maps it into the space of a new program of a process.
pub fn map(space: &mut Space, facts: Facts) -> Result<(), Errno> {
    let vdso = VDSO.get();
    let Some(vdso) = vdso.as_ref() else {
        return Ok(());
    };
    let mut bytes = [0; 8];
    random::fill(&mut bytes);
    let base = vdso.plan.place(WINDOW, u64::from_ne_bytes(bytes));
    let base = base.ok_or(Errno::MEMORY)? as usize;
    let mut text = vdso.text.iter();
    for page in vdso.plan.pages() {
        let frame = match page.contents {
            Contents::Text(_) => text.next(),
            Contents::Vvar => Some(&vdso.page),
        };
        let rights = Rights {
            read: true,
            write: false,
            execute: page.rights == vdsokit_guest::Rights::ReadExecute,
        };
        space.give(
            base + page.offset,
            rights,
            frame.cloned().into_iter().collect(),
        )?;
    }
    space.vdso = base;
    map_process_page(vdso, space, facts)
}

/// Gives the space of a forked process a page of facts of its own: it must not have its parent's.
pub fn forked(space: &mut Space, facts: Facts) -> Result<(), Errno> {
    match VDSO.get().as_ref() {
        Some(vdso) if space.vdso != 0 => map_process_page(vdso, space, facts),
        _ => Ok(()),
    }
}

fn map_process_page(vdso: &Vdso, space: &mut Space, facts: Facts) -> Result<(), Errno> {
    let frame = Frame::zeroed().ok_or(Errno::MEMORY)?;
    space.process = Some(ProcessPage::new(Shared(frame.clone()), facts));
    let rights = Rights {
        read: true,
        write: false,
        execute: false,
    };
    let place = space.vdso + vdso.plan.process();
    space.give(place, rights, [frame].into())
}

/// The entry of the auxiliary vector by which programs find it.
pub fn auxiliary(space: &Space) -> Option<(usize, usize)> {
    let vdso = VDSO.get();
    let (kind, address) = vdso.as_ref()?.plan.auxv(space.vdso as u64);
    Some((kind as usize, address as usize))
}

/// Where signal handlers of a process return to.
pub fn sigreturn(process: &Process) -> Option<usize> {
    let vdso = VDSO.get();
    let base = process.space().get().vdso as u64;
    let address = vdso.as_ref()?.plan.rt_sigreturn(base)?;
    Some(address as usize)
}

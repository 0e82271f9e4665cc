//! The vDSO of all processes: `vdsokit-guest` with this kernel's pages.

#[cfg(target_arch = "x86_64")]
pub mod current;
mod own;

pub use own::clock_gettime;

use crate::command_line::{Age, Options};
use crate::errno::Errno;
use crate::lock::Guarded;
use crate::memory::{Frame, PAGE, Rights, Section, SharedImage, Space};
use crate::task::{Denied, Process};
use crate::time::SECOND;
use crate::{arch, println, random};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use own::{OWN, PAGE_OF_OWN, PLAN};
use vdsokit_clock::Timekeeper;
use vdsokit_guest::Rights as Planned;
use vdsokit_guest::{Contents, Facts, Page, Plan, Publisher, Reseeds, Variables, WORDS};

/// The page with facts of the process that an address space belongs to.
pub type ProcessPage = vdsokit_guest::Process<Private>;

/// A page of one address space.
pub struct Private(Frame);

impl Page for Private {
    fn store(&self, index: usize, word: u64) {
        self.0.word(index * 8).store(word, Ordering::Relaxed);
    }
}

/// The words of a page in the kernel's image.
type Words = [AtomicU64; WORDS];

/// The page of processes that may not read the clock: every clock in it is the system call's.
static WITHOUT_CLOCK: Section<Words> = Section([const { AtomicU64::new(0) }; WORDS]);

/// The page of the kernel's own variables.
static VARIABLES: Section<Words> = Section([const { AtomicU64::new(0) }; WORDS]);

struct Vdso {
    plan: Plan,
    publisher: Publisher<&'static Words>,
    variables: Variables<&'static Words>,
    /// The pages of text for each set of denied calls, by its bits.
    variants: [Vec<Frame>; Denied::all().bits() + 1],
    page: Frame,
    page_without_clock: Frame,
}

static VDSO: Guarded<Option<Vdso>> = Guarded::new(None);

/// Whether programs get one.
static IS_MAPPED: Guarded<bool> = Guarded::new(false);

/// Where in an address space vDSOs lie: below the stack, anywhere in a gigabyte.
const WINDOW: core::ops::Range<u64> = {
    let end = arch::USER_END as u64 - (16 << 20);
    end - (1 << 30)..end
};

/// Begins the pages.
pub fn initialise(options: &Options) {
    if options.age == Age::Oldest {
        println!("reference kernel: no vDSO");
    }
    *IS_MAPPED.get() = options.age != Age::Oldest;
    let plan = match arch::has_execute_only() {
        true => PLAN.execute_only(),
        false => PLAN,
    };
    let publishers = [&OWN.0.page, &WITHOUT_CLOCK.0].map(|page| {
        let mut publisher = Publisher::new(page);
        publisher.process_pages();
        if random::is_seeded() {
            // The generator's key is never replaced again, so one generation is all there is.
            Reseeds::new(page).reseeded();
        }
        publisher
    });
    let [publisher, _] = publishers;
    #[cfg(target_arch = "x86_64")]
    current::initialise();
    let all = SharedImage::of(&OWN);
    let variants = core::array::from_fn(|bits| {
        let denied = Denied::from_bits_truncate(bits);
        variant(all.frames(), |name| {
            denied.has_function(name) || options.age == Age::Older && !is_old(name)
        })
    });
    *VDSO.get() = Some(Vdso {
        plan,
        publisher,
        variables: Variables::new(&VARIABLES.0, PLAN.image()),
        variants,
        page: all.frames()[PAGE_OF_OWN].clone(),
        page_without_clock: Frame::of_static(&WITHOUT_CLOCK, 0),
    });
}

/// The vDSO's pages for programs that map them by themselves.
pub fn image() -> SharedImage {
    SharedImage::of(&OWN)
}

/// A function's name without the prefix that architectures give it.
fn plain(name: &str) -> &str {
    let name = name.strip_prefix("__vdso_").unwrap_or(name);
    name.strip_prefix("__kernel_").unwrap_or(name)
}

/// Whether the vDSO of Linux 6.1 has a function: a kernel of that age has no others.
fn is_old(name: &str) -> bool {
    matches!(
        name,
        "clock_gettime" | "clock_getres" | "gettimeofday" | "time" | "getcpu" | "rt_sigreturn"
    )
}

/// The pages of text without some functions. A page that does not change is the kernel's own.
fn variant(own: &[Frame], is_absent: impl Fn(&str) -> bool) -> Vec<Frame> {
    let image = PLAN.image();
    let mut pages = own[..image.text().len().div_ceil(PAGE)].to_vec();
    let names = image.symbols().map(|(name, _)| name);
    let absent = names.filter(|name| is_absent(plain(name)));
    for byte in absent.filter_map(|name| image.definition(name)).flatten() {
        let page = &mut pages[byte / PAGE];
        if page.physical() == own[byte / PAGE].physical() {
            *page = page.copied().expect("the machine has no memory");
        }
        page.write(byte % PAGE, &[0]);
    }
    pages
}

/// Publishes the clocks.
pub fn publish(keeper: &Timekeeper) {
    if let Some(vdso) = VDSO.get().as_mut() {
        vdso.publisher.publish(keeper);
        // As manuscripts differ, the number of the beast is another one each second.
        let second = keeper.at(keeper.updated()).as_nanoseconds() / i128::from(SECOND);
        vdso.variables
            .set("number", if second % 2 == 0 { 666 } else { 616 });
    }
}

/// Maps it into the space of a new program of a process.
pub fn map(space: &mut Space, facts: Facts, denied: Denied) -> Result<(), Errno> {
    if !*IS_MAPPED.get() {
        return Ok(());
    }
    let mut bytes = [0; 8];
    random::fill(&mut bytes);
    let base = PLAN.place(WINDOW, u64::from_ne_bytes(bytes));
    space.vdso = base.ok_or(Errno::MEMORY)? as usize;
    if let Some(distance) = PLAN.variables() {
        let image = SharedImage::of(&VARIABLES);
        image.map(space, space.vdso + distance, 0..1, Rights::READ)?;
    }
    #[cfg(target_arch = "x86_64")]
    current::map(space)?;
    map_variant(space, denied)?;
    map_process_page(space, facts)
}

/// Maps text and page for a process that is denied some calls, in place of what it has.
pub fn map_variant(space: &mut Space, denied: Denied) -> Result<(), Errno> {
    let vdso = VDSO.get();
    let Some(vdso) = vdso.as_ref().filter(|_| space.vdso != 0) else {
        return Ok(());
    };
    let mut text = vdso.variants[denied.bits()].iter();
    for page in vdso.plan.pages() {
        let frame = match page.contents {
            Contents::Text(_) => text.next(),
            Contents::Vvar if denied.contains(Denied::CLOCK) => Some(&vdso.page_without_clock),
            Contents::Vvar => Some(&vdso.page),
        };
        let rights = match page.rights {
            Planned::Read => Rights::READ,
            Planned::Execute => Rights::EXECUTE,
            _ => Rights::READ | Rights::EXECUTE,
        };
        let frames = frame.cloned().into_iter().collect();
        space.give(space.vdso + page.offset, rights, frames)?;
    }
    Ok(())
}

/// Gives the space of a forked process a page of facts of its own: it must not have its parent's.
pub fn forked(space: &mut Space, facts: Facts) -> Result<(), Errno> {
    match space.vdso {
        0 => Ok(()),
        _ => map_process_page(space, facts),
    }
}

fn map_process_page(space: &mut Space, facts: Facts) -> Result<(), Errno> {
    let frame = Frame::zeroed().ok_or(Errno::MEMORY)?;
    space.process = Some(ProcessPage::new(Private(frame.clone()), facts));
    space.give(space.vdso + PLAN.process(), Rights::READ, [frame].into())
}

/// The entry of the auxiliary vector that i386's programs have for the address of the instruction that
/// enters the kernel (asm/auxvec.h).
const AT_SYSINFO: usize = 32;

/// The entries of the auxiliary vector for programs: where the vDSO is, and where it enters the
/// kernel.
pub fn auxiliary(space: &Space) -> impl Iterator<Item = (usize, usize)> {
    let base = space.vdso;
    let entry = PLAN.image().symbol("__vdso_kernel_entry");
    let entry = entry.map(|entry| (AT_SYSINFO, base + entry));
    let (kind, address) = PLAN.auxv(base as u64);
    let image = (kind as usize, address as usize);
    let entries = entry.into_iter().chain([image]);
    entries.filter(move |_| base != 0)
}

/// Where signal handlers of a process return to.
pub fn sigreturn(process: &Process) -> Option<usize> {
    let base = process.space().get().vdso as u64;
    let address = PLAN.rt_sigreturn(base).filter(|_| base != 0)?;
    Some(address as usize)
}

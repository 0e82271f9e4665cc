//! The variables of an image that vdsokit built, and who publishes them.

use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Duration;
use vdsokit_clock::Source;
use vdsokit_elf::Image;
use vdsokit_publish::{Condition, Dynamic, Status, Vdso, type_of};
use vdsokit_sources::clock::{self, View};
use vdsokit_sources::kernel;
use vdsokit_vvar::directory::Directory;
use vdsokit_vvar::{NOTE_DIRECTORY, NOTE_NAME};

/// What the directory of an image says, and what the vvar pages do.
#[derive(Clone, Debug, Serialize)]
pub struct Published {
    /// What stands before a variable's name in its function's name.
    pub prefix: String,
    /// The hash of the layout.
    pub layout: u64,
    /// `live`, `stale`, `retired` or `never published`; `None` where the pages can't be read.
    pub state: Option<String>,
    /// The publisher's process id as it sees itself; `None` is a kernel, or nobody yet.
    pub publisher: Option<u64>,
    /// Seconds since its last sign of life.
    pub age: Option<f64>,
    /// Seconds after which a silent publisher's values are stale.
    pub stale_after: Option<f64>,
    /// Where the values come from, when it is the running kernel that publishes them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<KernelView>,
    /// For a clock image whose pages can be read: what is published of each clock.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub clocks: Vec<ClockView>,
    /// The variables in the order of their declaration.
    pub variables: Vec<VariableView>,
}

/// The kernel as a publisher.
#[derive(Clone, Debug, Serialize)]
pub struct KernelView {
    /// Where the map that it fills has its name.
    pub directory: PathBuf,
    /// The map's number, as bpftool(8) shows it; `None` where it can't be reached.
    pub map: Option<u32>,
    /// When it copies values.
    pub hooks: Vec<String>,
    /// Whether these are the map's own pages, and not those of a file.
    pub direct: bool,
    /// Whether somebody publishes in the file as well: copies of the map's values, or for a clock
    /// that its readers are to call the kernel.
    pub relayed: bool,
    /// How many seconds a file is behind the map now; `None` where that can't be told.
    pub behind: Option<f64>,
}

/// What is published of a clock.
#[derive(Clone, Debug, Serialize)]
pub struct ClockView {
    /// Linux's name for it.
    pub clock: &'static str,
    /// Where its time comes from: `counter`, `kernel`, `system call`, …
    pub source: &'static str,
    /// Whether the page answers now; else readers ask the kernel.
    pub answers: bool,
    /// How far off an answer may be, in nanoseconds, where that is known.
    pub error_ns: Option<u64>,
}

impl From<View> for ClockView {
    fn from(view: View) -> Self {
        Self {
            clock: view.clock.name(),
            source: match view.source {
                Source::SystemCall => "system call",
                Source::Kernel => "kernel",
                Source::Counter { .. } => "counter",
                Source::KernelClock(_) | Source::KernelMoved => "kernel, moved",
                Source::Fixed => "fixed",
                Source::Reads => "reads",
            },
            answers: view.answers,
            error_ns: view.error,
        }
    }
}

/// A variable.
#[derive(Clone, Debug, Serialize)]
pub struct VariableView {
    /// Its name.
    pub name: String,
    /// Its type: `f64`, `{ speed: f64, from: str[8] }`.
    pub kind: String,
    /// Its unit, or nothing.
    pub unit: String,
    /// What it is, or nothing.
    pub doc: String,
    /// The version of its function.
    pub version: String,
    /// Bytes from the start of the vvar pages.
    pub offset: usize,
    /// Its value now, where the pages can be read.
    #[serde(skip)]
    pub value: Option<Dynamic>,
}

impl Published {
    /// What the image's directory says; `None` where there is none, or it is malformed.
    pub(super) fn of(image: &Image<'_>) -> Option<Self> {
        let note = image
            .notes()
            .find(|note| note.kind == NOTE_DIRECTORY && note.name == NOTE_NAME)?;
        let directory = Directory::parse(note.desc).ok()?;
        let variables = directory.iter().map(|entry| VariableView {
            name: entry.name.to_owned(),
            kind: type_of(&entry),
            unit: entry.unit.to_owned(),
            doc: entry.doc.to_owned(),
            version: entry.version.to_owned(),
            offset: entry.offset,
            value: None,
        });
        Some(Self {
            prefix: directory.prefix().to_owned(),
            layout: directory.layout(),
            state: None,
            publisher: None,
            age: None,
            stale_after: None,
            kernel: None,
            clocks: Vec::new(),
            variables: variables.collect(),
        })
    }

    /// Adds what the vvar pages in a file say, if it is this image's and can be read.
    pub(super) fn read(&mut self, path: &Path) {
        let Ok(file) = Vdso::open(path) else { return };
        if file.directory().layout() != self.layout {
            return;
        }
        // What nobody has put into the file, the map may have.
        if file.status().condition == Condition::NeverPublished
            && let Ok(Some(map)) = kernel::open_vdso(path)
        {
            self.read_pages(&map);
            self.read_kernel(path, None);
            return;
        }
        self.read_pages(&file);
        self.read_kernel(path, Some(&file));
    }

    /// Adds what the map says that the kernel fills for the vDSO at `path`: that of a process
    /// which has the map's own pages.
    pub(super) fn read_map(&mut self, path: &Path) {
        if let Ok(Some(map)) = kernel::open_vdso(path) {
            self.read_pages(&map);
        }
        self.read_kernel(path, None);
    }

    fn read_pages(&mut self, vdso: &Vdso) {
        let Status {
            condition,
            publisher,
            age,
            stale_after,
        } = vdso.status();
        self.state = Some(condition.to_string());
        self.publisher = publisher;
        self.age = age.map(|age| age.as_secs_f64());
        self.stale_after = stale_after.map(|limit| limit.as_secs_f64());
        let clocks = clock::view(vdso).unwrap_or_default();
        self.clocks = clocks.into_iter().map(ClockView::from).collect();
        for variable in &mut self.variables {
            variable.value = vdso.get(&variable.name).ok();
        }
    }

    fn read_kernel(&mut self, path: &Path, file: Option<&Vdso>) {
        let Some(kernel) = kernel::describe(path) else {
            return;
        };
        // The file first: the map goes on meanwhile.
        let relayed = file.map(|file| file.header().updated());
        let map = kernel::open_vdso(path).ok().flatten();
        let behind = |relayed: u64| {
            let updated = map.as_ref()?.header().updated();
            let behind = Duration::from_nanos(updated.saturating_sub(relayed));
            (relayed != 0).then_some(behind.as_secs_f64())
        };
        self.kernel = Some(KernelView {
            directory: kernel.directory,
            map: kernel.map,
            hooks: kernel.hooks,
            direct: file.is_none(),
            relayed: Vdso::open(path).is_ok_and(|file| file.status().condition == Condition::Live),
            behind: relayed.filter(|_| self.clocks.is_empty()).and_then(behind),
        });
    }
}

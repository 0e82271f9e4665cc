//! The variables of an image that vdsokit built, and their publisher.

use serde::{Serialize, Serializer};
use std::path::{Path, PathBuf};
use std::time::Duration;
use vdsokit_clock::Source;
use vdsokit_elf::Image;
use vdsokit_publish::{Condition, Dynamic, Status, Vdso, type_of};
use vdsokit_sources::clock::{self, View};
use vdsokit_sources::kernel;
use vdsokit_vvar::directory::{Directory, Entry, Kind};
use vdsokit_vvar::{NOTE_DIRECTORY, NOTE_NAME};

/// The contents of an image's directory and of its vvar pages.
#[derive(Clone, Debug, Serialize)]
pub struct Published {
    /// The prefix of function names: a variable's function is named with it and the variable.
    pub prefix: String,
    /// The hash of the layout; in JSON a hexadecimal string, since most readers round integers above
    /// 2^53.
    #[serde(serialize_with = "hexadecimal")]
    pub layout: u64,
    /// `live`, `stale`, `stopped`, `replaced` or `never published`; `None` where the pages can't be read.
    pub state: Option<String>,
    /// The same as a value.
    #[serde(skip)]
    pub condition: Option<Condition>,
    /// The publisher's process id in its own PID namespace; `None` for a kernel, and before the
    /// first publication.
    pub publisher: Option<u64>,
    /// Seconds since its last heartbeat.
    pub age: Option<f64>,
    /// The age of the heartbeat, in seconds, at which the values are stale.
    pub stale_after: Option<f64>,
    /// The running kernel, where it publishes the values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<KernelView>,
    /// The clocks of a clock image whose pages can be read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub clocks: Vec<ClockView>,
    /// The variables in the order of their declaration.
    pub variables: Vec<VariableView>,
}

/// The kernel as a publisher.
#[derive(Clone, Debug, Serialize)]
pub struct KernelView {
    /// The directory in which the map is pinned.
    pub directory: PathBuf,
    /// The map's id, as bpftool(8) shows it; `None` where this process can't open the map.
    pub map: Option<u32>,
    /// The events at which values are copied.
    pub hooks: Vec<String>,
    /// Whether these are the map's own pages, and not those of a file.
    pub direct: bool,
    /// Whether the file is published as well: with copies of the map's values, or for a clock with
    /// records that make its readers call the kernel.
    pub relayed: bool,
    /// By how many seconds the file lags behind the map; `None` where that is not known.
    pub behind: Option<f64>,
}

/// A published clock.
#[derive(Clone, Debug, Serialize)]
pub struct ClockView {
    /// Linux's name for it.
    pub clock: &'static str,
    /// The source of its time: `counter`, `kernel`, `system call`, …
    pub source: &'static str,
    /// Whether the page answers now; otherwise readers make a system call.
    pub answers: bool,
    /// The bound of the error in nanoseconds, where that is known.
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
    /// Its unit; empty where the declaration has none.
    pub unit: String,
    /// Its documentation; empty where the declaration has none.
    pub doc: String,
    /// The fields of a record in their order; empty for any other variable.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldView>,
    /// The version of its function.
    pub version: String,
    /// Bytes from the start of the vvar pages.
    pub offset: usize,
    /// Its value now, where the pages can be read.
    #[serde(skip)]
    pub value: Option<Dynamic>,
}

/// A field of a record.
#[derive(Clone, Debug, Serialize)]
pub struct FieldView {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: String,
    /// Its unit; empty where the declaration has none.
    pub unit: String,
    /// Its documentation; empty where the declaration has none.
    pub doc: String,
}

impl From<&Entry<'_>> for VariableView {
    fn from(entry: &Entry<'_>) -> Self {
        let fields = match &entry.kind {
            Kind::Plain(_) => Vec::new(),
            Kind::Record(fields) => fields
                .clone()
                .map(|field| FieldView {
                    name: field.name.to_owned(),
                    kind: field.ty.to_string(),
                    unit: field.unit.to_owned(),
                    doc: field.doc.to_owned(),
                })
                .collect(),
        };
        Self {
            name: entry.name.to_owned(),
            kind: type_of(entry),
            unit: entry.unit.to_owned(),
            doc: entry.doc.to_owned(),
            fields,
            version: entry.version.to_owned(),
            offset: entry.offset,
            value: None,
        }
    }
}

fn hexadecimal<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{number:#018x}"))
}

impl Published {
    /// What the image's directory says; `None` where there is none, or it is malformed.
    pub(super) fn of(image: &Image<'_>) -> Option<Self> {
        let note = image
            .notes()
            .find(|note| note.kind == NOTE_DIRECTORY && note.name == NOTE_NAME)?;
        let directory = Directory::parse(note.desc).ok()?;
        Some(Self {
            prefix: directory.prefix().to_owned(),
            layout: directory.layout(),
            state: None,
            condition: None,
            publisher: None,
            age: None,
            stale_after: None,
            kernel: None,
            clocks: Vec::new(),
            variables: directory
                .iter()
                .map(|entry| VariableView::from(&entry))
                .collect(),
        })
    }

    /// Adds the contents of a file's vvar pages, if the file has this layout and can be read.
    pub(super) fn read(&mut self, path: &Path) {
        let Ok(file) = Vdso::open(path) else { return };
        if file.directory().layout() != self.layout {
            return;
        }
        // Values that were never copied to the file may be in the map.
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

    /// Adds the contents of the map that the kernel writes for the vDSO at `path`: for a process that
    /// has the map's own pages.
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
        self.condition = Some(condition);
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
        // The file first: the kernel may write to the map in between.
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

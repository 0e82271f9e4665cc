//! A Linux tree: which one it is, and where insertions go in it.
//!
//! Two ways in which Linux lays out and builds its vDSO on x86 are known:
//!
//! * [`Layout::Classic`], 6.1 to 6.12: one linker script for all images in
//!   `arch/x86/entry/vdso`, all data pages in one mapping whose first page is the vvar page.
//!   The added pages come before it: `vvar_start` moves down.
//! * [`Layout::Generic`], from 7.2 on: the pages of `lib/vdso/datastore.c`, then a mapping of
//!   the architecture's own for the clocks of hypervisors, then a directory for each word
//!   size. The added pages are the last of that second mapping.
//!
//! Either way they are pages of their own, outside the time namespace's exchange of pages:
//! a process in a time namespace, which sees the namespace's page in place of the vvar page,
//! sees these as every process does, and no offset here can meet one of the kernel's own.
//!
//! Source: `arch/x86/entry/vdso/{vma.c,vdso-layout.lds.S}` of 6.1 and 6.12,
//! `arch/x86/entry/vdso/vma.c`, `lib/vdso/datastore.c` and
//! `arch/x86/include/asm/vdso/vsyscall.h` of 7.2.

use crate::beneath::Root;
use crate::edit::{Anchor, Insertion, Part};
use crate::error::Error;
use std::path::Path;

/// How a tree builds its vDSO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// 6.1 to 6.12.
    Classic,
    /// From 7.2 on: the generic data store, a directory for each word size.
    Generic {
        /// Data pages of the tree's own, all mappings together.
        pages: u32,
        /// Those of them that the architecture adds for hypervisors' clocks.
        clock_pages: u32,
    },
}

/// A Linux source tree that functions can be added to.
#[derive(Clone, Debug)]
pub struct Tree {
    root: Root,
    version: String,
    layout: Layout,
}

/// Where the vDSO of x86 is built.
pub(crate) const VDSO: &str = "arch/x86/entry/vdso";
/// How the kernel's own clock reads the data page.
const READER: &str = "arch/x86/include/asm/vdso/gettimeofday.h";
const GENERIC_PAGES: &str = "arch/x86/include/asm/vdso/vsyscall.h";

impl Tree {
    /// The tree in the directory `root`.
    ///
    /// # Errors
    /// [`Error::NoTree`] and [`Error::UnknownTree`] say what is not as it should be.
    pub fn open(root: &Path) -> Result<Self, Error> {
        let no_tree = |why: &str| Error::NoTree {
            tree: root.to_owned(),
            why: why.into(),
        };
        let opened = Root::open(root).map_err(|error| no_tree(&error.to_string()))?;
        let makefile = opened
            .read(Path::new("Makefile"))?
            .ok_or_else(|| no_tree("it has no Makefile"))?;
        let version = version(&makefile)
            .ok_or_else(|| no_tree("its Makefile names no VERSION and PATCHLEVEL"))?;
        if !opened.is_directory(Path::new(VDSO)) {
            return Err(no_tree(&format!("it has no {VDSO}")));
        }
        let layout = layout(&opened)?.map_err(|why| Error::UnknownTree {
            version: version.clone(),
            why,
        })?;
        Ok(Self {
            root: opened,
            version,
            layout,
        })
    }

    /// Its directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// The way to its files.
    pub(crate) fn beneath(&self) -> &Root {
        &self.root
    }

    /// `6.12.9`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// How it builds its vDSO.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Refuses a tree whose clock functions the clock in Rust can't stand in for.
    pub(crate) fn has_room_for_clock(&self) -> Result<(), Error> {
        let refuse = |why: String| Error::NoClock {
            version: self.version.clone(),
            why,
        };
        if self.layout != Layout::Classic {
            return Err(refuse(
                "its data page is the generic data store's, which the clock does not read".into(),
            ));
        }
        let reader = self.read(Path::new(READER))?.unwrap_or_default();
        if !reader.contains("max_cycles") {
            return Err(refuse(format!(
                "its data page does not say how many ticks can be multiplied: {READER} has no \
                 max_cycles"
            )));
        }
        Ok(())
    }

    /// What may go into its files.
    pub(crate) fn insertions(&self) -> &'static [Insertion] {
        match self.layout {
            Layout::Classic => CLASSIC,
            Layout::Generic { .. } => GENERIC,
        }
    }

    /// The linker script that lists what the 64-bit image exports.
    pub(crate) fn exports(&self) -> &'static str {
        match self.layout {
            Layout::Classic => "arch/x86/entry/vdso/vdso.lds.S",
            Layout::Generic { .. } => "arch/x86/entry/vdso/vdso64/vdso64.lds.S",
        }
    }

    /// Reads a file, named from the root of the tree; `None` when there is none.
    pub(crate) fn read(&self, file: &Path) -> Result<Option<String>, Error> {
        self.root.read(file)
    }
}

fn version(makefile: &str) -> Option<String> {
    let value = |name: &str| {
        makefile.lines().find_map(|line| {
            let (key, value) = line.split_once('=')?;
            (key.trim() == name).then(|| value.trim().to_owned())
        })
    };
    let (version, level) = (value("VERSION")?, value("PATCHLEVEL")?);
    let sublevel = value("SUBLEVEL").unwrap_or_default();
    let dot = if sublevel.is_empty() { "" } else { "." };
    Some(format!("{version}.{level}{dot}{sublevel}"))
}

/// Found by the files that are there, not by the version: distributions carry changes over.
fn layout(root: &Root) -> Result<Result<Layout, String>, Error> {
    if root.is_file(Path::new("arch/x86/entry/vdso/vdso64/vdso64.lds.S")) {
        return Ok(match root.read(Path::new(GENERIC_PAGES))? {
            Some(text) => generic_layout(&text),
            None => Err(format!("it has no {GENERIC_PAGES}")),
        });
    }
    let vma = root.read(Path::new("arch/x86/entry/vdso/vma.c"))?;
    if root.is_file(Path::new("arch/x86/entry/vdso/vdso-layout.lds.S"))
        && vma.is_some_and(|vma| vma.contains("sym_vvar_start"))
    {
        return Ok(Ok(Layout::Classic));
    }
    Ok(Err(format!(
        "{VDSO} has neither vdso64/vdso64.lds.S nor a vma.c with sym_vvar_start"
    )))
}

/// The numbers of pages that the header [`GENERIC_PAGES`] defines.
fn generic_layout(text: &str) -> Result<Layout, String> {
    let number = |name: &str| {
        let mut values = text.lines().filter_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some("#define") && words.next() == Some(name))
                .then(|| words.next()?.parse().ok())?
        });
        values
            .next()
            .ok_or(format!("{GENERIC_PAGES} gives no number for {name}"))
    };
    Ok(Layout::Generic {
        pages: number("__VDSO_PAGES")?,
        clock_pages: number("VDSO_NR_VCLOCK_PAGES")?,
    })
}

const UPDATE_HEADER: Insertion = Insertion {
    file: "kernel/time/vsyscall.c",
    part: Part::Functions,
    anchor: Anchor::After(&["#include <linux/timekeeper_internal.h>"]),
    text: "#ifdef CONFIG_X86_64\n#include <asm/vdsokit/kernel.h>\n#endif\n",
};
const UPDATE: Insertion = Insertion {
    file: "kernel/time/vsyscall.c",
    part: Part::Functions,
    anchor: Anchor::Before(&["void update_vsyscall(struct timekeeper *tk)", "}"]),
    text: "#ifdef CONFIG_X86_64\n\tvdsokit_update(tk);\n#endif\n",
};
const FAULT_HEADER: Insertion = Insertion {
    file: "arch/x86/entry/vdso/vma.c",
    part: Part::Functions,
    anchor: Anchor::After(&["#include <linux/ptrace.h>"]),
    text: "#include <asm/vdsokit/kernel.h>\n",
};
const KERNEL_SIDE: Insertion = Insertion {
    file: "arch/x86/entry/vdso/Makefile",
    part: Part::Functions,
    anchor: Anchor::End,
    text: "obj-$(CONFIG_X86_64) += vdsokit/\n",
};
const IMAGE_SIDE: &str = "include $(srctree)/arch/x86/entry/vdso/vdsokit/Makefile.vdso\n";

/// In the order in which they lie in each file: one that goes to the end comes last.
const CLASSIC: &[Insertion] = &[
    Insertion {
        file: "arch/x86/entry/vdso/Makefile",
        part: Part::Clock,
        anchor: Anchor::After(&["vobjs-y := vdso-note.o vclock_gettime.o vgetcpu.o"]),
        // x32's objects are made of the same list.
        text: "vobjs-y := $(filter-out vclock_gettime.o vgetcpu.o,$(vobjs-y)) \
               vdsokit/clock/clock.o\n",
    },
    KERNEL_SIDE,
    Insertion {
        file: "arch/x86/entry/vdso/Makefile",
        part: Part::Any,
        anchor: Anchor::End,
        text: IMAGE_SIDE,
    },
    Insertion {
        file: "arch/x86/entry/vdso/vdso-layout.lds.S",
        part: Part::Functions,
        anchor: Anchor::After(&["timens_page ="]),
        text: "#include <asm/vdsokit/symbols.lds.h>\n",
    },
    Insertion {
        file: "arch/x86/entry/vdso/vdso.lds.S",
        part: Part::Functions,
        anchor: Anchor::After(&["VERSION {", "local: *;", "};"]),
        text: "#include <asm/vdsokit/versions.lds.h>\n",
    },
    FAULT_HEADER,
    Insertion {
        file: "arch/x86/entry/vdso/vma.c",
        part: Part::Functions,
        anchor: Anchor::After(&[
            "static vm_fault_t vvar_fault(",
            "if (!image)",
            "return VM_FAULT_SIGBUS;",
        ]),
        text: "\tif (vmf->pgoff < VDSOKIT_PAGES)\n\
               \t\treturn vdsokit_fault(vma, vmf, vmf->pgoff);\n",
    },
    UPDATE_HEADER,
    UPDATE,
];

const GENERIC: &[Insertion] = &[
    KERNEL_SIDE,
    Insertion {
        file: "arch/x86/entry/vdso/vdso64/Makefile",
        part: Part::Any,
        anchor: Anchor::End,
        text: IMAGE_SIDE,
    },
    Insertion {
        file: "arch/x86/entry/vdso/common/vdso-layout.lds.S",
        part: Part::Functions,
        anchor: Anchor::After(&["hvclock_page ="]),
        text: "#include <asm/vdsokit/symbols.lds.h>\n",
    },
    Insertion {
        file: "arch/x86/entry/vdso/vdso64/vdso64.lds.S",
        part: Part::Functions,
        anchor: Anchor::After(&["VERSION {", "local: *;", "};"]),
        text: "#include <asm/vdsokit/versions.lds.h>\n",
    },
    Insertion {
        file: GENERIC_PAGES,
        part: Part::Functions,
        anchor: Anchor::After(&["#define VDSO_NR_VCLOCK_PAGES"]),
        text: "#include <asm/vdsokit/pages.h>\n",
    },
    FAULT_HEADER,
    Insertion {
        file: "arch/x86/entry/vdso/vma.c",
        part: Part::Functions,
        anchor: Anchor::Before(&[
            "static vm_fault_t vvar_vclock_fault(",
            "switch (vmf->pgoff) {",
        ]),
        text: "\tif (vmf->pgoff >= VDSO_NR_VCLOCK_PAGES - VDSOKIT_PAGES)\n\
               \t\treturn vdsokit_fault(vma, vmf, vmf->pgoff -\n\
               \t\t\t\t     (VDSO_NR_VCLOCK_PAGES - VDSOKIT_PAGES));\n",
    },
    UPDATE_HEADER,
    UPDATE,
];

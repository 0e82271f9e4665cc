//! What a delivery converts of waits and file times.

use vdsokit_waits::Clocks;
use vdsokit_waits::call::{self, Scope};
use vdsokit_waits::files;
use vdsokit_waits::filter::Rule;

use crate::supervisor::uptime;
use crate::sys;

/// Which waits are converted, and by which clocks.
pub(super) struct Conversion {
    pub(super) clocks: Box<dyn Clocks>,
    pub(super) scope: Scope,
    pub(super) is_changeable: bool,
    /// For how many nanoseconds nothing runs before time is skipped, and which processes outside the
    /// tree count.
    pub(super) skip: Option<(u64, Vec<sys::Pid>)>,
    pub(super) file_times: bool,
}

impl Conversion {
    /// The calls that are handed over.
    pub(super) fn rules(&self) -> Vec<Rule> {
        let mut rules = call::rules(self.scope);
        if self.scope == Scope::All {
            rules.push(uptime::rule());
        }
        if self.file_times {
            rules.extend(files::rules());
        }
        rules
    }

    /// The same by the numbers of 32-bit programs.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn i386_rules(&self) -> Vec<Rule> {
        let mut rules = vdsokit_waits::i386::rules(self.scope);
        if self.file_times {
            rules.extend(files::rules_i386());
        }
        rules
    }
}

impl std::fmt::Debug for Conversion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Conversion")
            .field("scope", &self.scope)
            .field("is_changeable", &self.is_changeable)
            .finish_non_exhaustive()
    }
}

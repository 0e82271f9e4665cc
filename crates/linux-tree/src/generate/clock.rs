//! The clock: its sources as they are, and how the kernel's make builds them.

use super::{CLOCK, Generated};
use std::path::Path;
use vdsokit_linux_clock::{FACTS, OPTIONS, SOURCES};

/// The complete sources, so that the tree builds without vdsokit.
pub(super) fn sources() -> impl Iterator<Item = Generated> {
    SOURCES
        .iter()
        .map(|(name, text)| (Path::new(CLOCK).join(name), (*text).to_owned()))
}

pub(super) fn rules() -> String {
    let names = SOURCES.iter().map(|(name, _)| *name);
    let sources: Vec<String> = names
        .filter(|name| name.ends_with(".rs"))
        .map(|name| format!("$(vdsokit-clock)/{name}"))
        .collect();
    RULES
        .replace("@CLOCK@", CLOCK)
        .replace("@FACTS@", FACTS)
        .replace("@OPTIONS@", &OPTIONS.join(" "))
        .replace("@SOURCES@", &sources.join(" "))
}

/// The kernel's compiler says in assembly what its headers have, sed makes Rust of that, and
/// rustc an object. An assembler of the compiler's own would rewrite what sed has to find. make
/// names its job server to rustc and does not let it in.
const RULES: &str = r"
vdsokit-clock := $(srctree)/@CLOCK@
vdsokit-facts := $(obj)/vdsokit/clock/facts

CFLAGS_vdsokit/clock/facts.o := $(call cc-option,-fno-integrated-as)

quiet_cmd_vdsokit_facts = SED     $@
      cmd_vdsokit_facts = sed -n -f $(filter %.sed,$^) $< > $@

$(vdsokit-facts).generated: $(vdsokit-facts).s $(vdsokit-clock)/facts.sed FORCE
	$(call if_changed,vdsokit_facts)

quiet_cmd_vdsokit_clock = RUSTC   $@
      cmd_vdsokit_clock = env -u MAKEFLAGS @FACTS@=$(abspath $(vdsokit-facts)).generated \
	$(RUSTC) @OPTIONS@ --emit=obj=$@ $(vdsokit-clock)/lib.rs

$(obj)/vdsokit/clock/clock.o: $(vdsokit-facts).generated @SOURCES@ FORCE
	$(call if_changed,vdsokit_clock)

targets += $(addprefix vdsokit/clock/,facts.s facts.generated)
clean-files += vdsokit/clock/facts.generated
";

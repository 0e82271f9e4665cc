//! What all crates of a tree share: the C side and the rules.

use super::NOTICE;
use crate::list::List;
use crate::tree::Layout;
use std::fmt::Write;
use vdsokit_build::code::{FLAGS, Optimize, profile};
use vdsokit_vvar::header::{self, State};

/// How many pages there are, and what that does to the kernel's own numbers.
pub(super) fn pages(list: &List, layout: Layout) -> String {
    let count = list.pages();
    let mut text = format!(
        "/* {NOTICE} */\n#ifndef _ASM_VDSOKIT_PAGES_H\n#define _ASM_VDSOKIT_PAGES_H\n\n\
         #ifdef CONFIG_X86_64\n#define VDSOKIT_PAGES {count}\n"
    );
    if let Layout::Generic { pages, clock_pages } = layout {
        let grown = [
            ("__VDSO_PAGES", pages),
            ("VDSO_NR_VCLOCK_PAGES", clock_pages),
        ];
        for (name, own) in grown {
            let _ = writeln!(
                text,
                "#undef {name}\n#define {name} ({own} + VDSOKIT_PAGES)"
            );
        }
    }
    text.push_str("#else\n#define VDSOKIT_PAGES 0\n#endif\n\n#endif\n");
    text
}

pub(super) fn header(_: &List) -> String {
    let (state, updated, size) = (header::STATE_OFFSET, header::UPDATED_OFFSET, header::SIZE);
    format!(
        "/* {NOTICE} */\n\
         #ifndef _ASM_VDSOKIT_KERNEL_H\n\
         #define _ASM_VDSOKIT_KERNEL_H\n\
         \n\
         #include <linux/build_bug.h>\n\
         #include <linux/mm_types.h>\n\
         #include <linux/stddef.h>\n\
         #include <linux/types.h>\n\
         #include <asm/vdsokit/pages.h>\n\
         \n\
         struct timekeeper;\n\
         struct vm_fault;\n\
         \n\
         /* The first bytes of a crate's pages. */\n\
         struct vdsokit_header {{\n\
         \tu64 magic;\n\
         \tu32 format;\n\
         \tu32 state;\n\
         \tu64 layout;\n\
         \tu32 count;\n\
         \tu32 size;\n\
         \tu64 publisher;\n\
         \tu64 updated;\n\
         \tu64 stale_after;\n\
         \tu64 zero;\n\
         }};\n\
         static_assert(offsetof(struct vdsokit_header, state) == {state});\n\
         static_assert(offsetof(struct vdsokit_header, updated) == {updated});\n\
         static_assert(sizeof(struct vdsokit_header) == {size});\n\
         \n\
         #ifdef CONFIG_X86_64\n\
         /* Handles a fault in data page number index. */\n\
         vm_fault_t vdsokit_fault(struct vm_area_struct *vma, struct vm_fault *vmf,\n\
         \t\t\t unsigned long index);\n\
         /* The end of update_vsyscall(). */\n\
         void vdsokit_update(const struct timekeeper *tk);\n\
         /*\n\
         \x20* Writes a value of more than one word. From anywhere but an NMI; two writers\n\
         \x20* take turns, and readers never wait.\n\
         \x20*/\n\
         void vdsokit_latch(u64 *latch, size_t words, const void *value, size_t size);\n\
         #else\n\
         static inline vm_fault_t vdsokit_fault(struct vm_area_struct *vma, struct vm_fault *vmf,\n\
         \t\t\t\t       unsigned long index)\n\
         {{\n\
         \treturn VM_FAULT_SIGBUS;\n\
         }}\n\
         #endif\n\
         \n\
         #endif\n"
    )
}

pub(super) fn source(list: &List) -> String {
    let mut text = format!(
        "/* {NOTICE} */\n\
         #include <linux/mm.h>\n\
         #include <linux/spinlock.h>\n\
         #include <linux/string.h>\n\
         #include <linux/timekeeper_internal.h>\n"
    );
    for added in &list.crates {
        let _ = writeln!(text, "#include <asm/vdsokit/{}.h>", added.name);
    }
    text.push_str("\nstatic u8 *const pages[VDSOKIT_PAGES] = {\n");
    for added in &list.crates {
        for page in 0..added.pages {
            let name = &added.name;
            let _ = writeln!(text, "\tvdsokit_{name}_pages.bytes + {page} * PAGE_SIZE,");
        }
    }
    let live = State::Live as u32;
    let _ = write!(
        text,
        "}};\n\
         \n\
         vm_fault_t vdsokit_fault(struct vm_area_struct *vma, struct vm_fault *vmf,\n\
         \t\t\t unsigned long index)\n\
         {{\n\
         \tif (index >= VDSOKIT_PAGES)\n\
         \t\treturn VM_FAULT_SIGBUS;\n\
         \treturn vmf_insert_pfn(vma, vmf->address, __pa_symbol(pages[index]) >> PAGE_SHIFT);\n\
         }}\n\
         \n\
         static void beat(struct vdsokit_header *header, u64 now)\n\
         {{\n\
         \tsmp_store_release(&header->updated, now);\n\
         \tsmp_store_release(&header->state, {live});\n\
         }}\n\
         \n\
         void vdsokit_update(const struct timekeeper *tk)\n\
         {{\n\
         \t/* CLOCK_BOOTTIME */\n\
         \tu64 now = ktime_to_ns(ktime_add(tk->tkr_mono.base, tk->offs_boot)) +\n\
         \t\t  (tk->tkr_mono.xtime_nsec >> tk->tkr_mono.shift);\n\
         \n"
    );
    for added in &list.crates {
        let name = &added.name;
        let _ = writeln!(
            text,
            "\tvdsokit_{name}_update(tk);\n\tbeat(&vdsokit_{name}_pages.vvars.header, now);"
        );
    }
    text.push_str(
        "}\n\
         \n\
         static DEFINE_RAW_SPINLOCK(latch_lock);\n\
         \n\
         void vdsokit_latch(u64 *latch, size_t words, const void *value, size_t size)\n\
         {\n\
         \tunsigned long flags;\n\
         \tu64 next, *copy;\n\
         \tsize_t at;\n\
         \n\
         \traw_spin_lock_irqsave(&latch_lock, flags);\n\
         \tnext = READ_ONCE(*latch) + 1;\n\
         \tcopy = latch + 1 + (next & 1) * words;\n\
         \t/* The number before this one is seen before any word of this copy. */\n\
         \tsmp_wmb();\n\
         \tfor (at = 0; at < words; at++) {\n\
         \t\tu64 word = 0;\n\
         \n\
         \t\tmemcpy(&word, value + at * 8, min_t(size_t, 8, size - at * 8));\n\
         \t\tWRITE_ONCE(copy[at], word);\n\
         \t}\n\
         \tsmp_store_release(latch, next);\n\
         \traw_spin_unlock_irqrestore(&latch_lock, flags);\n\
         }\n",
    );
    text
}

pub(super) fn makefile(list: &List) -> String {
    let objects: Vec<String> = list
        .crates
        .iter()
        .map(|added| format!(" {}.o", added.name))
        .collect();
    format!("# {NOTICE}\nobj-y := pages.o{}\n", objects.concat())
}

/// The rules for the image's objects. Cargo alone knows what a crate is made of, so it is
/// asked at every make; an object that comes out the same is left as it was, and then the
/// image is not linked again.
///
/// Of the static library that a crate becomes, only what its exported functions reach goes
/// into the object, and only they stay visible: two crates never meet but in their exports.
pub(super) fn image_makefile(list: &List) -> String {
    if list.crates.is_empty() {
        return String::new();
    }
    let flags = FLAGS.join(" ");
    let profile: Vec<String> = profile(Optimize::Speed)
        .iter()
        .map(|setting| format!("--config '{setting}'"))
        .collect();
    let rule = RULE
        .replace("@FLAGS@", &flags)
        .replace("@PROFILE@", &profile.join(" "));
    let mut text = rule;
    for added in &list.crates {
        let (name, root, library) = (&added.name, added.root.display(), &added.library);
        let object = format!("$(vdsokit)/{name}.vdso.o");
        let _ = write!(
            text,
            "\n{object}: vdsokit-root := {root}\n\
             {object}: vdsokit-library := {library}\n\
             {object}: FORCE\n\t$(call cmd,vdsokit)\n\
             $(obj)/vdso64.so.dbg: {object}\n"
        );
    }
    text
}

/// `env -u`: what make, the kernel's own use of Rust and the caller put into the environment
/// is not for this cargo.
const RULE: &str = r"CARGO ?= cargo
vdsokit := $(objtree)/arch/x86/entry/vdso/vdsokit
vdsokit-target := x86_64-unknown-linux-gnu
vdsokit-options = $(srctree)/arch/x86/entry/vdso/vdsokit/$(basename $(basename $(@F)))

quiet_cmd_vdsokit = CARGO   $@
      cmd_vdsokit = mkdir -p $(@D); \
	(cd $(vdsokit-root) && \
	 env -u MAKEFLAGS -u RUSTC -u RUSTC_BOOTSTRAP -u CARGO_ENCODED_RUSTFLAGS \
		RUSTFLAGS='@FLAGS@' \
		$(CARGO) rustc --quiet --lib --release --crate-type staticlib @PROFILE@ \
		--target $(vdsokit-target) --target-dir $(abspath $(vdsokit))/target); \
	$(LD) -m elf_x86_64 -r --gc-sections @$(vdsokit-options).ld -o $@.new \
		$(vdsokit)/target/$(vdsokit-target)/release/$(vdsokit-library); \
	$(OBJCOPY) @$(vdsokit-options).objcopy $@.new; \
	if cmp -s $@.new $@; then rm -f $@.new; else mv -f $@.new $@; fi
";

//! A kernel of a few types and symbols, and expressions about it.

use super::*;
use crate::btf::tests::Writer;

/// A kernel of a few types and symbols.
fn kernel() -> Kernel {
    let mut btf = Writer::default();
    let int = btf.int("int", 4, 1);
    let long = btf.int("unsigned long", 8, 0);
    let long_long = btf.int("long long", 8, 1);
    let char = btf.int("char", 1, 1);
    let atomic = btf.structure("atomic64_t", 8, &[("counter", long_long, 0)]);
    let text = btf.array(char, 65);
    let stat = btf.array(atomic, 4);
    let zone = btf.structure("zone", 40, &[("free", long, 0), ("vm_stat", stat, 8)]);
    let zones = btf.array(zone, 3);
    let inner = btf.structure("", 8, &[("hidden", int, 4)]);
    let node = btf.structure("pglist_data", 136, &[("zones", zones, 8), ("", inner, 128)]);
    let node_pointer = btf.pointer(node);
    let either = btf.union("", 8, &[("pointer", node_pointer, 0), ("number", int, 0)]);
    btf.structure(
        "uts_namespace",
        96,
        &[
            ("release", text, 8),
            ("node", node_pointer, 73),
            ("either", either, 88),
        ],
    );
    btf.enumeration(&[("NR_FREE_PAGES", 2)]);
    let queue = btf.structure(
        "rq",
        16,
        &[("nr_running", int, 4), ("curr", node_pointer, 8)],
    );
    btf.per_cpu(&[("runqueues", queue), ("process_counts", long)]);
    btf.function("update_vsyscall", &[node_pointer]);
    let symbols = "ffffffff82000000 D init_uts_ns\nffffffff82000100 D node_data\n\
                   ffffffff82000200 B nr_threads\nffffffff82000300 D net_secret\n\
                   000000000001a000 A runqueues\n000000000001b000 A process_counts\n\
                   ffffffff82000400 D init_task\n";
    let btf = Btf::parse(btf.finish()).unwrap();
    let kernel = Kernel::new(btf);
    kernel.symbols.set(Ok(Symbols::parse(symbols))).unwrap();
    kernel
}

fn offsets(text: &str) -> Vec<i32> {
    match kernel().resolve(text, &Hook::Tick).unwrap().fetch {
        Fetch::Memory { offsets, .. } => offsets,
        other => panic!("{other:?}"),
    }
}

fn ty(text: &str) -> String {
    let value = kernel().resolve(text, &Hook::Tick);
    value.unwrap().ty.to_string()
}

#[test]
fn paths_become_offsets() {
    assert_eq!(offsets("nr_threads:i32"), [0]);
    assert_eq!(offsets("init_uts_ns.release"), [8]);
    assert_eq!(offsets("init_uts_ns.node.hidden"), [73, 132]);
    assert_eq!(offsets("node_data[1].zones[2].free"), [8, 88]);
    let last = "(pglist_data*[])node_data[0].zones[1].vm_stat[NR_FREE_PAGES]";
    assert_eq!(offsets(last), [0, 72]);
    assert_eq!(offsets("arg0.zones[1].free"), [48]);
}

#[test]
fn types_are_the_kernels() {
    assert_eq!(ty("init_uts_ns.release"), "str[65]");
    assert_eq!(ty("node_data[0].zones[0].vm_stat"), "i64[4]");
    assert_eq!(ty("node_data[0].zones[0].vm_stat[1]"), "i64");
    assert_eq!(ty("runqueues.nr_running"), "i32");
    assert_eq!(ty("runqueues.nr_running:i64"), "i64");
    assert_eq!(ty("process_counts"), "u64");
}

#[test]
fn what_is_wrong_is_refused_with_its_reason() {
    let error = |text: &str| kernel().resolve(text, &Hook::Tick).unwrap_err();
    assert!(matches!(error("nr_threads"), Error::UnknownType { .. }));
    assert!(matches!(
        error("no_such"),
        Error::UnknownType { .. } | Error::NoSymbol { .. }
    ));
    assert!(matches!(error("(no_such)nr_threads"), Error::NoType { .. }));
    assert!(matches!(error("init_uts_ns.nothing"), Error::NoStep { .. }));
    assert!(matches!(
        error("init_uts_ns.release.x"),
        Error::NoStep { .. }
    ));
    assert!(matches!(
        error("node_data[0].zones[3].free"),
        Error::NoStep { .. }
    ));
    assert!(matches!(
        error("node_data[0].zones[NR_NONE].free"),
        Error::NoStep { .. }
    ));
    assert!(matches!(
        error("node_data[0].zones[0]"),
        Error::Unpublishable { .. }
    ));
    assert!(matches!(error("init_uts_ns.node"), Error::Address { .. }));
    assert!(matches!(error("runqueues.curr"), Error::Address { .. }));
    assert!(matches!(
        error("runqueues.curr.zones[0].free"),
        Error::Unpublishable { .. }
    ));
    assert!(matches!(error("net_secret:u64"), Error::Secret { .. }));
    assert!(matches!(
        error("process_counts:u32"),
        Error::Mismatch { .. }
    ));
    assert!(matches!(
        error("runqueues.nr_running:u64"),
        Error::Mismatch { .. }
    ));
    assert!(matches!(error("arg1.free"), Error::NoStep { .. }));
}

#[test]
fn addresses_are_published_only_when_allowed() {
    let kernel = kernel().allow_addresses();
    let value = kernel.resolve("init_uts_ns.node", &Hook::Tick).unwrap();
    assert_eq!(value.ty.to_string(), "u64");
    assert_eq!(value.guard, Guard::Off);
    // A secret stays one.
    assert!(kernel.resolve("net_secret:u64", &Hook::Tick).is_err());
}

fn guard(text: &str) -> Option<Guard> {
    match kernel().resolve(text, &Hook::Tick) {
        Ok(value) => Some(value.guard),
        Err(Error::PartOfWord { .. }) => None,
        Err(error) => panic!("{text}: {error}"),
    }
}

/// A cast, a declared type, an array without a bound and a union lead to bytes of which the
/// kernel does not say what they are.
#[test]
fn addresses_stay_hidden_whatever_type_they_are_read_as() {
    for text in [
        "(atomic64_t)node_data",
        "(long long)node_data",
        "(int)node_data",
        "(unsigned long)node_data",
        "(unsigned long[2])node_data",
        "(int[2])node_data",
        "(char[8])node_data",
        "nr_threads:i32",
        "nr_threads:u32",
        "nr_threads:u64",
        "nr_threads:u32[2]",
        "node_data[0].zones[0].vm_stat[1]:i64",
        "(pglist_data*)node_data.hidden",
        "node_data[1].zones[0].free",
        "init_uts_ns.either.number",
    ] {
        let expected = match text {
            // The kernel describes all of it, and keeps pointers in such numbers too.
            "node_data[0].zones[0].vm_stat[1]:i64" => Guard::All,
            _ => Guard::Words,
        };
        assert_eq!(guard(text), Some(expected), "{text}");
    }
    for text in [
        "(char[9])node_data",
        "(int[3])node_data",
        "nr_threads:u32[3]",
    ] {
        assert_eq!(guard(text), None, "{text}");
    }
}

#[test]
fn numbers_that_the_kernel_describes_are_kept_back_only_as_long_unsigned_ones() {
    for text in [
        "process_counts",
        "runqueues.nr_running",
        "node_data[0].zones[1].free",
        "init_uts_ns.release",
        "init_uts_ns.node.hidden",
    ] {
        assert_eq!(guard(text), Some(Guard::Unsigned), "{text}");
    }
}

/// Every value that may hold an address has the check in its program: an arithmetic shift that
/// leaves the upper 8 bits.
#[test]
fn what_may_be_an_address_is_checked_by_the_program() {
    use crate::program::{Duty, KernelVariable, Machine, Setting, assemble};
    let kernel = kernel();
    let setting = Setting {
        pages: 3,
        control: 4,
        cpus: 2,
        machine: Machine::THIS,
        cast: None,
        boot_time: None,
    };
    let checked = |text: &str| {
        let value = kernel.resolve(text, &Hook::Tick).unwrap();
        let variable = KernelVariable::plain("p", 64, value);
        let code = assemble(setting, &[(0, &variable)], Duty::Tick).unwrap();
        code.iter().any(|code| code[0] == 0xc7 && code[4] == 56)
    };
    for text in [
        "process_counts",
        "(atomic64_t)node_data",
        "(long long)node_data",
        "(int[2])node_data",
        "(char[8])node_data",
        "(int)node_data",
        "nr_threads:u32",
        "(unsigned long[2])node_data",
        "node_data[0].zones[0].vm_stat",
    ] {
        assert!(checked(text), "{text}");
    }
    assert!(!checked("runqueues.nr_running"));
    assert!(!checked("init_uts_ns.release"));
}

#[test]
fn hidden_symbols_hide_no_per_cpu_variables() {
    let mut kernel = kernel();
    let zeros = "0000000000000000 A process_counts\n0000000000000000 B nr_threads\n";
    kernel.symbols = Ok(Symbols::parse(zeros)).into();
    assert!(kernel.resolve("process_counts", &Hook::Tick).is_ok());
    let hidden = kernel.resolve("nr_threads:i32", &Hook::Tick);
    assert!(matches!(hidden, Err(Error::HiddenSymbols { .. })));
}

/// Without CONFIG_KALLSYMS_ALL the kernel finds no variable by its name, those of every CPU among
/// them.
#[test]
fn a_kernel_that_lists_functions_only_says_so_and_lists_what_is_left() {
    let mut kernel = kernel();
    kernel.symbols = Ok(Symbols::parse("ffffffff81000000 T start\n")).into();
    for text in [
        "process_counts",
        "nr_threads:i32",
        "processes",
        "load_averages",
    ] {
        let refused = kernel.resolve(text, &Hook::Tick);
        assert!(matches!(refused, Err(Error::NoVariables { .. })), "{text}");
    }
    let names: Vec<String> = kernel.list("").into_iter().map(|row| row.name).collect();
    assert_eq!(names, ["uptime"]);
}

#[test]
fn a_hook_that_is_not_there_is_said() {
    let hook = Hook::Exit("no_such".into());
    let error = kernel().resolve("arg0.free", &hook).unwrap_err();
    assert!(matches!(error, Error::NoHook { .. }));
}

#[test]
fn the_list_has_names_per_cpu_variables_and_symbols_but_no_secrets() {
    let kernel = kernel();
    let names = |pattern: &str| -> Vec<String> {
        kernel
            .list(pattern)
            .into_iter()
            .map(|row| row.name)
            .collect()
    };
    assert_eq!(names("nr_threads"), ["nr_threads"]);
    assert_eq!(names("process"), ["processes", "process_counts"]);
    assert!(names("secret").is_empty());
}

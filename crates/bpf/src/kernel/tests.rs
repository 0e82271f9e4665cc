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
    btf.structure(
        "uts_namespace",
        80,
        &[("release", text, 8), ("node", node_pointer, 73)],
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
                   ffffffff82000200 B nr_threads\nffffffff82000300 D net_secret\n";
    let btf = Btf::parse(btf.finish()).unwrap();
    let kernel = Kernel::new(btf);
    kernel.symbols.set(Symbols::parse(symbols)).unwrap();
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

#[test]
fn what_only_the_declaration_calls_a_number_is_watched_more_closely() {
    let kernel = kernel();
    let guard = |text: &str| kernel.resolve(text, &Hook::Tick).unwrap().guard;
    assert_eq!(guard("process_counts"), Guard::Unsigned);
    assert_eq!(guard("nr_threads:i64"), Guard::All);
    assert_eq!(guard("nr_threads:i64[2]"), Guard::All);
    let halves = kernel.resolve("nr_threads:u32[2]", &Hook::Tick);
    assert!(matches!(halves, Err(Error::UnknownType { .. })));
}

#[test]
fn hidden_symbols_hide_no_per_cpu_variables() {
    let mut kernel = kernel();
    kernel.symbols = Err(Error::HiddenSymbols {
        obstacles: Vec::new(),
    })
    .into();
    assert!(kernel.resolve("process_counts", &Hook::Tick).is_ok());
    let hidden = kernel.resolve("nr_threads:i32", &Hook::Tick);
    assert!(matches!(hidden, Err(Error::HiddenSymbols { .. })));
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

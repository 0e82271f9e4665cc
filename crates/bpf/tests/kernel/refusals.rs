//! What a kernel has, and what of it must not get out.

use super::*;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use vdsokit_bpf::Error;

fn error(text: &str) -> Error {
    kernel().resolve(text, &Hook::Tick).unwrap_err()
}

#[test]
#[ignore = "runs in the lab: cargo xtask vm kernel-refusals"]
fn addresses_and_secrets_are_refused() {
    assert!(matches!(error("init_task.mm"), Error::Address { .. }));
    assert!(matches!(error("runqueues.curr"), Error::Address { .. }));
    assert!(matches!(
        error("__per_cpu_offset:u64"),
        Error::Secret { .. }
    ));
    assert!(matches!(error("init_task"), Error::Unpublishable { .. }));
    assert!(matches!(
        error("update_vsyscall:u64"),
        Error::IsFunction { .. }
    ));
    assert!(matches!(error("no_such_thing:u64"), Error::NoSymbol { .. }));

    // A pointer that is said to be a number is found out by its value, which on a
    // machine with five levels of page tables has 57 bits.
    let kernel = kernel();
    let mut layout = Layout::new(kernel);
    layout.add("sly", "saved_command_line:u64", &[]);
    layout.add("honest", "forks", &[]);
    layout.add("slier", "saved_command_line:u64[1]", &[]);
    layout.add("slyest", "saved_command_line:i64", &[]);
    layout.add("low_half", "saved_command_line:u32", &[]);
    layout.add("cast", "(atomic64_t)saved_command_line", &[]);
    layout.add("halves", "(int[2])saved_command_line", &[]);
    layout.add("letters", "(char[8])saved_command_line", &[]);
    layout.add("number", "nr_threads:i32", &[]);
    let result = Publisher::start(kernel, &layout.image(), &layout.variables, Machine::THIS);
    match result.unwrap_err() {
        Error::Unreadable { names } => assert_eq!(
            names,
            [
                "sly", "slier", "slyest", "low_half", "cast", "halves", "letters"
            ]
        ),
        other => panic!("{other}"),
    }

    let kernel = Kernel::running().unwrap().allow_addresses();
    let mut layout = Layout::new(&kernel);
    let offset = layout.add("sly", "saved_command_line:u64", &[]);
    let publisher = layout.start();
    let mapping = publisher.mapping().unwrap();
    let address = load::<u64>(mapping.pages().unwrap(), offset);
    assert!(address > 1 << 63);
}

#[test]
#[ignore = "runs in the lab: cargo xtask vm kernel-list"]
fn the_list_says_what_there_is() {
    let kernel = kernel();
    let row = |name: &str| {
        let list = kernel.list(name);
        list.into_iter().find(|row| row.name == name).unwrap()
    };
    assert_eq!(row("load_averages").ty.as_deref(), Some("u64[3]"));
    assert_eq!(row("runqueues").ty.as_deref(), Some("rq"));
    assert_eq!(row("init_uts_ns").ty.as_deref(), Some("uts_namespace"));
    assert_eq!(row("total_forks").ty, None);
    let all = kernel.list("");
    println!(
        "{} variables, {} with a type",
        all.len(),
        all.iter().filter(|row| row.ty.is_some()).count()
    );
    assert!(all.len() > 5_000);
    assert!(kernel.list("net_secret").is_empty());
    for row in all.iter().take(vdsokit_bpf::named::NAMED.len()) {
        println!(
            "{:20} {:12} {}",
            row.name,
            row.ty.as_deref().unwrap_or("-"),
            row.doc
        );
        assert!(row.ty.is_some(), "{}", row.name);
    }
}

#[test]
#[ignore = "runs in the lab: cargo xtask vm kernel-no-btf"]
fn a_kernel_without_types_is_refused_politely() {
    let flags = MountFlags::empty();
    mount("none", "/sys/kernel/btf", "tmpfs", flags, None).unwrap();
    let error = Kernel::running().unwrap_err();
    println!("{error}");
    assert!(matches!(error, Error::NoBtf { .. }));
    unmount("/sys/kernel/btf", UnmountFlags::empty()).unwrap();
}

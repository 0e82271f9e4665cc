//! The built-in declaration `system` and its source.

use std::time::Duration;
use vdsokit_build::{Architecture, Declaration, image};
use vdsokit_publish::{Publisher, Vdso, place};
use vdsokit_sources::system;

#[test]
fn the_built_in_declaration_is_what_its_source_writes() {
    let directory = tempfile::tempdir_in(place::base().unwrap()).unwrap();
    let path = directory.path().join("libsystem.so.1");
    let declaration = Declaration::parse("system.toml", system::DECLARATION).unwrap();
    let image = image(&declaration, Architecture::host().unwrap()).unwrap();
    let publisher = Publisher::create(&path, &image).unwrap();
    let mut source = system::System::new(&publisher, Duration::from_secs(1)).unwrap();
    source.sample().unwrap();
    source.sample().unwrap();
    let vdso = Vdso::open(&path).unwrap();
    assert_eq!(vdso.var::<u64>("samples").unwrap().get(), 2);
    assert!(vdso.var::<u32>("processes").unwrap().get() > 0);
    assert!(vdso.var::<u32>("threads").unwrap().get() > 0);
    assert!(vdso.var::<u64>("memory_total").unwrap().get() > 1 << 20);
    assert!(vdso.var::<f64>("uptime").unwrap().get() > 0.0);
    assert!(vdso.var::<u64>("forks").unwrap().get() > 0);
}

/// A container's /proc, as lxcfs makes it: lines and files are missing.
#[test]
fn what_a_proc_lacks_is_named_and_the_rest_goes_on() {
    let proc = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(proc.path().join(name), text).unwrap();
    std::fs::create_dir(proc.path().join("7")).unwrap();
    write("stat", "cpu  1 2 3 4\nprocesses 42\nprocs_running 1\n");
    write("loadavg", "0.50 0.25 0.00 1/77 4242\n");
    let directory = tempfile::tempdir_in(place::base().unwrap()).unwrap();
    let path = directory.path().join("libsystem.so.1");
    let declaration = Declaration::parse("system.toml", system::DECLARATION).unwrap();
    let image = image(&declaration, Architecture::host().unwrap()).unwrap();
    let publisher = Publisher::create(&path, &image).unwrap();
    let source = system::System::new(&publisher, Duration::from_secs(1)).unwrap();
    let mut source = source.reading(proc.path());
    source.sample().unwrap();
    let vdso = Vdso::open(&path).unwrap();
    assert_eq!(vdso.var::<u64>("forks").unwrap().get(), 42);
    assert_eq!(vdso.var::<u32>("threads").unwrap().get(), 77);
    assert_eq!(vdso.var::<u32>("processes").unwrap().get(), 1);
    assert_eq!(
        source.missing(),
        [
            "blocked",
            "context_switches",
            "memory_total",
            "memory_free",
            "memory_available",
            "free_pages",
            "uptime",
            "cpu_limit",
            "memory_limit",
            "memory_used"
        ]
    );
    let missing = vdso.latched::<vdsokit_vvar::value::Text<256>>("missing");
    assert_eq!(missing.unwrap().get().as_str(), source.missing().join(" "));
    // All names together have room.
    let names: usize = publisher
        .directory()
        .iter()
        .map(|entry| entry.name.len() + 1)
        .sum();
    assert!(names <= 256, "{names}");
}

/// A group's own limit is not the tightest one: a group above it, or the affinity, may have less.
#[test]
fn the_tightest_limit_of_a_group_and_those_above_it_is_in_force() {
    let (proc, cgroups) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let write = |path: std::path::PathBuf, text: &str| {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let of_proc = |name: &str, text: &str| write(proc.path().join(name), text);
    let of_group = |name: &str, text: &str| write(cgroups.path().join(name), text);
    of_proc("self/cgroup", "0::/pod/app\n");
    of_proc("self/status", "Name:\tvdso\nCpus_allowed_list:\t0-3,6\n");
    of_proc(
        "meminfo",
        "MemTotal: 1024 kB\nMemFree: 8 kB\nBuffers: 0 kB\nCached: 0 kB\nSwapCached: 0 kB\nActive: 0 kB\nInactive: 0 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\nDirty: 0 kB\nWriteback: 0 kB\nMapped: 0 kB\nSlab: 0 kB\nCommitted_AS: 0 kB\nVmallocTotal: 0 kB\nVmallocUsed: 0 kB\nVmallocChunk: 0 kB\n",
    );
    of_group("cgroup.controllers", "cpu memory\n");
    of_group("pod/app/cpu.max", "200000 100000\n");
    of_group("pod/app/memory.max", "max\n");
    of_group("pod/app/memory.current", "77777\n");
    of_group("pod/cpu.max", "150000 100000\n");
    of_group("pod/memory.max", "500000\n");
    of_group("pod/memory.current", "99999\n");
    let directory = tempfile::tempdir_in(place::base().unwrap()).unwrap();
    let path = directory.path().join("libsystem.so.1");
    let declaration = Declaration::parse("system.toml", system::DECLARATION).unwrap();
    let image = image(&declaration, Architecture::host().unwrap()).unwrap();
    let publisher = Publisher::create(&path, &image).unwrap();
    let source = system::System::new(&publisher, Duration::from_secs(1)).unwrap();
    let mut source = source.reading(proc.path()).reading_cgroups(cgroups.path());
    let vdso = Vdso::open(&path).unwrap();
    let mut limits = || {
        source.sample().unwrap();
        (
            vdso.var::<f64>("cpu_limit").unwrap().get(),
            vdso.var::<u64>("memory_limit").unwrap().get(),
            vdso.var::<u64>("memory_used").unwrap().get(),
        )
    };
    assert_eq!(limits(), (1.5, 500_000, 77_777));
    of_group("pod/cpu.max", "max 100000\n");
    of_group("pod/memory.max", "max\n");
    assert_eq!(limits(), (2.0, 1 << 20, 77_777), "the machine's memory");
    of_proc("self/status", "Name:\tvdso\nCpus_allowed_list:\t3\n");
    assert_eq!(limits().0, 1.0, "the affinity");
    // The account of a group without one is in the group above it.
    std::fs::remove_file(cgroups.path().join("pod/app/memory.current")).unwrap();
    assert_eq!(limits().2, 99_999);
}

/// A publisher in one group serves the limits of another.
#[test]
fn the_limits_of_a_given_group_are_published_until_it_is_removed() {
    let cgroups = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = cgroups.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    for group in ["", "pod/", "pod/app/"] {
        write(&format!("{group}cgroup.controllers"), "cpu memory\n");
    }
    write("cpuset.cpus.effective", "0-7\n");
    write("pod/cpuset.cpus.effective", "0-1,5\n");
    write("pod/memory.max", "500000\n");
    write("pod/app/cpu.max", "max 100000\n");
    write("pod/app/memory.current", "77777\n");
    let directory = tempfile::tempdir_in(place::base().unwrap()).unwrap();
    let path = directory.path().join("libsystem.so.1");
    let declaration = Declaration::parse("system.toml", system::DECLARATION).unwrap();
    let image = image(&declaration, Architecture::host().unwrap()).unwrap();
    let publisher = Publisher::create(&path, &image).unwrap();
    let source = |group: &str| {
        let source = system::System::new(&publisher, Duration::from_secs(1)).unwrap();
        source.of_group(&cgroups.path().join(group))
    };
    let error = source("nowhere").unwrap_err();
    assert!(error.to_string().contains("nowhere"), "{error}");
    let mut source = source("pod/app").unwrap();
    let vdso = Vdso::open(&path).unwrap();
    let mut limits = || {
        source.sample().unwrap();
        let missing = source.missing().join(" ");
        (
            vdso.var::<f64>("cpu_limit").unwrap().get(),
            vdso.var::<u64>("memory_limit").unwrap().get(),
            vdso.var::<u64>("memory_used").unwrap().get(),
            missing.contains("cpu_limit memory_limit memory_used"),
        )
    };
    assert_eq!(limits(), (3.0, 500_000, 77_777, false));
    write("pod/cpu.max", "150000 100000\n");
    assert_eq!(limits().0, 1.5);
    // What was read last stays, and is named as unknown.
    std::fs::remove_dir_all(cgroups.path().join("pod/app")).unwrap();
    assert_eq!(limits(), (1.5, 500_000, 77_777, true));
}

/// In a group that has limits and whose parent has tighter ones.
#[test]
#[ignore = "runs in the lab: cargo xtask vm system-limits"]
fn the_limits_are_those_that_the_kernels_files_have() {
    use std::fs::{create_dir_all, read_to_string, write};
    let root = std::path::Path::new("/sys/fs/cgroup");
    let (pod, app) = (root.join("pod"), root.join("pod/app"));
    write(root.join("cgroup.subtree_control"), "+cpu +memory").unwrap();
    create_dir_all(&pod).unwrap();
    write(pod.join("cgroup.subtree_control"), "+cpu +memory").unwrap();
    create_dir_all(&app).unwrap();
    write(pod.join("cpu.max"), "50000 100000").unwrap();
    write(app.join("cpu.max"), "70000 100000").unwrap();
    write(app.join("memory.max"), "200000000").unwrap();
    write(pod.join("memory.max"), "100000000").unwrap();
    write(app.join("cgroup.procs"), std::process::id().to_string()).unwrap();

    let directory = tempfile::tempdir_in(place::base().unwrap()).unwrap();
    let path = directory.path().join("libsystem.so.1");
    let declaration = Declaration::parse("system.toml", system::DECLARATION).unwrap();
    let image = image(&declaration, Architecture::host().unwrap()).unwrap();
    let publisher = Publisher::create(&path, &image).unwrap();
    let mut source = system::System::new(&publisher, Duration::from_secs(1)).unwrap();
    source.sample().unwrap();
    let vdso = Vdso::open(&path).unwrap();
    let limit = vdso.var::<u64>("memory_limit").unwrap();
    let used = vdso.var::<u64>("memory_used").unwrap();
    let number = |file: &str| -> u64 {
        let text = read_to_string(app.join(file)).unwrap();
        text.trim().parse().unwrap()
    };
    println!(
        "memory_limit {}, memory_used {} of memory.current {}",
        limit.get(),
        used.get(),
        number("memory.current")
    );
    assert_eq!(vdso.var::<f64>("cpu_limit").unwrap().get(), 0.5);
    // The kernel rounds to pages.
    assert_eq!(limit.get(), 100_000_000 & !4095);
    // The account goes on; it is in pages, of which the test takes few meanwhile.
    assert!(used.get() > 0 && used.get().abs_diff(number("memory.current")) < 8 << 20);
    // Of the group above, in which this process is not.
    let other_path = directory.path().join("libpod.so.1");
    let other_publisher = Publisher::create(&other_path, &image).unwrap();
    let other = system::System::new(&other_publisher, Duration::from_secs(1)).unwrap();
    other.of_group(&pod).unwrap().sample().unwrap();
    let other = Vdso::open(&other_path).unwrap();
    assert_eq!(other.var::<f64>("cpu_limit").unwrap().get(), 0.5);
    let other_limit = other.var::<u64>("memory_limit").unwrap();
    assert_eq!(other_limit.get(), 100_000_000 & !4095);
    write(pod.join("cpu.max"), "max").unwrap();
    source.sample().unwrap();
    assert_eq!(vdso.var::<f64>("cpu_limit").unwrap().get(), 0.7);
    write(app.join("cpu.max"), "max").unwrap();
    source.sample().unwrap();
    let cpus = std::thread::available_parallelism().unwrap().get();
    assert_eq!(vdso.var::<f64>("cpu_limit").unwrap().get(), cpus as f64);
}

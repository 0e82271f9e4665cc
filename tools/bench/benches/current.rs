//! What a read of the running task's page costs: `cargo bench -p vdsokit-bench --bench current`.
//!
//! The page is one in memory with the layout of that which the kernel writes: reads of it execute the
//! same instructions, and find every line in the cache, as those of the running CPU's slot do.

#[cfg(target_arch = "x86_64")]
fn main() -> std::process::ExitCode {
    x86_64::main()
}

#[cfg(not(target_arch = "x86_64"))]
fn main() {
    println!("the running task's page is there for x86-64 so far");
}

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use std::hint::black_box;
    use std::process::ExitCode;
    use std::sync::atomic::{AtomicU32, Ordering};
    use vdsokit_current::{Current, PerThread, has_rdpid, in_memory};
    use vdsokit_figures::{Figure, batch, costs, finish};

    thread_local! {
        static KEPT: PerThread = const { PerThread::new() };
    }

    pub(super) fn main() -> ExitCode {
        let pages = in_memory(1).map(|(_, reader)| reader);
        assert!(pages.is_some(), "memory");
        let of_kernel = PerThread::new();
        let kernel = Current::new(None, &of_kernel);
        let variable = Box::new(AtomicU32::new(1));
        let variable = black_box(&*variable);
        let [load, pid, tid, time, monotonic, getpid, gettid, gettime] = costs([
            &mut batch(|| variable.load(Ordering::Relaxed)),
            &mut batch(move || KEPT.with(|kept| Current::new(pages, kept).pid())),
            &mut batch(move || KEPT.with(|kept| Current::new(pages, kept).tid())),
            &mut batch(move || KEPT.with(|kept| Current::new(pages, kept).thread_cpu_time())),
            &mut batch(std::time::Instant::now),
            &mut batch(|| kernel.pid()),
            &mut batch(|| kernel.tid()),
            &mut batch(|| kernel.thread_cpu_time()),
        ]);
        // Without rdpid the CPU's number takes lsl, which is microcode.
        let with_rdpid = |bound: f64| has_rdpid().then_some(bound);
        let call = 1.0 / 40.0;
        finish(&[
            Figure::ratio("current pid : load", &pid, &load, with_rdpid(4.0)),
            Figure::ratio("current tid : load", &tid, &load, with_rdpid(4.0)),
            Figure::ratio("current pid : getpid", &pid, &getpid, with_rdpid(call)),
            Figure::ratio("current tid : gettid", &tid, &gettid, with_rdpid(call)),
            Figure::ratio(
                "thread CPU time : CLOCK_MONOTONIC",
                &time,
                &monotonic,
                with_rdpid(0.5),
            ),
            Figure::ratio(
                "thread CPU time : its system call",
                &time,
                &gettime,
                with_rdpid(call),
            ),
        ])
    }
}

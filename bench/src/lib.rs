//! Benchmarks beside what others offer, in `benches/`. Run with `cargo bench -p vdsokit-bench`.

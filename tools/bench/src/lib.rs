//! Benchmarks beside what others offer, in `benches/`: `cargo bench -p vdsokit-bench`, or
//! `cargo xtask figures` for one table of all.

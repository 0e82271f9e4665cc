//! Types that can't be variables are refused at the field, with the type to use.

mod scratch;

use scratch::Package;

const MAIN: &str = r#"
use vdsokit::{Record, Vvars};

type Bytes = std::num::NonZeroU8;

#[derive(Clone, Copy, Record)]
struct Wind {
    speed: usize,
    from: &'static str,
    table: [[u8; 2]; 3],
}

#[derive(Vvars)]
#[vvar(soname = "libweather.so.1", version = "WEATHER_1.0")]
struct Weather {
    count: usize,
    station: String,
    grid: [isize; 2],
}

#[derive(Clone, Copy, Record)]
struct Alias {
    bytes: Bytes,
}

fn main() {}
"#;

#[test]
fn a_type_without_a_layout_is_refused_at_its_field() {
    let output = Package::with_derive(MAIN).run("check", &["--message-format", "short"]);
    assert!(!output.status.success());
    let errors = String::from_utf8(output.stderr).unwrap();
    let usize = "`usize` has another size on other machines: use `u64` or `u32`";
    let isize = "`isize` has another size on other machines: use `i64` or `i32`";
    let text = "use `Text<N>`, a text of at most N - 1 bytes";
    for error in [
        format!("src/main.rs:8:12: error: {usize}"),
        format!("src/main.rs:9:11: error: a page has no pointers: {text}"),
        "src/main.rs:10:12: error: an array has scalars as its elements: use one array of \
         N × M elements"
            .to_owned(),
        format!("src/main.rs:16:12: error: {usize}"),
        format!("src/main.rs:17:14: error: a page has no heap: {text}"),
        format!("src/main.rs:18:12: error: {isize}"),
        "src/main.rs:23:12: error[E0277]: `NonZero<u8>` can't be a field of a record: not a \
         type that a record can hold"
            .to_owned(),
    ] {
        assert!(errors.contains(&error), "{error}\n{errors}");
    }
}

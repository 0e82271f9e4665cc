//! What somebody reads whose declaration has mistakes: each message as it is printed.

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme};
use vdsokit_build::Declaration;

const HEAD: &str = "[vdso]\nsoname = \"libweather.so.1\"\nversion = \"WEATHER_1.0\"\n";

/// The message about `text`, without colours.
fn message(text: &str) -> String {
    let error = Declaration::parse("weather.toml", text).expect_err("it has mistakes");
    let mut printed = String::new();
    GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor())
        .with_width(100)
        .render_report(&mut printed, &error as &dyn Diagnostic)
        .unwrap();
    printed
        .lines()
        .map(|line| line.trim_end().to_owned() + "\n")
        .collect()
}

/// About variables below a good head.
fn about(variables: &str) -> String {
    message(&format!("{HEAD}\n{variables}"))
}

macro_rules! messages {
    ($($name:ident: $message:expr;)*) => {$(
        #[test]
        fn $name() {
            insta::assert_snapshot!($message);
        }
    )*};
}

messages! {
    no_toml: message("[vdso\n");
    nothing: message("");
    types_of_other_languages: about(
        "[var.a]\ntype = \"string\"\n[var.b]\ntype = \"[f64; 8]\"\n[var.c]\ntype = \"record\"\n\
         [var.d]\ntype = \"double\"\n[var.e]\ntype = \"uint32_t[4]\"\n[var.f]\ntype = \"Text<16>\"\n\
         [var.g]\ntype = \"f64[]\"\n[var.h]\ntype = \"str\"\n[var.i]\ntype = \"complex\"\n"
    );
    an_empty_head: message("[vdso]\n");
    a_head_that_is_no_table: message("vdso = 1\n");
    bad_names_in_the_head: message(
        "[vdso]\nsoname = \"lib/weather\"\nversion = \"1.0 beta\"\nprefix = \"3_\"\n"
    );
    an_unknown_key: message(&format!("{HEAD}verison = \"1\"\n[vars.x]\ntype = \"f64\"\n"));
    an_unknown_type: about("[var.temperature]\ntype = \"double\"\n");
    a_type_that_is_a_number: about("[var.temperature]\ntype = 64\n");
    no_type: about("[var.temperature]\nunit = \"degC\"\n");
    a_name_twice: about("[var.a]\ntype = \"u8\"\n[var.b]\ntype = \"u8\"\n[var.a]\ntype = \"i8\"\n");
    reserved_names: about("[var.state]\ntype = \"u8\"\n[var.updated]\ntype = \"u8\"\n");
    no_identifiers: about("[var.\"wind-speed\"]\ntype = \"u8\"\n[var.\"grün\"]\ntype = \"u8\"\n[var.3d]\ntype = \"u8\"\n");
    keywords: message(
        "[vdso]\nsoname = \"libw.so\"\nversion = \"W\"\nprefix = \"\"\n[var.while]\ntype = \"u8\"\n\
         [var.x.fields.class]\ntype = \"u8\"\n"
    );
    no_bytes: about("[var.a]\ntype = \"f64[0]\"\n[var.b]\ntype = \"str[0]\"\n");
    events_without_a_kernel_variable: about(
        "[var.a]\ntype = \"u8\"\nafter = \"sched_process_fork\"\n[var.b]\nkernel = \"x\"\n\
         [var.b.fields.c]\ntype = \"u8\"\n[var.d]\ntype = \"u8\"\nkernel = \"x\"\nafter = [1]\n"
    );
    too_many_bytes: about("[var.a]\ntype = \"u64[8193]\"\n[var.b.fields.c]\ntype = \"str[65536]\"\n[var.b.fields.d]\ntype = \"u8\"\n");
    a_text_that_is_too_long: about("[var.place]\ntype = \"str[4]\"\ninit = \"Kiel\"\n");
    a_text_with_a_nul: about("[var.place]\ntype = \"str[4]\"\ninit = \"a\\u0000\"\n");
    out_of_range: about(
        "[var.a]\ntype = \"u8\"\ninit = 256\n[var.b]\ntype = \"i16\"\ninit = -32769\n\
         [var.c]\ntype = \"u64\"\ninit = -1\n[var.d]\ntype = \"f32\"\ninit = 1e39\n\
         [var.e]\ntype = \"u64\"\ninit = 18446744073709551616\n"
    );
    not_a_value: about(
        "[var.a]\ntype = \"f64\"\ninit = \"1.5\"\n[var.b]\ntype = \"u8\"\ninit = 1.5\n\
         [var.c]\ntype = \"bool\"\ninit = 1\n[var.d]\ntype = \"str[4]\"\ninit = 1\n\
         [var.e]\ntype = \"u8[2]\"\ninit = 1\n[var.f]\ntype = \"u8[2]\"\ninit = [1, 2, 3]\n"
    );
    an_empty_record: about("[var.wind.fields]\n");
    a_record_with_a_type: about("[var.wind]\ntype = \"f64\"\n[var.wind.fields.speed]\ntype = \"f64\"\n");
    a_record_with_an_initial_value: about("[var.wind]\ninit = 1\n[var.wind.fields.speed]\ntype = \"f64\"\n");
    a_field_without_type: about("[var.wind.fields.speed]\nunit = \"m/s\"\n");
    a_record_in_a_record: about("[var.wind.fields.gusts.fields.first]\ntype = \"f64\"\n");
    a_doc_that_is_too_long: about(&format!("[var.a]\ntype = \"u8\"\ndoc = \"{}\"\n", "x".repeat(4097)))
        .replace(&"x".repeat(4097), "x…");
}

#[test]
fn what_the_kernel_has_for_a_variable_is_read() {
    let text = format!(
        "{HEAD}[var.a]\ntype = \"u8\"\nkernel = \"x.y\"\nafter = \"one\"\n[var.b]\nafter = \
         [\"one\", \"fexit:two\"]\n[var.b.fields.c]\ntype = \"u8\"\nkernel = \"z\"\n[var.d]\ntype = \
         \"u8\"\n"
    );
    let declaration = Declaration::parse("weather.toml", &text).unwrap();
    let [a, b, d] = declaration.variables() else {
        panic!("three variables");
    };
    assert_eq!(
        (a.kernel.as_str(), a.after.as_slice()),
        ("x.y", &["one".to_owned()][..])
    );
    assert_eq!(b.kind.fields()[0].kernel, "z");
    assert_eq!(b.after, ["one", "fexit:two"]);
    assert!(d.kernel.is_empty() && d.after.is_empty());
}

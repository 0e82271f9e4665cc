//! Declarations made in Rust are the ones that TOML gives, and keep the same rules.

use crate::support::declaration;
use vdsokit_build::Declaration;
use vdsokit_build::declaration::{Field, Kind, Problem, Variable, initial};
use vdsokit_vvar::layout::{MAX_VALUE, Type};
use vdsokit_vvar::scalar::ScalarType;

const U8: Type = Type::Scalar(ScalarType::U8);

fn weather(variable: Variable) -> Result<Declaration, Problem> {
    Declaration::builder("libweather.so.1", "WEATHER_1.0")
        .variable(variable)
        .build()
}

#[test]
fn a_builder_gives_what_toml_gives() {
    for name in ["every-type.toml", "weather.toml"] {
        let parsed = declaration(name);
        let begun = Declaration::builder(parsed.soname(), parsed.version()).doc(parsed.doc());
        let built = parsed
            .variables()
            .iter()
            .map(|variable| Variable {
                // What follows from the others is left to the builder.
                kind: match &variable.kind {
                    Kind::Plain(ty) => Kind::Plain(*ty),
                    Kind::Record(fields) => Kind::record(fields.iter().map(|field| Field {
                        offset: 0,
                        ..field.clone()
                    })),
                },
                version: match variable.version.as_str() {
                    own if own == parsed.version() => String::new(),
                    other => other.to_owned(),
                },
                ..variable.clone()
            })
            .fold(begun, vdsokit_build::declaration::Builder::variable);
        assert_eq!(built.build().unwrap(), parsed);
    }
}

#[test]
fn a_declaration_is_printed_as_it_was_read() {
    for name in ["every-type.toml", "weather.toml"] {
        let declaration = declaration(name);
        let printed = declaration.to_toml();
        assert_eq!(Declaration::parse(name, &printed).unwrap(), declaration);
    }
}

/// So programs in C read it on every architecture.
#[test]
fn the_declaration_of_every_type_has_every_scalar() {
    let declaration = declaration("every-type.toml");
    for scalar in ScalarType::ALL {
        let kind = Kind::Plain(Type::Scalar(scalar));
        let mut variables = declaration.variables().iter();
        let found = variables.find(|variable| variable.kind == kind);
        let found = found.unwrap_or_else(|| panic!("no variable is a {scalar}"));
        assert!(found.init.iter().any(|byte| *byte != 0), "{scalar}");
    }
}

#[test]
fn an_initial_value_is_written_as_in_toml() {
    let f64 = Type::Scalar(ScalarType::F64);
    assert_eq!(initial("1.5", f64).unwrap(), 1.5_f64.to_le_bytes());
    assert_eq!(initial("\"a\"", Type::Text(3)).unwrap(), b"a\0\0");
    assert_eq!(
        initial("[1, 2]", Type::Array(ScalarType::U8, 2)).unwrap(),
        [1, 2]
    );
    assert!(matches!(initial("256", U8), Err(Problem::Range { .. })));
    assert!(matches!(initial("one", U8), Err(Problem::Toml(_))));
}

#[test]
fn a_builder_keeps_the_rules_of_toml() {
    let plain = |name: &str| Variable::new(name, Kind::Plain(U8));
    let long = "x".repeat(5000);
    let refused =
        [
            (plain("state"), Problem::Reserved("state".into())),
            (plain("condition"), Problem::Reserved("condition".into())),
            (plain("a b"), Problem::Identifier("a b".into())),
            (
                Variable {
                    version: "1 0".into(),
                    ..plain("a")
                },
                Problem::Version("1 0".into()),
            ),
            (
                Variable {
                    unit: "a\0".into(),
                    ..plain("a")
                },
                Problem::Nul("unit".into()),
            ),
            (
                Variable {
                    doc: long,
                    ..plain("a")
                },
                Problem::LongString {
                    key: "doc".into(),
                    bytes: 5000,
                },
            ),
            (
                Variable {
                    init: vec![0; 2],
                    ..plain("a")
                },
                Problem::InitSize {
                    name: "a".into(),
                    found: 2,
                    wanted: 1,
                },
            ),
            (
                Variable::new("a", Kind::Plain(Type::Text(0))),
                Problem::Empty("a".into()),
            ),
            (
                Variable::new("a", Kind::record([])),
                Problem::NoFields("a".into()),
            ),
            (
                Variable::new("a", Kind::record([Field::new("while", U8)])),
                Problem::Keyword("while".into()),
            ),
            (
                Variable::new(
                    "a",
                    Kind::record(["b", "c"].map(|name| {
                        Field::new(name, Type::Array(ScalarType::U8, MAX_VALUE as u32))
                    })),
                ),
                Problem::TooLarge {
                    name: "a".into(),
                    size: 2 * MAX_VALUE,
                },
            ),
        ];
    for (variable, problem) in refused {
        assert_eq!(weather(variable).unwrap_err(), problem);
    }
    let twice = Declaration::builder("libweather.so.1", "WEATHER_1.0")
        .variable(plain("a"))
        .variable(plain("a"))
        .build();
    assert_eq!(twice.unwrap_err(), Problem::Duplicate("a".into()));
    let head = |soname: &str, version: &str, prefix: &str| {
        let builder = Declaration::builder(soname, version).prefix(prefix);
        builder.build().unwrap_err()
    };
    assert_eq!(
        head("weather", "W_1", ""),
        Problem::Soname("weather".into())
    );
    assert_eq!(head("libw.so", "1", ""), Problem::Version("1".into()));
    assert_eq!(head("libw.so", "W_1", "1"), Problem::Prefix("1".into()));
}

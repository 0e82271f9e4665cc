//! `#[derive(Vvars)]`: one declaration in Rust, built, published and read.

use std::path::PathBuf;
use tempfile::TempDir;
use vdsokit::{Condition, Error, Record, Text, Vdso, Vvars, place};

#[derive(Clone, Copy, Debug, PartialEq, Record)]
struct Wind {
    /// How fast.
    #[vvar(unit = "m/s")]
    speed: f64,
    from: u16,
}

/// The weather "outside", as \ says.
#[derive(Clone, Copy, Debug, PartialEq, Vvars)]
#[vvar(soname = "libweather.so.1", version = "WEATHER_1.0")]
struct Weather {
    /// Outside temperature.
    #[vvar(unit = "degC", init = 1.5)]
    temperature: f64,
    wind: Wind,
    #[vvar(init = "Brocken", version = "WEATHER_1.1")]
    station: Text<16>,
    r#type: u8,
    gusts: [f32; 3],
    #[vvar(init = true)]
    open: bool,
}

/// An older age of it.
#[derive(Vvars)]
#[vvar(soname = "libweather.so.1", version = "WEATHER_1.0")]
struct Old {
    temperature: f64,
}

/// A different opinion of it.
#[derive(Vvars)]
#[vvar(soname = "libweather.so.1", version = "WEATHER_1.0")]
struct Different {
    temperature: f32,
}

fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir_in(place::base().unwrap()).unwrap();
    let path = directory.path().join("libweather.so.1");
    (directory, path)
}

/// The image that `create` builds is the one that `vdso build` makes of the declaration's text.
#[test]
fn the_derived_declaration_is_the_one_in_its_text() {
    let (_directory, path) = place();
    drop(Weather::create(&path).unwrap());
    let text = Weather::declaration();
    let parsed = vdsokit_build::Declaration::parse("weather.toml", &text).unwrap();
    let host = vdsokit_build::Architecture::host().unwrap();
    let image = vdsokit_build::image(&parsed, host).unwrap();
    let created = std::fs::read(&path).unwrap();
    // The last page is the values', of which the publisher's header has changed.
    let pages = image.len() - host.page();
    assert_eq!(created.len(), image.len());
    assert_eq!(created[..pages], image[..pages]);
    assert_eq!(created[pages + 64..], image[pages + 64..]);
}

#[test]
fn what_is_set_is_got() {
    let (_directory, path) = place();
    let mut publisher = Weather::create(&path).unwrap();
    let reader = Weather::open(&path).unwrap();
    let initial = Weather::get(&reader);
    assert_eq!(initial.temperature, 1.5);
    assert_eq!(initial.station.as_str(), "Brocken");
    assert!(initial.open);
    let weather = Weather {
        temperature: -3.0,
        wind: Wind {
            speed: 9.5,
            from: 270,
        },
        station: Text::new("Zugspitze").unwrap(),
        r#type: 7,
        gusts: [1.0, 2.0, 3.0],
        open: false,
    };
    weather.set(&mut publisher);
    assert_eq!(Weather::get(&reader), weather);
    assert_eq!(reader.vdso.status().condition, Condition::Live);
    let entry = reader.vdso.directory().find("temperature").unwrap();
    assert_eq!((entry.unit, entry.doc), ("degC", "Outside temperature."));
    assert_eq!(
        reader.vdso.directory().find("station").unwrap().version,
        "WEATHER_1.1"
    );
    assert_eq!(reader.vdso.get("type").unwrap().to_string(), "7");

    publisher.publisher.retire();
    assert_eq!(reader.vdso.status().condition, Condition::Stopped);
}

#[test]
fn programs_of_another_age_read_it_or_are_told_what_differs() {
    let (_directory, path) = place();
    let publisher = Weather::create(&path).unwrap();
    publisher.temperature.set(8.0);
    assert_eq!(Old::open(&path).unwrap().temperature.get(), 8.0);
    let error = Different::open(&path).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("`temperature` is f64, not f32"), "{error}");
    drop(publisher);

    let publisher = Old::create(&path).unwrap();
    assert_eq!(publisher.temperature.get(), 8.0, "carried over");
    let Err(Error::Unknown { name, .. }) = Weather::open(&path) else {
        panic!("there is no wind")
    };
    assert_eq!(name, "wind");
}

#[test]
fn a_reader_outlives_the_file_it_read() {
    let (_directory, path) = place();
    let publisher = Weather::create(&path).unwrap();
    let temperature = Vdso::open(&path)
        .unwrap()
        .var::<f64>("temperature")
        .unwrap();
    std::fs::remove_file(&path).unwrap();
    publisher.temperature.set(3.0);
    assert_eq!(temperature.get(), 3.0);
    drop(publisher);
    let reader = std::thread::spawn(move || temperature.get());
    assert_eq!(reader.join().unwrap(), 3.0);
}

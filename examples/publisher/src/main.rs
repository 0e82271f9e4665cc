//! Publishes each temperature that is written to its standard input, a line each:
//! `weather-publisher libweather.so.1`. The vDSO is retired at the end of the input.

use std::error::Error;
use std::io::stdin;
use vdsokit::{Record, Text, Vvars};

#[derive(Clone, Copy, Record)]
struct Wind {
    #[vvar(unit = "m/s")]
    speed: f64,
    from: u16,
}

/// The weather outside.
#[derive(Vvars)]
#[vvar(soname = "libweather.so.1", version = "WEATHER_1.0")]
struct Weather {
    /// Outside temperature.
    #[vvar(unit = "degC", init = 1.5)]
    temperature: f64,
    wind: Wind,
    station: Text<16>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1);
    let path = path.unwrap_or_else(|| "libweather.so.1".into());

    // Builds the image, unless it is there; then the last values are kept.
    let mut weather = Weather::create(&path)?;
    weather.station.set("Brocken".parse()?);
    weather.wind.set(Wind {
        speed: 9.5,
        from: 270,
    });
    println!("live");

    for line in stdin().lines() {
        weather.temperature.set(line?.trim().parse()?);
        weather.publisher.beat();
    }
    Ok(())
}

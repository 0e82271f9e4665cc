//! Reads the temperature that another process publishes: `weather-reader libweather.so.1`.

use vdsokit::{Condition, Error, Vdso};

fn main() -> Result<(), Error> {
    let path = std::env::args_os().nth(1);
    let path = path.unwrap_or_else(|| "libweather.so.1".into());

    let weather = Vdso::open(&path)?;
    let temperature = weather.var::<f64>("temperature")?;
    // From here on a read is one load and can't fail.
    let value = temperature.get();

    match weather.status().condition {
        Condition::Live => println!("{value} °C"),
        other => println!("{value} °C ({other})"),
    }
    Ok(())
}

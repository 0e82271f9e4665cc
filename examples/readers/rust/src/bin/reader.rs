//! Prints the temperature now for each line that it reads: `reader ./libweather.so.1`.

use std::io::stdin;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args_os().nth(1).ok_or("reader FILE")?;
    let weather = vdsokit::Vdso::open(path)?;
    let temperature = weather.var::<f64>("temperature")?;
    for line in stdin().lines() {
        line?;
        println!("{}", temperature.get());
    }
    Ok(())
}

//! What the commands around published vDSOs have in common: names, signals, output.

use miette::{IntoDiagnostic, Result, miette};
use serde_json::{Map, Value, json};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use vdsokit_build::{Architecture, Declaration, image};
use vdsokit_deliver::Object;
use vdsokit_publish::{Condition, Dynamic, Number, Status, Vdso, place};
use vdsokit_sources::kernel::{self, Description};
use vdsokit_sources::{clock, system};

/// The name of the built-in declaration.
pub(crate) const SYSTEM: &str = "system";

/// The name of the machine's clock.
pub(crate) const CLOCK: &str = "clock";

/// What `vdso serve --kernel` publishes.
const KERNEL: &str = "kernel";
/// Its file's name.
const KERNEL_SONAME: &str = "libkernel.so.1";

/// The path that a command was given, or where `vdso serve system`, `vdso serve clock` or
/// `vdso serve --kernel` publishes.
pub(crate) fn path(given: &Path) -> Result<PathBuf> {
    if given == Path::new(CLOCK) && !given.exists() {
        return place::find(clock::FILE).ok_or_else(|| {
            miette!(
                help = "`vdso serve clock` publishes it; after `--at FILE`, name that file",
                "nobody publishes this machine's clock"
            )
        });
    }
    if given == Path::new(KERNEL) && !given.exists() {
        return place::find(KERNEL_SONAME).ok_or_else(|| {
            miette!(
                help = "`vdso serve --kernel VARIABLE` publishes them; after `--at FILE`, name \
                        that file",
                "nobody publishes variables of the kernel's"
            )
        });
    }
    if given != Path::new(SYSTEM) || given.exists() {
        return Ok(given.to_owned());
    }
    place::find(declaration(given)?.soname()).ok_or_else(|| {
        miette!(
            help = "`vdso serve system` publishes them; after `--at FILE`, name that file",
            "nobody publishes this machine's numbers"
        )
    })
}

/// The vDSO at a path: the pages that the kernel fills, where it does and they can be reached;
/// otherwise the file's.
pub(crate) fn open(path: &Path) -> Result<Vdso> {
    match kernel::open_vdso(path)? {
        Some(vdso) => Ok(vdso),
        None => Ok(Vdso::open(path)?),
    }
}

/// For delivery: the vDSO at a path; with the pages that the kernel fills, where it does and
/// they can be reached.
pub(crate) fn object(path: &Path) -> Result<Object> {
    let object = Object::open(path)?;
    let Some(map) = kernel::open(path) else {
        return Ok(object);
    };
    let fd = map.map().try_clone_to_owned().into_diagnostic()?;
    Ok(object.with_map(fd, map.size() as u64)?)
}

/// The kernel as a publisher, as JSON.
pub(crate) fn kernel(kernel: &Description) -> Value {
    json!({"directory": kernel.directory, "map": kernel.map, "hooks": kernel.hooks})
}

/// The map that the kernel fills and where it has its name, in brackets; nothing where there is
/// none in reach.
pub(crate) fn map(kernel: Option<&Description>) -> String {
    kernel
        .and_then(|kernel| Some((kernel.map?, kernel.directory.display())))
        .map(|(map, directory)| format!(" (BPF map {map}, {directory})"))
        .unwrap_or_default()
}

/// What a reader has to know of a vDSO that is not live; none when it is.
pub(crate) fn warning(vdso: &Vdso) -> Option<String> {
    let status = vdso.status();
    let path = vdso.path().display();
    let kernel = kernel::describe(vdso.path());
    match (status.condition, kernel) {
        (Condition::Live, _) => None,
        // Were the map in reach, these would be its pages.
        (_, Some(kernel)) if kernel.map.is_none() => Some(format!(
            "{path}: {status} in this file. The kernel publishes in {}, which this process can't \
             reach: `vdso serve {path}` copies from there to the file, for everybody",
            kernel.directory.display()
        )),
        _ => Some(format!("{path}: {status}")),
    }
}

/// The declaration in a file, or the built-in one.
pub(crate) fn declaration(given: &Path) -> Result<Declaration> {
    if given == Path::new(SYSTEM) {
        return Ok(Declaration::parse("system.toml", system::DECLARATION)?);
    }
    let text = std::fs::read_to_string(given)
        .into_diagnostic()
        .map_err(|error| error.wrap_err(format!("{} could not be read", given.display())))?;
    Ok(Declaration::parse(&given.display().to_string(), &text)?)
}

/// Its image for this machine.
pub(crate) fn host_image(declaration: &Declaration) -> Result<Vec<u8>> {
    let host = Architecture::host().ok_or_else(|| {
        miette!(
            help = "images are built for x86-64 and aarch64",
            "no image can be built for this machine's architecture"
        )
    })?;
    Ok(image(declaration, host)?)
}

/// Becomes readable when this process is asked to end.
pub(crate) fn stop() -> Result<UnixStream> {
    let (read, write) = UnixStream::pair().into_diagnostic()?;
    for signal in [SIGTERM, SIGINT] {
        let write = write.try_clone().into_diagnostic()?;
        signal_hook::low_level::pipe::register(signal, write).into_diagnostic()?;
    }
    Ok(read)
}

/// Writes a line to the standard output; false when nobody reads it any more.
pub(crate) fn line(text: impl std::fmt::Display) -> Result<bool> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error).into_diagnostic(),
    }
}

/// A value as JSON. JSON has no infinities: they and NaN become null.
pub(crate) fn value(value: &Dynamic) -> Value {
    match value {
        Dynamic::Array(numbers) => numbers.iter().map(number).collect(),
        Dynamic::Text(text) => json!(text),
        Dynamic::Record(fields) => {
            let fields = fields.iter();
            Value::Object(
                fields
                    .map(|(name, field)| (name.clone(), self::value(field)))
                    .collect(),
            )
        }
        Dynamic::Scalar(one) => number(one),
        _ => Value::Null,
    }
}

fn number(number: &Number) -> Value {
    match number {
        Number::Bool(value) => json!(value),
        // Its own digits, not those of the nearest f64.
        Number::Single(value) => value
            .to_string()
            .parse::<f64>()
            .map_or(Value::Null, |v| json!(v)),
        Number::Signed(value) => json!(value),
        Number::Unsigned(value) => json!(value),
        Number::Double(value) => json!(value),
        _ => Value::Null,
    }
}

/// Who publishes, as JSON.
pub(crate) fn status(status: &Status) -> Value {
    json!({
        "state": status.condition.to_string(),
        "publisher": status.publisher,
        "age": status.age.map(|age| age.as_secs_f64()),
        "stale_after": status.stale_after.map(|limit| limit.as_secs_f64()),
    })
}

/// Status and values of a vDSO, as JSON.
pub(crate) fn snapshot(vdso: &Vdso, names: &[String]) -> Result<Value> {
    let mut values = Map::new();
    for (name, found) in values_of(vdso, names)? {
        values.insert(name, value(&found));
    }
    let mut all = json!({
        "file": vdso.path(),
        "status": status(&vdso.status()),
        "values": values,
    });
    if let Some(description) = kernel::describe(vdso.path()) {
        all["kernel"] = kernel(&description);
    }
    Ok(all)
}

/// The variables and fields named, or all variables, with their values.
pub(crate) fn values_of(vdso: &Vdso, names: &[String]) -> Result<Vec<(String, Dynamic)>> {
    if names.is_empty() {
        let all = vdso.directory();
        return all
            .iter()
            .map(|entry| Ok((entry.name.to_owned(), vdso.get(entry.name)?)))
            .collect();
    }
    let named = |name: &String| -> Result<(String, Dynamic)> {
        let Some((variable, field)) = name.split_once('.') else {
            return Ok((name.clone(), vdso.get(name)?));
        };
        match vdso.get(variable)? {
            Dynamic::Record(fields) => fields
                .into_iter()
                .find(|(known, _)| known == field)
                .map(|(_, value)| (name.clone(), value))
                .ok_or_else(|| miette!("`{variable}` has no field `{field}`")),
            _ => Err(miette!(
                "`{variable}` is no record: it has no field `{field}`"
            )),
        }
    };
    names.iter().map(named).collect()
}

/// `name=value`, as `vdso set` reads it; a record with all of its fields.
pub(crate) fn assignment(name: &str, value: &Dynamic) -> String {
    match value {
        Dynamic::Record(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|(field, value)| format!("{name}.{field}={value}"))
                .collect();
            fields.join(" ")
        }
        value => format!("{name}={value}"),
    }
}

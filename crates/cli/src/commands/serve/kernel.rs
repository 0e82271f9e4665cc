//! Variables of the running kernel: the kernel publishes them, and this process relays the values to
//! the file.

use super::report::Reporter;
use super::{Arguments, is_declaration, is_system};
use crate::{image, published, signals};
use miette::{IntoDiagnostic, Result, miette};
use serde_json::json;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use vdsokit_build::declaration::{Kind, Problem, Variable};
use vdsokit_build::{Declaration, header, write_file};
use vdsokit_elf::file::read_image;
use vdsokit_publish::{Publisher, place};
use vdsokit_sources::kernel::{self, Binding, Hook, Kernel, Relay, named, plain_name};

/// The default time between two copies to the file. A wake-up takes some microseconds, so a hundred
/// of them in a second take well below a thousandth of a CPU.
const EVERY: Duration = Duration::from_millis(10);

/// Serves if the kernel is the publisher; otherwise returns `None`.
pub(super) fn run(arguments: &Arguments, reporter: &Reporter) -> Result<Option<ExitCode>> {
    let Some(kernel) = publishing(arguments)? else {
        return Ok(None);
    };
    let stop = signals::stop()?;
    let every = arguments.every.unwrap_or(EVERY);
    let (file, relay) = match kernel {
        Publishing::Running(relay) => *relay,
        Publishing::New(new) => {
            let started = kernel::start(&new.kernel, &new.image, &new.bindings)?;
            if let Some((name, text)) = &new.header {
                write_file(&new.path.with_file_name(name), text.as_bytes())?;
            }
            if arguments.detach {
                let path = started.detach(&new.path)?;
                event(reporter, "detached", &path, None);
                return Ok(Some(ExitCode::SUCCESS));
            }
            signals::exit_on_truncation(&new.path);
            started.serve(&new.path, every, arguments.options())?
        }
    };
    // Nothing below needs the privileges.
    kernel::drop_privileges().into_diagnostic()?;
    event(reporter, "live", file.path(), Some(every));
    reporter.serve(file, relay, None, &stop).map(Some)
}

/// Reports a kernel that publishes; `every` is the relay's period.
fn event(reporter: &Reporter, name: &str, path: &Path, every: Option<Duration>) {
    let kernel = kernel::describe(path);
    let details = json!({
        "publisher": every.map(|_| std::process::id()),
        "kernel": kernel.as_ref().map(published::kernel),
        "every": every.map(|every| every.as_secs_f64()),
    });
    let mut text = format!(", by the kernel{}", published::map(kernel.as_ref()));
    if let Some(every) = every {
        // Writing to a string does not fail.
        let _ = write!(text, ", relayed every {every:?} by {}", std::process::id());
    }
    reporter.event(name, path, details, &text);
}

/// A kernel as publisher.
enum Publishing {
    /// It publishes already: another process has set it up.
    Running(Box<(Publisher, Relay)>),
    /// It has to be set up.
    New(Box<New>),
}

/// What the kernel is to publish, and the vDSO's file.
struct New {
    kernel: Kernel,
    image: Vec<u8>,
    bindings: Vec<Binding>,
    path: PathBuf,
    /// The directory of `path`, if this command had to choose one.
    _made: Option<place::Made>,
    /// The C header's name and text, if this command has made the declaration.
    header: Option<(String, String)>,
}

fn publishing(arguments: &Arguments) -> Result<Option<Publishing>> {
    let file = match (&arguments.file, arguments.kernel.as_slice()) {
        (_, [_, ..]) => return of_expressions(arguments).map(Some),
        // clap requires one or the other.
        (None, []) => return Ok(None),
        (Some(file), []) => file,
    };
    if is_system(file) {
        return Ok(None);
    }
    if is_declaration(file) {
        let declaration = image::declaration(file)?;
        let bindings = bindings(&declaration)?;
        if bindings.is_empty() {
            return Ok(None);
        }
        let path = arguments.at.clone();
        let path = path.unwrap_or_else(|| place::of_declaration(file, declaration.soname()));
        return Ok(Some(Publishing::New(Box::new(New {
            kernel: running(arguments)?,
            image: image::host_image(&declaration)?,
            bindings,
            path,
            _made: None,
            header: None,
        }))));
    }
    let every = arguments.every.unwrap_or(EVERY);
    let path = published::path(file)?;
    signals::exit_on_truncation(&path);
    if let Some(relay) = Relay::open(&path, every)? {
        return Ok(Some(Publishing::Running(Box::new(relay))));
    }
    // What is wrong with such a file is reported when its values are to be published.
    let Ok(image) = read_image(&path) else {
        return Ok(None);
    };
    let bindings = kernel::bindings(&image);
    if bindings.is_empty() {
        return Ok(None);
    }
    Ok(Some(Publishing::New(Box::new(New {
        kernel: running(arguments)?,
        image,
        bindings,
        path,
        _made: None,
        header: None,
    }))))
}

fn running(arguments: &Arguments) -> Result<Kernel> {
    let kernel = Kernel::running()?;
    Ok(match arguments.allow_addresses {
        true => kernel.allow_addresses(),
        false => kernel,
    })
}

fn of_expressions(arguments: &Arguments) -> Result<Publishing> {
    let kernel = running(arguments)?;
    let declaration = declaration(&kernel, &arguments.kernel, &arguments.on)?;
    let bindings = bindings(&declaration)?;
    let (path, made) = match &arguments.at {
        Some(at) => (at.clone(), None),
        None => {
            let made = place::make()?;
            (made.path().join(declaration.soname()), Some(made))
        }
    };
    Ok(Publishing::New(Box::new(New {
        kernel,
        image: image::host_image(&declaration)?,
        bindings,
        path,
        _made: made,
        header: Some((format!("{}.h", declaration.library()), header(&declaration))),
    })))
}

/// The declaration of the variables on the command line.
fn declaration(kernel: &Kernel, wanted: &[String], after: &[String]) -> Result<Declaration> {
    let mut builder = Declaration::builder("libkernel.so.1", "KERNEL_1.0")
        .prefix("kernel_")
        .doc("Variables of the running kernel");
    for one in wanted {
        builder = builder.variable(variable(kernel, one, after)?);
    }
    builder.build().map_err(|problem| match problem {
        Problem::Duplicate(name) => miette!(
            help = "give one of them another name: --kernel NAME=EXPRESSION",
            "two variables would have the name `{name}`"
        ),
        problem => miette!(help = problem.help(), "{problem}"),
    })
}

/// The variable of `NAME=EXPRESSION` or `EXPRESSION`.
fn variable(kernel: &Kernel, wanted: &str, after: &[String]) -> Result<Variable> {
    let (name, expression) = match wanted.split_once('=') {
        Some((name, expression)) => (name.to_owned(), expression),
        None => (plain_name(wanted), wanted),
    };
    let ty = kernel.resolve(expression, &Hook::Tick)?.ty;
    let known = named(expression);
    let own = format!("`{expression}` of the running kernel");
    let (unit, doc) = known.map_or(("", own.as_str()), |known| (known.unit, known.doc));
    Ok(Variable {
        unit: unit.to_owned(),
        doc: doc.to_owned(),
        kernel: expression.to_owned(),
        after: after.to_vec(),
        ..Variable::new(&name, Kind::Plain(ty))
    })
}

/// The kernel expressions of a declaration's variables.
fn bindings(declaration: &Declaration) -> Result<Vec<Binding>> {
    let mut bindings = Vec::new();
    for variable in declaration.variables() {
        let after: Vec<Hook> = variable
            .after
            .iter()
            .map(|event| event.parse())
            .collect::<Result<_, kernel::Refused>>()?;
        for (field, expression) in expressions(variable) {
            bindings.push(Binding {
                variable: variable.name.clone(),
                field: field.map(str::to_owned),
                expression: expression.to_owned(),
                after: after.clone(),
            });
        }
    }
    Ok(bindings)
}

/// A variable's expression, or those of its fields.
fn expressions(variable: &Variable) -> Vec<(Option<&str>, &str)> {
    let all = match &variable.kind {
        Kind::Plain(_) => vec![(None, variable.kernel.as_str())],
        Kind::Record(fields) => fields
            .iter()
            .map(|field| (Some(field.name.as_str()), field.kernel.as_str()))
            .collect(),
    };
    all.into_iter()
        .filter(|(_, expression)| !expression.is_empty())
        .collect()
}

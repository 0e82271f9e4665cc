//! Variables of the running kernel: the kernel is the publisher, and this process relays to
//! the file what the kernel publishes.

use super::{Arguments, say};
use crate::published;
use crate::start::ExitCode;
use miette::{IntoDiagnostic, Result, miette};
use serde_json::json;
use std::fmt::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;
use vdsokit_build::declaration::{Kind, Variable};
use vdsokit_build::{Declaration, header, write_file};
use vdsokit_publish::serve::{End, Serve};
use vdsokit_publish::{Publisher, place};
use vdsokit_sources::kernel::{self, Binding, Hook, Kernel, Relay, named, plain_name};

/// Time between two copies to the file, when none is asked for: a waking-up costs some
/// microseconds, a hundred a second well below a thousandth of a CPU.
const EVERY: Duration = Duration::from_millis(10);

/// What the image of `--kernel` says of itself.
const HEAD: &str = r#"[vdso]
soname = "libkernel.so.1"
version = "KERNEL_1.0"
prefix = "kernel_"
doc = "Variables of the running kernel"
"#;

/// Serves, when it is the kernel that publishes.
pub(super) fn run(arguments: &Arguments) -> Result<Option<ExitCode>> {
    let Some(source) = source(arguments)? else {
        if arguments.detach {
            return Err(miette!(
                help = "name variables of the kernel's with --kernel, or in the declaration",
                "only the kernel goes on publishing when this process ends"
            ));
        }
        return Ok(None);
    };
    let stop = published::stop()?;
    let every = every(arguments);
    let (file, relay) = match source {
        Source::Theirs(relay) => *relay,
        Source::Ours(publishing) => {
            let image = published::host_image(&publishing.declaration)?;
            let started = kernel::start(&publishing.kernel, &image, &publishing.bindings)?;
            if publishing.has_header {
                let name = format!("{}.h", publishing.declaration.library());
                let text = header(&publishing.declaration);
                write_file(&publishing.path.with_file_name(name), text.as_bytes())?;
            }
            if arguments.detach {
                let path = started.detach(&publishing.path)?;
                say(event(arguments.json, "detached", &path, None));
                return Ok(Some(ExitCode::SUCCESS));
            }
            started.serve(&publishing.path, every)?
        }
    };
    // From here on nothing is done that only a privileged process may do.
    kernel::drop_privileges().into_diagnostic()?;
    serve(file, relay, &stop, arguments).map(Some)
}

fn every(arguments: &Arguments) -> Duration {
    arguments.every.unwrap_or(EVERY)
}

fn serve(
    file: Publisher,
    relay: Relay,
    stop: &UnixStream,
    arguments: &Arguments,
) -> Result<ExitCode> {
    let path = file.path().to_owned();
    let every = every(arguments);
    say(event(arguments.json, "live", &path, Some(every)));
    let serve = Serve {
        lines: None,
        stop: stop.as_fd(),
    };
    let end = serve.run(file, relay, |_, _| {})?;
    say(match arguments.json {
        true => json!({"event": "retired", "file": path, "why": end.to_string()}).to_string(),
        false => format!("retired: {}, {end}", path.display()),
    });
    Ok(match end {
        End::Stopped | End::EndOfInput | End::Retired => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// What is told of a kernel that publishes; `every` is the relay's.
fn event(json: bool, what: &str, path: &Path, every: Option<Duration>) -> String {
    let kernel = kernel::describe(path);
    if json {
        return json!({
            "event": what, "file": path, "publisher": every.map(|_| std::process::id()),
            "kernel": kernel.as_ref().map(published::kernel),
            "every": every.map(|every| every.as_secs_f64()),
        })
        .to_string();
    }
    let mut text = format!("{what}: {}, by the kernel", path.display());
    text += &published::map(kernel.as_ref());
    if let Some(every) = every {
        let _ = write!(text, ", relayed every {every:?} by {}", std::process::id());
    }
    text
}

enum Source {
    /// A kernel that somebody else has set up.
    Theirs(Box<(Publisher, Relay)>),
    Ours(Box<Publishing>),
}

/// What the kernel is to publish, and where.
struct Publishing {
    kernel: Kernel,
    declaration: Declaration,
    bindings: Vec<Binding>,
    path: PathBuf,
    has_header: bool,
}

fn source(arguments: &Arguments) -> Result<Option<Source>> {
    let file = match (&arguments.file, arguments.kernel.as_slice()) {
        (_, [_, ..]) => return of_expressions(arguments).map(Some),
        // clap asks for the one or the other.
        (None, []) => return Ok(None),
        (Some(file), []) => file,
    };
    if super::is_system(file) {
        return Ok(None);
    }
    if file
        .extension()
        .is_some_and(|extension| extension == "toml")
    {
        let declaration = published::declaration(file)?;
        let bindings = bindings(&declaration)?;
        if bindings.is_empty() {
            return Ok(None);
        }
        let path = arguments.at.clone();
        let path = path.unwrap_or_else(|| file.with_file_name(declaration.soname()));
        return Ok(Some(Source::Ours(Box::new(Publishing {
            kernel: running(arguments)?,
            declaration,
            bindings,
            path,
            has_header: false,
        }))));
    }
    let relay = Relay::open(&published::path(file)?, every(arguments))?;
    Ok(relay.map(|relay| Source::Theirs(Box::new(relay))))
}

fn running(arguments: &Arguments) -> Result<Kernel> {
    let kernel = Kernel::running()?;
    Ok(match arguments.allow_addresses {
        true => kernel.allow_addresses(),
        false => kernel,
    })
}

fn of_expressions(arguments: &Arguments) -> Result<Source> {
    let kernel = running(arguments)?;
    let text = declaration(&kernel, &arguments.kernel, &arguments.on)?;
    let declaration = Declaration::parse("the declaration of --kernel", &text)?;
    let bindings = bindings(&declaration)?;
    let path = match &arguments.at {
        Some(at) => at.clone(),
        None => place::make()?.join(declaration.soname()),
    };
    Ok(Source::Ours(Box::new(Publishing {
        kernel,
        declaration,
        bindings,
        path,
        has_header: true,
    })))
}

/// The declaration of variables that were asked for on the command line, as a user would
/// write it.
fn declaration(kernel: &Kernel, wanted: &[String], after: &[String]) -> Result<String> {
    // What JSON writes as a string, TOML reads as one.
    let quoted = |text: &str| json!(text).to_string();
    let mut text = HEAD.to_owned();
    let mut names: Vec<String> = Vec::new();
    for one in wanted {
        let (name, expression) = match one.split_once('=') {
            Some((name, expression)) => (name.to_owned(), expression),
            None => (plain_name(one), one.as_str()),
        };
        if names.contains(&name) {
            return Err(miette!(
                help = "give one of them another name: --kernel NAME=EXPRESSION",
                "two variables would be called `{name}`"
            ));
        }
        let ty = kernel.resolve(expression, &Hook::Tick)?.ty;
        let known = named(expression);
        let own = format!("`{expression}` of the running kernel");
        let (unit, doc) = known.map_or(("", own.as_str()), |known| (known.unit, known.doc));
        // Writing to a string does not fail.
        let _ = write!(
            text,
            "\n[var.{}]\ntype = \"{ty}\"\nunit = {}\ndoc = {}\nkernel = {}\nafter = {}\n",
            quoted(&name),
            quoted(unit),
            quoted(doc),
            quoted(expression),
            json!(after),
        );
        names.push(name);
    }
    Ok(text)
}

/// What the kernel has for the variables of a declaration.
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

//! `vdso feed`: publishes the values of a distributed store.

use super::serve::duration;
use super::serve::report::Reporter;
use crate::image::{declaration, host_image};
use crate::{output, signals};
use miette::Result;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use vdsokit_feed::{
    Create, Credentials, FedVariable, Feed, Link, Location, Notice, with_feed_variables,
};
use vdsokit_publish::{Dynamic, Number, Publisher, Vdso, place};

/// Publish the values of a distributed store: a NATS JetStream bucket, or a prefix of etcd
///
/// A key is the variable of its name, or of `key = "…"` in the declaration. Its value is text: a
/// number, a text as it is, an array with commas, a record as a JSON object with all of its fields.
/// A value that does not fit is refused with key, revision and reason, and the others go on. A key
/// that does not exist leaves the variable at its initial value.
///
/// No value is ever replaced by one of an older revision. While no server answers, the last values
/// stay, and the vDSO becomes stale after --stale-after. The variables `feed_revision`, `feed_lag`,
/// `feed_connected` and `feed_writes` are added where the declaration does not have them.
///
/// SIGHUP reads the credentials again. SIGTERM and SIGINT end the publication and retire the vDSO.
/// Exit status: 0 after an orderly end; 1 an error, before anything was written; 2 wrong usage.
///
/// In a systemd service of Type=notify the service is ready when all keys were read.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The declaration (*.toml), whose image is written beside it, or in the RuntimeDirectory= of a
    /// systemd service
    file: PathBuf,
    /// The store: `nats://HOST:PORT,…/BUCKET` or `etcd://HOST:PORT,…/PREFIX`; `tls://` and
    /// `etcds://` are the same with TLS
    #[arg(long, value_name = "STORE")]
    from: String,
    /// The file in which to publish
    #[arg(short = 'o', long, value_name = "FILE")]
    at: Option<PathBuf>,
    /// The time without an answer of the store after which the values are stale
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "10s")]
    stale_after: Duration,
    /// Create the bucket if it does not exist, and store the declaration there for `vdso put`
    #[arg(long)]
    create: bool,
    /// The number of servers that keep the created bucket (NATS)
    #[arg(long, value_name = "N", default_value_t = 1, requires = "create")]
    replicas: usize,
    /// Accept a store whose last revision is older than what was published: one that was restored
    /// or created again
    #[arg(long)]
    reset: bool,
    /// Replace the file even where its layout has a variable that the new image moves, retypes or
    /// drops
    #[arg(long)]
    replace: bool,
    /// Print events as JSON, a line each
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    login: Login,
}

/// How this client authenticates to the store.
#[derive(clap::Args)]
pub(crate) struct Login {
    /// The user
    #[arg(long, value_name = "NAME", requires = "password_file")]
    user: Option<String>,
    /// A file with the user's password in its first line
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,
    /// A file with a token (NATS)
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// A file with a JWT and its seed (NATS)
    #[arg(long, value_name = "FILE")]
    creds: Option<PathBuf>,
    /// A file with the seed of an NKey (NATS)
    #[arg(long, value_name = "FILE")]
    nkey: Option<PathBuf>,
    /// Trust the certificates in this file too (PEM)
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The client's certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// The key of the client's certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
}

impl Login {
    pub(crate) fn credentials(&self) -> Credentials {
        Credentials {
            user: self.user.clone(),
            password_file: self.password_file.clone(),
            token_file: self.token_file.clone(),
            creds: self.creds.clone(),
            nkey: self.nkey.clone(),
            ca: self.ca.clone(),
            cert: self.cert.clone(),
            key: self.key.clone(),
        }
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let location: Location = arguments.from.parse()?;
    let own = declaration(&arguments.file)?;
    let complete = with_feed_variables(&own)?;
    let image = host_image(&complete)?;
    let variables = FedVariable::all(&own);
    let path = match &arguments.at {
        Some(at) => at.clone(),
        None => place::of_declaration(&arguments.file, own.soname()),
    };
    signals::exit_on_truncation(&path);
    let (stop, reload) = signals::stop_and_reload()?;
    let published = match arguments.reset {
        true => 0,
        false => published(&path),
    };
    let create = arguments.create.then(|| Create {
        declaration: own.to_toml(),
        replicas: arguments.replicas,
    });
    let credentials = arguments.login.credentials();
    let progress = output::spinner("reading all keys");
    let link = Link::open(&location, &credentials, published, create.as_ref());
    progress.finish_and_clear();
    let link = link?;
    let missing = link.missing(&variables);
    if !missing.is_empty() && !arguments.json {
        output::warn(format_args!(
            "vdso: these keys do not exist, so their variables have the declaration's values: {}",
            missing.join(", ")
        ));
    }
    let details =
        json!({"variables": variables.len(), "missing": missing, "store": location.to_string()});
    let options = Publisher::options().replace(arguments.replace);
    let publisher = options.create(&path, &image)?;
    let json = arguments.json;
    let feed = Feed::start(
        link,
        &publisher,
        variables,
        arguments.stale_after,
        reload,
        move |notice| report(&notice, json),
    )?;
    let reporter = Reporter::new(arguments.json);
    reporter.event(
        "live",
        publisher.path(),
        details,
        &format!(", from {location}"),
    );
    reporter.serve(publisher, feed, None, &stop)
}

/// The revision that the file at `path` has the values of; 0 is none.
fn published(path: &Path) -> u64 {
    let revision = Vdso::open(path).and_then(|vdso| vdso.get("feed_revision"));
    match revision {
        Ok(Dynamic::Scalar(Number::Unsigned(revision))) => revision,
        _ => 0,
    }
}

fn report(notice: &Notice, json: bool) {
    let (event, text) = describe(notice);
    if json {
        // A feed goes on when its events can't be written.
        let _ = output::json(&event);
    } else {
        output::warn(format_args!("vdso: {text}"));
    }
}

fn describe(notice: &Notice) -> (Value, String) {
    match notice {
        Notice::Refused { key, revision, why } => (
            json!({"event": "refused", "key": key, "revision": revision, "error": why}),
            format!("the value of `{key}` in revision {revision} was not written: {why}"),
        ),
        Notice::UnknownKey { key } => (
            json!({"event": "unknown_key", "key": key}),
            format!("the key `{key}` has no variable: declare one, or delete the key"),
        ),
        Notice::Disconnected(error) => (
            json!({"event": "disconnected", "error": error.to_string()}),
            format!("{error}; the last values stay"),
        ),
        Notice::Connected { revision } => (
            json!({"event": "connected", "revision": revision}),
            format!("connected again, at revision {revision}"),
        ),
        _ => (json!({"event": "other"}), format!("{notice:?}")),
    }
}

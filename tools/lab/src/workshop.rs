//! Where the lab keeps its things, and how it runs other programs.

use crate::Error;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The checkout and the cache: all that the lab needs to know of its machine.
#[derive(Debug, Clone)]
pub struct Workshop {
    /// The root of the checkout.
    pub root: PathBuf,
    /// Downloads and unpacked packages, kept between runs and outside the
    /// checkout: `$VDSOKIT_CACHE`, or else `vdsokit` in the user's cache.
    pub cache: PathBuf,
    /// How long a guest may take to boot, to power off, and to start and end each check, beyond
    /// what the check may take. It needs 5 s on two idle cores; the bound ends a hang.
    pub overhead: Duration,
    /// How often the emulator may end a boot before that counts as a failure.
    pub boots: u32,
}

impl Workshop {
    /// The workshop of this machine's user.
    ///
    /// # Errors
    /// [`Error::Missing`] when no cache directory can be named.
    pub fn new(root: PathBuf) -> Result<Self, Error> {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let cache = variable("VDSOKIT_CACHE")
            .map(PathBuf::from)
            .or_else(|| variable("XDG_CACHE_HOME").map(|dir| Path::new(&dir).join("vdsokit")))
            .or_else(|| variable("HOME").map(|dir| Path::new(&dir).join(".cache/vdsokit")))
            .ok_or_else(|| Error::Missing {
                what: "a cache directory".into(),
                advice: "set VDSOKIT_CACHE, XDG_CACHE_HOME or HOME".into(),
            })?;
        Ok(Self {
            root,
            cache,
            overhead: Duration::from_secs(90),
            boots: 3,
        })
    }

    /// What the lab builds and writes in the checkout: programs, archives, logs.
    #[must_use]
    pub fn output(&self) -> PathBuf {
        self.root.join("target/lab")
    }

    /// Waits until no other run uses the output directory; it is free again when
    /// the file is closed.
    pub(crate) fn lock(&self) -> Result<File, Error> {
        let output = self.output();
        fs::create_dir_all(&output).map_err(Error::file(&output))?;
        let path = output.join("lock");
        let file = File::create(&path).map_err(Error::file(&path))?;
        file.lock().map_err(Error::file(&path))?;
        Ok(file)
    }
}

/// Runs a command to its end and returns what it printed on standard output;
/// its standard error is the user's.
pub(crate) fn output_of(command: &mut Command) -> Result<String, Error> {
    let result = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output();
    let how = match result {
        Ok(output) if output.status.success() => {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Ok(output) => output.status.to_string(),
        Err(error) => error.to_string(),
    };
    Err(Error::Command {
        command: shown(command),
        how,
    })
}

fn shown(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(
        command
            .get_args()
            .map(|word| word.to_string_lossy().into_owned()),
    );
    words.join(" ")
}

//! The step `html`: the page of `vdso bench --html` in a real browser, without a network.

use crate::steps::{End, Outcome, cargo, check, root};
use std::path::Path;
use std::process::{Command, Stdio};

/// Under which names distributions have Chromium.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/// What the page has to show once a browser has laid it out.
const SHOWN: [&str; 3] = [
    "The cost of vDSO functions",
    "<svg",
    "clock_gettime MONOTONIC",
];

/// Draws the page, light and dark, and looks for complaints of the browser's.
pub(crate) fn step() -> Outcome {
    let Some(browser) = BROWSERS.into_iter().find(|name| is_there(name)) else {
        return Ok(End::Skipped(
            "there is no Chromium: apt-get install chromium".into(),
        ));
    };
    let directory = root().join("target/html");
    std::fs::create_dir_all(&directory).map_err(|error| error.to_string())?;
    let page = directory.join("bench.html");
    // As the step `unit` builds it, which selects the workspace and tests: crates that are selected alone
    // have fewer features of the crates that they share, and all would be compiled again.
    cargo(
        &[
            "build",
            "--quiet",
            "--workspace",
            "--bin",
            "vdso",
            "--test",
            "docs",
        ],
        &[],
    )?;
    check(
        Command::new(root().join("target/debug/vdso"))
            .args(["bench", "--samples", "50", "--html"])
            .arg(&page),
    )?;
    for (name, scheme) in [("light", 1), ("dark", 0)] {
        let picture = directory.join(format!("{name}.png"));
        let _ = std::fs::remove_file(&picture);
        let arguments = [
            format!("--blink-settings=preferredColorScheme={scheme}"),
            format!("--screenshot={}", picture.display()),
        ];
        let errors = browse(browser, &directory, &page, &arguments)?.1;
        if !std::fs::metadata(&picture).is_ok_and(|meta| meta.len() > 0) {
            return Err(format!("{browser} drew nothing: {errors}"));
        }
        println!("    {}", picture.display());
    }
    let (shown, errors) = browse(browser, &directory, &page, &["--dump-dom".into()])?;
    // The console's lines, such as an uncaught error or a refusal by the page's policy.
    if let Some(line) = errors.lines().find(|line| line.contains("CONSOLE")) {
        return Err(format!("the browser complains: {line}"));
    }
    match SHOWN.into_iter().find(|text| !shown.contains(text)) {
        Some(missing) => Err(format!("the page does not show {missing:?}")),
        None => Ok(End::Passed),
    }
}

fn is_there(program: &str) -> bool {
    let mut command = Command::new(program);
    let quiet = command
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// Opens the page with no profile and no network; what the browser prints, and what it writes to
/// the way.
fn browse(
    browser: &str,
    directory: &Path,
    page: &Path,
    arguments: &[String],
) -> Result<(String, String), String> {
    let output = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
        ])
        .args(["--disable-background-networking", "--hide-scrollbars"])
        .args([
            "--host-resolver-rules=MAP * ~NOTFOUND",
            "--window-size=1200,2400",
        ])
        .args(["--enable-logging=stderr"])
        .arg(format!(
            "--user-data-dir={}",
            directory.join("profile").display()
        ))
        .args(arguments)
        .arg(format!("file://{}", page.display()))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{browser}: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok((text(&output.stdout), text(&output.stderr)))
    } else {
        Err(format!(
            "{browser}: {}: {}",
            output.status,
            text(&output.stderr)
        ))
    }
}

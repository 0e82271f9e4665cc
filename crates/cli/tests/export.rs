//! `vdso export`, and Debian's Prometheus that scrapes it.

use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use tempfile::TempDir;
use vdsokit_publish::{Publisher, assign, place};
use vdsokit_test_support::installed;

const DECLARATION: &str = r#"
[vdso]
soname = "libsite.so.1"
version = "SITE_1.0"

[var.users]
type = "u32"
init = 3
doc = "People who are \"there\""
[var.wait]
type = "f64"
unit = "ms"
init = 1500
doc = "Time to the first byte"
[var.mode]
type = "str[16]"
init = "drain"
doc = "What the site does"
[var.load]
type = "f64[3]"
init = [0.5, inf, nan]
doc = "Load averages"
[var.wind]
doc = "Wind on the roof"
[var.wind.fields.speed]
type = "f64"
unit = "m/s"
init = 4
[var.wind.fields.from]
type = "str[8]"
init = "NW"
"#;

fn vdso(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vdso"));
    command.args(arguments).stdin(Stdio::null());
    command.env("COLUMNS", "200");
    command
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A program that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A published vDSO and the server that exports it.
struct Site {
    directory: TempDir,
    publisher: Publisher,
    image: String,
    address: String,
    server: Running,
}

impl Site {
    fn new() -> Self {
        let directory = tempfile::tempdir_in(place::base().unwrap()).unwrap();
        let declaration = directory.path().join("site.toml");
        fs::write(&declaration, DECLARATION).unwrap();
        let built = vdso(&["build", declaration.to_str().unwrap(), "-o"])
            .arg(directory.path())
            .output()
            .unwrap();
        assert!(built.status.success(), "{}", errors(&built));
        let image = directory.path().join("libsite.so.1");
        let publisher = Publisher::open(&image).unwrap();
        let image = image.to_str().unwrap().to_owned();
        let mut command = vdso(&["export", &image, "--listen", "127.0.0.1:0"]);
        command.args(["--every", "10ms"]).stdout(Stdio::piped());
        let mut server = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line.trim_end().strip_prefix("listening: http://");
        let address = address.and_then(|rest| rest.strip_suffix('/'));
        Self {
            address: address.unwrap_or_else(|| panic!("{line}")).to_owned(),
            directory,
            publisher,
            image,
            server: Running(server),
        }
    }

    fn set(&self, line: &str) {
        self.publisher
            .assign(&assign::parse(line).unwrap())
            .unwrap();
    }

    /// Head and body of the response to a GET with these header lines.
    fn get(&self, path: &str, headers: &str) -> (String, String) {
        let mut stream = self.request("GET", path, headers);
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    fn request(&self, method: &str, path: &str, headers: &str) -> TcpStream {
        let host = match headers.contains("Host:") {
            true => String::new(),
            false => format!("Host: {}\r\n", self.address),
        };
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let request =
            format!("{method} {path} HTTP/1.1\r\n{host}Connection: close\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        stream
    }
}

const OPEN_METRICS: &str = "Accept: application/openmetrics-text;version=1.0.0\r\n";

#[test]
fn metrics_have_types_units_and_docs_of_the_declaration() {
    let site = Site::new();
    let (head, body) = site.get("/metrics", OPEN_METRICS);
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(
        head.contains("content-type: application/openmetrics-text; version=1.0.0"),
        "{head}"
    );
    let file = format!("file=\"{}\"", site.image);
    for line in [
        format!("vdso_live{{{file}}} 1"),
        "# HELP site_users People who are \\\"there\\\"".into(),
        "# TYPE site_users gauge".into(),
        format!("site_users{{{file}}} 3"),
        "# UNIT site_wait_seconds seconds".into(),
        format!("site_wait_seconds{{{file}}} 1.5"),
        "# TYPE site_mode info".into(),
        format!("site_mode_info{{{file},value=\"drain\"}} 1"),
        format!("site_load{{{file},index=\"1\"}} +Inf"),
        format!("site_load{{{file},index=\"2\"}} NaN"),
        "# HELP site_wind_speed Wind on the roof (m/s)".into(),
        format!("site_wind_from_info{{{file},value=\"NW\"}} 1"),
    ] {
        assert!(body.lines().any(|other| other == line), "{line}\n{body}");
    }
    assert!(body.ends_with("# EOF\n"), "{body}");
    site.set("users=4");
    let (head, body) = site.get("/metrics", "");
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    assert!(
        body.contains(&format!("site_users{{{file}}} 4\n")),
        "{body}"
    );
    assert!(!body.contains("# EOF"), "{body}");
}

#[test]
fn promtool_finds_nothing_wrong_with_the_metrics() {
    let Some(promtool) = installed("promtool") else {
        return;
    };
    let site = Site::new();
    let file = site.directory.path().join("site.prom");
    let name = file.to_str().unwrap();
    let output = vdso(&["export", &site.image, "--textfile", name])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", errors(&output));
    for text in [
        fs::read_to_string(&file).unwrap(),
        site.get("/metrics", "").1,
    ] {
        let mut check = Command::new(&promtool)
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = check.stdin.take().unwrap();
        input.write_all(text.as_bytes()).unwrap();
        drop(input);
        let checked = check.wait_with_output().unwrap();
        assert!(
            checked.status.success() && checked.stderr.is_empty(),
            "{}\n{text}",
            errors(&checked)
        );
    }
}

#[test]
fn prometheus_scrapes_the_values() {
    let Some(prometheus) = installed("prometheus") else {
        return;
    };
    let site = Site::new();
    let directory = site.directory.path();
    let config = directory.join("prometheus.yml");
    let text = format!(
        "global: {{scrape_interval: 100ms, scrape_timeout: 100ms}}\n\
         scrape_configs: [{{job_name: vdso, static_configs: [{{targets: ['{}']}}]}}]\n",
        site.address
    );
    fs::write(&config, text).unwrap();
    let mut command = Command::new(prometheus);
    let log = fs::File::create(directory.join("log")).unwrap();
    // Prometheus does not say which port it was given for port 0.
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    command
        .arg(format!("--config.file={}", config.display()))
        .arg(format!(
            "--storage.tsdb.path={}",
            directory.join("data").display()
        ))
        .arg(format!("--web.listen-address={address}"))
        .stdout(Stdio::null())
        .stderr(log);
    let mut prometheus = Running(command.spawn().unwrap());
    site.set("users=17");
    eventually(&mut prometheus, || {
        let mut stream = TcpStream::connect(&address).ok()?;
        let request = format!(
            "GET /api/v1/query?query=site_users HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        let body: Value = serde_json::from_str(text.split_once("\r\n\r\n")?.1).ok()?;
        let value = &body["data"]["result"][0];
        (value["value"][1] == "17" && value["metric"]["file"] == site.image.as_str()).then_some(())
    });
}

/// Polls until there is an answer, and fails when the program has ended.
#[track_caller]
fn eventually<T>(program: &mut Running, mut answer: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Some(answer) = answer() {
            return answer;
        }
        assert!(program.0.try_wait().unwrap().is_none(), "it has ended");
        std::thread::yield_now();
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// The value of `users` in the next event.
fn next_users(events: &mut impl BufRead) -> u64 {
    let mut line = String::new();
    while !line.starts_with("data: ") {
        line.clear();
        assert!(events.read_line(&mut line).unwrap() > 0, "the stream ended");
    }
    let event: Value = serde_json::from_str(&line["data: ".len()..]).unwrap();
    let variables = event[0]["variables"].as_array().unwrap();
    let users = variables.iter().find(|one| one["name"] == "users");
    users.unwrap()["number"].as_f64().unwrap() as u64
}

#[test]
fn events_follow_the_values_and_a_replaced_file() {
    let site = Site::new();
    let mut events = BufReader::new(site.request("GET", "/events", ""));
    assert_eq!(next_users(&mut events), 3);
    site.set("users=5");
    while next_users(&mut events) != 5 {}
    let Site {
        directory,
        publisher,
        image,
        server,
        ..
    } = site;
    drop(publisher);
    // A longer declaration is another image, which takes the place of the file.
    let longer = format!("{DECLARATION}\n[var.added]\ntype = \"u8\"\n");
    let declaration = directory.path().join("longer.toml");
    fs::write(&declaration, longer).unwrap();
    let mut serve = vdso(&[
        "serve",
        declaration.to_str().unwrap(),
        "--at",
        &image,
        "--stdin",
    ]);
    let mut serve = serve
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = serve.stdin.take().unwrap();
    input.write_all(b"users=6\n").unwrap();
    while next_users(&mut events) != 6 {}
    drop(input);
    assert!(serve.wait().unwrap().success());
    drop(server);
}

#[test]
fn a_file_that_does_not_exist_yet_is_not_live() {
    let site = Site::new();
    let absent = site.directory.path().join("absent.so");
    let absent = absent.to_str().unwrap();
    let file = site.directory.path().join("absent.prom");
    let file = file.to_str().unwrap();
    let output = vdso(&["export", absent, "--textfile", file])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", errors(&output));
    let text = fs::read_to_string(file).unwrap();
    assert!(
        text.contains(&format!("vdso_live{{file=\"{absent}\"}} 0\n")),
        "{text}"
    );
}

#[test]
fn addresses_that_cannot_be_served_are_refused() {
    let site = Site::new();
    let refused = |arguments: &[&str], status: i32, words: &[&str]| {
        let output = vdso(&[&["export", &site.image], arguments].concat())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(status), "{arguments:?}");
        let text = errors(&output);
        for word in words {
            assert!(text.contains(word), "{arguments:?}: {text}");
        }
    };
    refused(
        &["--listen", &site.address],
        1,
        &["Address already in use", "ss -ltnp"],
    );
    refused(
        &["--listen", "0.0.0.0:0"],
        1,
        &["other machines", "--public"],
    );
    refused(&["--listen", "192.0.2.1:0", "--public"], 1, &["ip address"]);
    refused(&["--listen", "nowhere"], 2, &["--listen"]);
}

#[test]
fn requests_from_other_sites_and_other_methods_are_refused() {
    let site = Site::new();
    let (head, _) = site.get("/metrics", "Host: attacker.example\r\n");
    assert!(head.starts_with("HTTP/1.1 421"), "{head}");
    let (head, _) = site.get("/metrics", "Host: localhost:1\r\n");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let (head, _) = site.get("/nothing", "");
    assert!(head.starts_with("HTTP/1.1 404"), "{head}");
    let mut text = String::new();
    let mut stream = site.request("POST", "/metrics", "");
    stream.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 405"), "{text}");
    let (head, page) = site.get("/", "");
    assert!(
        head.contains("content-security-policy: default-src 'none'"),
        "{head}"
    );
    for scheme in ["http:", "https:"] {
        let elsewhere = page.replace("http://www.w3.org/2000/svg", "");
        assert!(
            !elsewhere.contains(scheme),
            "the page loads nothing from elsewhere"
        );
    }
}

#[test]
fn sigterm_ends_the_server_in_order() {
    let mut site = Site::new();
    let pid = site.server.0.id().to_string();
    let killed = Command::new("kill").arg(pid).status().unwrap();
    assert!(killed.success());
    assert!(site.server.0.wait().unwrap().success());
}

/// Chromium, by its protocol for debuggers: messages in JSON, each with a NUL at its end, by its
/// descriptors 3 and 4.
struct Browser {
    program: Running,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    session: Option<String>,
    /// What the page wrote to the console: errors, and refusals by its policy.
    complaints: Vec<Value>,
}

impl Browser {
    fn start(program: &Path, profile: &Path) -> Self {
        let mut command = Command::new("sh");
        let script = "exec \"$0\" --headless --no-sandbox --disable-gpu --remote-debugging-pipe \
                      --user-data-dir=\"$1\" 3<&0 4>&1 >/dev/null 2>&1";
        command.args(["-c", script]).args([program, profile]);
        command.env("HOME", profile);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        Self {
            input: child.stdin.take().unwrap(),
            output: BufReader::new(child.stdout.take().unwrap()),
            program: Running(child),
            session: None,
            complaints: Vec::new(),
        }
    }

    fn call(&mut self, method: &str, parameters: &Value) -> Value {
        let mut request = json!({"id": 1, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            request["sessionId"] = session.as_str().into();
        }
        write!(self.input, "{request}\0").unwrap();
        loop {
            let mut message = Vec::new();
            self.output.read_until(0, &mut message).unwrap();
            message.pop();
            let message: Value = serde_json::from_slice(&message).unwrap();
            match message["method"].as_str() {
                Some("Log.entryAdded" | "Runtime.exceptionThrown") => self.complaints.push(message),
                Some(_) => {}
                None => return message["result"].clone(),
            }
        }
    }

    fn open(&mut self, address: &str) {
        let target = self.call("Target.createTarget", &json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = self.call("Target.attachToTarget", &attach);
        self.session = session["sessionId"].as_str().map(str::to_owned);
        self.call("Log.enable", &json!({}));
        self.call("Runtime.enable", &json!({}));
        self.call("Page.navigate", &json!({"url": address}));
    }

    fn evaluate(&mut self, expression: &str) -> Value {
        let result = self.call("Runtime.evaluate", &json!({"expression": expression}));
        result["result"]["value"].clone()
    }
}

#[test]
fn a_browser_shows_values_as_they_change_light_dark_and_on_a_phone() {
    let Some(program) = installed("chromium") else {
        return;
    };
    let site = Site::new();
    let mut browser = Browser::start(&program, &site.directory.path().join("browser"));
    browser.open(&format!("http://{}/", site.address));
    let shown = |browser: &mut Browser, text: &str| {
        let expression = "document.body.innerText";
        while !browser.evaluate(expression).to_string().contains(text) {}
    };
    for text in [site.image.as_str(), "live", "users", "drain", "there"] {
        shown(&mut browser, text);
    }
    site.set("users=4711 mode=full");
    shown(&mut browser, "4711");
    shown(&mut browser, "full");
    let lines = "document.querySelectorAll('polyline').length";
    // `users` and `wait` are numbers, the others are not.
    while browser.evaluate(lines) != 2 {}
    let mut pages = Vec::new();
    for scheme in ["light", "dark"] {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        browser.call("Emulation.setEmulatedMedia", &json!({"features": features}));
        pages.push(browser.evaluate("getComputedStyle(document.body).backgroundColor"));
    }
    assert_eq!(pages, ["rgb(255, 255, 255)", "rgb(20, 22, 26)"]);
    let phone = json!({"width": 360, "height": 640, "deviceScaleFactor": 2, "mobile": true});
    browser.call("Emulation.setDeviceMetricsOverride", &phone);
    let wide = "document.documentElement.scrollWidth";
    assert_eq!(
        browser.evaluate(wide),
        360,
        "nothing is wider than the screen"
    );
    assert_eq!(browser.complaints, [json!(null); 0]);
    assert!(browser.program.0.try_wait().unwrap().is_none());
}

//! `vdso trace`, with real programs.
#![cfg(target_arch = "x86_64")]

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};

use common::{Talk, compiled, installed, scratch, vdso};
use serde_json::Value;

/// Calls `clock_gettime` as often as its argument says in `inner`, twice in `main`, and once in vain.
const LOOP: &str = include_str!("trace/loop.c");

/// 8 threads with 20,000 calls each; 4 children of fork with 1,000 each; and one call in a child of
/// vfork, which then executes a program that calls nothing.
const TREE: &str = include_str!("trace/tree.c");

/// Reads a clock all the time, in two threads.
const SPIN: &str = include_str!("trace/spin.c");

/// Writes into the memory in which calls are counted, in the way that its argument names.
const HOSTILE: &str = include_str!("trace/hostile.c");

/// Takes a backtrace in a signal handler, again and again, while clocks are read. Prints how many of those
/// from outside the kernel's own vDSO did not reach `main`, and then those from within it.
const UNWIND: &str = include_str!("trace/unwind.c");

/// Where a test has its trace written.
fn file(name: &str) -> PathBuf {
    scratch("trace").join(name)
}

/// Runs `vdso trace` with `options`, its output in the file `name`, and returns how it ended and that.
fn traced(name: &str, options: &[&str], command: &[&str]) -> (Output, String) {
    let file = file(name);
    let output = vdso(&["trace", "-o", file.to_str().expect("text")])
        .args(options)
        .arg("--")
        .args(command)
        .output()
        .expect("it runs");
    (output, fs::read_to_string(file).unwrap_or_default())
}

/// The summary of a command.
fn counted(name: &str, options: &[&str], command: &[&str]) -> (Output, Value) {
    let (output, text) = traced(name, &[&["-c", "--json"], options].concat(), command);
    let summary = serde_json::from_str(&text);
    (
        output,
        summary.unwrap_or_else(|error| panic!("{error}: {text}")),
    )
}

/// The calls that a summary counts for a caller, by all of its names.
fn calls_of(summary: &Value, symbol: &str) -> u64 {
    let callers = summary["callers"].as_array().expect("a list").iter();
    let matching = callers.filter(|caller| caller["caller"]["symbol"] == symbol);
    matching
        .map(|caller| caller["calls"].as_u64().expect("a number"))
        .sum()
}

fn path(program: &Path) -> &str {
    program.to_str().expect("text")
}

/// A process that has started what it is to do.
fn ready(program: &Path) -> Talk {
    let mut target = Talk::start(&mut Command::new(program));
    assert_eq!(target.hear(), "ready");
    target
}

/// A trace of a running process, and the lines that it prints.
fn trace_of(target: &Talk) -> (Child, Lines<BufReader<ChildStderr>>) {
    let mut trace = vdso(&["trace", "-p", &target.pid()])
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let lines = BufReader::new(trace.stderr.take().expect("a pipe")).lines();
    (trace, lines)
}

/// The mappings of a process by which its vDSO can be told.
fn vdso_mappings(pid: &str) -> Vec<String> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("it lives");
    let is_vdso = |line: &&str| line.contains("[v") || line.contains("vdso");
    maps.lines().filter(is_vdso).map(str::to_owned).collect()
}

#[test]
fn each_call_is_counted_once_for_the_function_that_made_it() {
    let program = compiled("trace-loop-counted", LOOP, &[]);
    let (output, summary) = counted("counted", &[], &[path(&program), "30000"]);
    assert_eq!(output.stdout, b"unchanged\n");
    assert!(output.stderr.is_empty(), "{output:?}");
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(summary["calls"], 30_003);
    assert_eq!(calls_of(&summary, "inner"), 30_000);
    assert_eq!(calls_of(&summary, "main"), 3);
    let [function] = summary["functions"].as_array().expect("a list").as_slice() else {
        panic!("one function: {summary}");
    };
    assert_eq!(function["function"], "clock_gettime");
    assert_eq!(function["errors"], 1);
    assert!(
        function["ns"].as_u64().is_some_and(|ns| ns > 0),
        "{summary}"
    );
}

/// Counts are wrong then. The program's clocks are not, and the trace ends with the program's status.
#[test]
fn a_program_that_overwrites_the_shared_memory_harms_nothing_but_the_trace() {
    let program = compiled("trace-hostile", HOSTILE, &[]);
    let cases: [(&[&str], &str); 6] = [
        (&["-c"], "nonsense"),
        (&["-c", "--json"], "nonsense"),
        (&[], "nonsense"),
        (&["--json"], "nonsense"),
        (&["-c"], "skips"),
        (&["-c"], "silence"),
    ];
    for (options, way) in cases {
        let (output, _) = traced("hostile", options, &[path(&program), way]);
        let what = format!("{way} {options:?}: {output:?}");
        assert_eq!(output.status.code(), Some(7), "{what}");
        assert_eq!(output.stdout, b"unchanged\n", "{what}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("panicked"), "{what}");
    }
}

#[test]
fn a_static_program_is_counted_too() {
    let program = compiled("trace-loop-static", LOOP, &["-static"]);
    let (_, summary) = counted("static", &[], &[path(&program), "500"]);
    assert_eq!(calls_of(&summary, "inner"), 500);
    assert_eq!(summary["calls"], 503);
}

#[test]
fn each_call_is_shown_with_arguments_result_and_caller() {
    let program = compiled("trace-loop-shown", LOOP, &[]);
    let (_, text) = traced("shown", &[], &[path(&program), "3"]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 6, "{text}");
    let (id, first) = lines[0].split_once(' ').expect("a thread");
    assert!(id.parse::<u32>().is_ok(), "{text}");
    assert!(
        first.starts_with("clock_gettime(CLOCK_REALTIME, {tv_sec="),
        "{text}"
    );
    assert!(
        lines[1].contains("CLOCK_MONOTONIC") && lines[1].contains(" inner+0x"),
        "{text}"
    );
    assert!(lines[4].contains(") = -22 (Invalid argument) <"), "{text}");
    assert!(
        lines[5].contains(" (trace-loop-") && lines[5].contains(" main+0x"),
        "{text}"
    );
}

#[test]
fn json_has_a_call_a_line_and_the_number_of_calls() {
    let program = compiled("trace-loop-json", LOOP, &[]);
    let (_, text) = traced("lines.json", &["--json"], &[path(&program), "2"]);
    let parse = |line| serde_json::from_str::<Value>(line).expect("JSON");
    let mut lines: Vec<Value> = text.lines().map(parse).collect();
    let last = lines.pop().expect("a last line");
    assert_eq!(last, serde_json::json!({"calls": 5, "dropped": 0}));
    // What differs from run to run.
    let call = &mut lines[0];
    for key in ["ns", "pid", "tid", "since_start_ns"] {
        assert!(call[key].is_u64(), "{key}: {call}");
        call[key] = "…".into();
    }
    for key in ["address", "offset", "object"] {
        assert!(!call["caller"][key].is_null(), "{key}: {call}");
        call["caller"][key] = "…".into();
    }
    let time = call["arguments"][1].as_str().expect("text");
    assert!(
        time.starts_with("{tv_sec=") && time.contains(", tv_nsec="),
        "{time}"
    );
    call["arguments"][1] = "…".into();
    assert_eq!(
        *call,
        serde_json::json!({
            "function": "clock_gettime",
            "arguments": ["CLOCK_REALTIME", "…"],
            "result": 0,
            "error": null,
            "ns": "…",
            "since_start_ns": "…",
            "pid": "…",
            "tid": "…",
            "caller": {"symbol": "main", "offset": "…", "object": "…", "address": "…"},
        })
    );
}

#[test]
fn threads_and_processes_of_a_tree_add_up() {
    let program = compiled("trace-tree", TREE, &["-pthread"]);
    let (output, summary) = counted("tree", &[], &[path(&program)]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(summary["calls"], 8 * 20_000 + 4 * 1_000 + 1);
    let all = ["work", "main"].map(|symbol| calls_of(&summary, symbol));
    assert_eq!(all, [164_000, 1], "{summary}");
}

#[test]
fn what_a_shell_starts_is_traced() {
    let script = "date +%Y; (date +%Y); exec date +%Y";
    let (output, text) = traced("shell", &["-e", "clock_gettime"], &["sh", "-c", script]);
    assert_eq!(output.stdout.len(), 3 * 5, "{output:?}");
    let mut ids: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    ids.dedup();
    assert_eq!(ids.len(), 3, "{text}");
    assert!(
        text.lines().all(|line| line.contains("clock_gettime(")),
        "{text}"
    );
}

#[test]
fn python_is_named_as_the_caller_and_not_its_c_library() {
    if !installed("python3") {
        return;
    }
    let script = "import time\nfor _ in range(700): time.time()";
    let (_, summary) = counted(
        "python",
        &["-e", "clock_gettime"],
        &["python3", "-c", script],
    );
    let callers = summary["callers"].as_array().expect("a list");
    let most = &callers[0];
    assert!(
        most["calls"].as_u64().is_some_and(|calls| calls >= 700),
        "{summary}"
    );
    let object = most["caller"]["object"].as_str().expect("a file");
    assert!(object.contains("python"), "{summary}");
}

#[test]
fn a_full_buffer_counts_what_it_drops() {
    let program = compiled("trace-loop-full", LOOP, &[]);
    let options = ["--json", "--buffer", "16"];
    let (_, text) = traced("full", &options, &[path(&program), "200000"]);
    let last: Value = serde_json::from_str(text.lines().last().expect("lines")).expect("JSON");
    let shown = text.lines().count() as u64 - 1;
    let dropped = last["dropped"].as_u64().expect("a number");
    assert_eq!(last["calls"], 200_003);
    assert_eq!(shown + dropped, 200_003);
    assert!(dropped > 0);
}

#[test]
fn only_the_chosen_functions_are_traced() {
    let program = compiled("trace-loop-chosen", LOOP, &[]);
    let (output, summary) = counted("chosen", &["-e", "time,getcpu"], &[path(&program), "10"]);
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(summary["calls"], 0);
}

#[test]
fn what_cannot_be_traced_is_refused_in_a_sentence() {
    let status = |arguments: &[&str]| {
        let output = vdso(arguments).output().expect("it runs");
        let text = String::from_utf8(output.stderr).expect("text");
        (output.status.code(), text)
    };
    let (code, text) = status(&["trace", "-e", "clock_get", "--", "true"]);
    assert_eq!(code, Some(125));
    assert!(
        text.contains("no function clock_get can be traced"),
        "{text}"
    );
    assert!(text.contains("clock_gettime, gettimeofday, time"), "{text}");
    let (code, text) = status(&["trace", "--", "/no/such/program"]);
    assert_eq!(code, Some(127), "{text}");
    let (code, text) = status(&["trace", "-o", "/no/such/directory/file", "--", "true"]);
    assert_eq!(code, Some(125), "{text}");
    assert!(
        text.contains("/no/such/directory/file can't be written"),
        "{text}"
    );
    let (code, text) = status(&["trace", "-p", "4194305"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("no process 4194305"), "{text}");
}

#[test]
fn the_signal_that_ended_the_program_is_the_status() {
    use std::os::unix::process::ExitStatusExt;
    let (output, _) = traced("signal", &["-c"], &["sh", "-c", "kill -KILL $$"]);
    assert_eq!(output.status.signal(), Some(9));
}

#[test]
fn a_running_process_is_traced_and_has_its_own_vdso_back() {
    let program = compiled("trace-spin-attached", SPIN, &["-pthread"]);
    let target = ready(&program);
    let before = vdso_mappings(&target.pid());
    for signal in ["INT", "TERM"] {
        let (mut trace, mut lines) = trace_of(&target);
        let first = lines.next().expect("a call").expect("text");
        assert!(
            first.contains(" clock_gettime(CLOCK_MONOTONIC, "),
            "{first}"
        );
        assert!(first.contains("> spin+0x"), "{first}");
        assert_ne!(vdso_mappings(&target.pid()), before);
        let pid = trace.id().to_string();
        let kill = Command::new("kill").args(["-s", signal, &pid]).status();
        assert!(kill.is_ok_and(|status| status.success()));
        let rest: Vec<String> = lines.map_while(Result::ok).collect();
        assert!(trace.wait().expect("it ends").success(), "{rest:?}");
        assert_eq!(vdso_mappings(&target.pid()), before, "{rest:?}");
    }
}

#[test]
fn the_doctor_says_who_calls_what_how_often() {
    let program = compiled("trace-spin-doctor", SPIN, &["-pthread"]);
    let target = ready(&program);
    let before = vdso_mappings(&target.pid());
    let arguments = ["doctor", &target.pid(), "--calls", "300ms", "--json"];
    let output = vdso(&arguments).output().expect("it runs");
    let diagnosis: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let observed = &diagnosis["observed"];
    assert!(calls_of(observed, "spin") > 0, "{observed}");
    assert_eq!(observed["functions"][0]["function"], "clock_gettime");
    assert_eq!(vdso_mappings(&target.pid()), before);
}

#[test]
fn the_trace_of_a_process_ends_with_it() {
    let program = compiled("trace-spin-ended", SPIN, &["-pthread"]);
    let mut target = ready(&program);
    let (mut trace, mut lines) = trace_of(&target);
    assert!(lines.next().is_some_and(|line| line.is_ok()));
    target.child.kill().expect("it lives");
    assert!(lines.all(|line| line.is_ok()));
    assert!(trace.wait().expect("it ends").success());
}

#[test]
fn functions_of_other_vdsos_are_traced() {
    if !installed("python3") {
        return;
    }
    let directory = scratch("trace");
    let declaration = directory.join("weather.toml");
    let text = "[vdso]\nsoname = \"libweather.so.1\"\nversion = \"WEATHER_1.0\"\n\
                [var.limit]\ntype = \"i32\"\ninit = 250\n";
    fs::write(&declaration, text).expect("a declaration");
    let image = directory.join("libweather.so.1");
    let arguments = ["build", path(&declaration), "-o", path(&directory)];
    let built = vdso(&arguments).output().expect("it runs");
    assert!(built.status.success(), "{built:?}");
    let script = "import ctypes\n\
                  f = ctypes.CDLL('linux-vdso.so.1').weather_limit\n\
                  print(sum(f() for _ in range(40)))";
    let options = ["--object", path(&image), "-e", "weather_limit"];
    let (output, summary) = counted("object", &options, &["python3", "-c", script]);
    assert_eq!(output.stdout, b"10000\n", "{output:?}");
    assert_eq!(summary["calls"], 40, "{summary}");
    assert_eq!(summary["functions"][0]["function"], "weather_limit");
}

#[test]
fn results_of_declared_functions_are_read_by_their_types() {
    if !installed("python3") {
        return;
    }
    let directory = scratch("trace-declared");
    let declaration = directory.join("typed.toml");
    let text = "[vdso]\nsoname = \"libtyped.so.1\"\nversion = \"TYPED_1.0\"\n\
                [var.down]\ntype = \"i8\"\ninit = -5\n\
                [var.heat]\ntype = \"f64\"\ninit = 21.5\n\
                [var.cold]\ntype = \"f32\"\ninit = -0.5\n\
                [var.on]\ntype = \"bool\"\ninit = true\n\
                [var.word]\ntype = \"str[8]\"\ninit = \"text\"\n";
    fs::write(&declaration, text).expect("a declaration");
    let image = directory.join("libtyped.so.1");
    let arguments = ["build", path(&declaration), "-o", path(&directory)];
    let built = vdso(&arguments).output().expect("it runs");
    assert!(built.status.success(), "{built:?}");
    let names = ["down", "heat", "cold", "on", "word", "condition"];
    let script = "import ctypes\n\
                  v = ctypes.CDLL('linux-vdso.so.1')\n\
                  out = ctypes.create_string_buffer(8)\n\
                  for name in 'down', 'heat', 'cold', 'on', 'condition': v['typed_' + name]()\n\
                  v.typed_word(out)";
    let wanted = names.map(|name| format!("typed_{name}")).join(",");
    let options = ["--object", path(&image), "-e", &wanted];
    let (output, text) = traced("declared", &options, &["python3", "-c", script]);
    assert!(output.status.success(), "{output:?}");
    for call in [
        "typed_down() = -5 <",
        "typed_heat() = 21.5 <",
        "typed_cold() = -0.5 <",
        "typed_on() = true <",
        "typed_condition() = 0 <",
        "typed_word(0x",
    ] {
        assert!(text.contains(call), "{call}: {text}");
    }
    let options = [&options[..], &["--json"]].concat();
    let (_, text) = traced("declared.json", &options, &["python3", "-c", script]);
    let calls: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let result = |name: &str| {
        let mut calls = calls.iter();
        let call = calls.find(|call| call["function"] == name);
        call.map(|call| call["result"].clone())
    };
    assert_eq!(result("typed_heat"), Some(21.5.into()));
    assert_eq!(result("typed_on"), Some(true.into()));
}

#[test]
fn unwinders_pass_through_the_wrappers() {
    let program = compiled("trace-unwind", UNWIND, &["-rdynamic"]);
    for options in [&["-c"][..], &["--buffer", "16"]] {
        let (output, _) = traced("unwind", options, &[path(&program)]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(
            text.lines().next(),
            Some("0 lost"),
            "{options:?}: {output:?}"
        );
    }
}

/// docs/trace.md lists it among the limits. An unwinder looks for the tables of an address in the objects
/// that the loader knows (dl_iterate_phdr(3), glibc's `_dl_find_object`). Of vDSOs that is one: the one
/// that AT_SYSINFO_EHDR names at the start, which has the wrappers. The kernel's own, which they call, is
/// mapped and in no list.
#[test]
fn backtraces_from_within_the_kernels_own_vdso_end_there() {
    let program = compiled("trace-unwind-kernels", UNWIND, &["-rdynamic"]);
    let ends = |text: &[u8]| {
        let text = String::from_utf8_lossy(text).into_owned();
        let line = text.lines().nth(1).expect("a second line").to_owned();
        let words: Vec<&str> = line.split(' ').collect();
        let number = |word: &str| word.parse::<u32>().expect("a number");
        (number(words[0]), number(words[2]))
    };
    let output = Command::new(&program).output().expect("it runs");
    assert_eq!(ends(&output.stdout).0, 0, "{output:?}");
    let (output, _) = traced("unwind-kernels", &["-c"], &[path(&program)]);
    let (ended, all) = ends(&output.stdout);
    assert_eq!(ended, all, "{output:?}");
}

/// Forks a child for each line on its input, which reads a clock 50 times and ends.
const FORKS: &str = include_str!("trace/forks.c");

/// Reads a clock where getpid(2) and gettid(2) are refused.
const REFUSED: &str = include_str!("trace/refused.c");

fn signal(pid: &str, signal: &str) {
    let mut kill = Command::new("kill");
    let status = kill.args(["-s", signal, pid]).status();
    assert!(status.is_ok_and(|status| status.success()), "{signal}");
}

#[test]
fn children_of_a_running_process_are_traced_too() {
    let program = compiled("trace-forks", FORKS, &[]);
    let mut target = ready(&program);
    let (mut trace, mut lines) = trace_of(&target);
    // The process calls nothing until it gets a line: one that is sent too early is not traced.
    // The kernel's own vDSO is mapped anew at the end of the change.
    let is_attached = |maps: Vec<String>| {
        let has = |name: &str| maps.iter().any(|line| line.ends_with(name));
        has("[vdso]") && maps.iter().any(|line| line.contains("memfd:vdso-front"))
    };
    while !is_attached(vdso_mappings(&target.pid())) {
        std::thread::yield_now();
    }
    assert_eq!(target.ask("fork"), "done");
    assert_eq!(target.ask("fork"), "done");
    signal(&trace.id().to_string(), "INT");
    let all: Vec<String> = lines.by_ref().map_while(Result::ok).collect();
    assert!(trace.wait().expect("it ends").success(), "{all:?}");
    assert_eq!(all.len(), 2 * 51, "{all:?}");
    let own = all.iter().filter(|line| line.contains("CLOCK_MONOTONIC"));
    assert!(
        own.clone()
            .all(|line| line.starts_with(&format!("{} ", target.pid())))
    );
    assert_eq!(own.count(), 2);
    assert!(all.iter().all(|line| line.contains(" main+0x")), "{all:?}");
}

#[test]
fn a_signal_to_the_trace_reaches_the_program() {
    use std::os::unix::process::ExitStatusExt;
    let program = compiled("trace-spin-terminated", SPIN, &["-pthread"]);
    let mut trace = vdso(&["trace", path(&program)])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut lines = BufReader::new(trace.stderr.take().expect("a pipe")).lines();
    let first = lines.next().expect("a call").expect("text");
    signal(&trace.id().to_string(), "TERM");
    assert!(lines.all(|line| line.is_ok()));
    assert_eq!(trace.wait().expect("it ends").signal(), Some(15));
    let program = first.split(['/', ' ']).next().expect("a process");
    assert!(!Path::new("/proc").join(program).exists(), "{first}");
}

#[test]
fn a_signal_in_the_first_moment_of_a_trace_reaches_the_program() {
    use std::os::unix::process::ExitStatusExt;
    for _ in 0..10 {
        let mut trace = vdso(&["trace", "-c", "--", "sleep", "infinity"])
            .stderr(Stdio::null())
            .spawn()
            .expect("it runs");
        let id = trace.id();
        let children = format!("/proc/{id}/task/{id}/children");
        let child = loop {
            let children = fs::read_to_string(&children).expect("it lives");
            if let Some(child) = children.split_whitespace().next() {
                break child.to_owned();
            }
        };
        signal(&id.to_string(), "TERM");
        let status = trace.wait().expect("it ends");
        let runs_on = Path::new("/proc").join(&child).exists();
        if runs_on {
            signal(&child, "KILL");
        }
        assert_eq!((status.signal(), runs_on), (Some(15), false));
    }
}

#[test]
fn a_process_whose_trace_was_killed_runs_on_and_can_be_detached() {
    let program = compiled("trace-spin-orphaned", SPIN, &["-pthread"]);
    let mut target = ready(&program);
    let before = vdso_mappings(&target.pid());
    let (mut trace, mut lines) = trace_of(&target);
    assert!(lines.next().is_some_and(|line| line.is_ok()));
    trace.kill().expect("it lives");
    trace.wait().expect("it ends");
    assert!(target.child.try_wait().expect("a child").is_none());
    // The program does nothing but call the vDSO, and one that is inside of it is left as it is: the
    // message says to try again.
    let detached = (0..100).any(|_| {
        let output = vdso(&["detach", &target.pid()]).output().expect("it runs");
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.success() || message.contains("is inside a vDSO"),
            "{message}"
        );
        output.status.success()
    });
    assert!(detached);
    assert_eq!(vdso_mappings(&target.pid()), before);
}

#[test]
fn a_filter_that_refuses_the_thread_id_leaves_it_unknown() {
    let program = compiled("trace-refused", REFUSED, &[]);
    let (output, text) = traced("refused", &["-e", "clock_gettime"], &[path(&program)]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(text.lines().count(), 3, "{text}");
    assert!(
        text.lines()
            .all(|line| line.starts_with("? clock_gettime(")),
        "{text}"
    );
}

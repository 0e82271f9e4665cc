//! Calls as people read them, in the notation of strace(1).

use std::io;

use super::declared::Getter;
use crate::values::to_json;
use serde_json::{Value, json};
use vdsokit_clock::Clock;
use vdsokit_publish::{Dynamic, Number};
use vdsokit_trace::buffer::CallRecord;
use vdsokit_trace::function::{self, Failure};

/// A call's arguments and result.
pub(crate) struct Call {
    pub(crate) arguments: Vec<String>,
    pub(crate) result: Dynamic,
    /// What the result says if it is an error.
    pub(crate) error: Option<String>,
    /// The six registers of arguments, of a function whose signature is unknown.
    registers: Option<[u64; 6]>,
}

/// Decodes a call of the function `name`, which is one of Linux's, or of an object whose declaration
/// gives it the signature `getter`. Of others the arguments are unknown, and the result is what is in the
/// register for integers.
pub(crate) fn decode(name: &str, getter: Option<Getter>, record: &CallRecord) -> Call {
    if let Some(getter) = getter {
        return declared(getter, record);
    }
    let known = function::known(name);
    let failure = known.map_or(Failure::None, |known| known.failure);
    let result = match failure {
        Failure::Int => i64::from(record.result as i32),
        Failure::Long | Failure::None => record.result as i64,
    };
    let is_error = failure != Failure::None && (-4095..0).contains(&result);
    let [a, b, c, d, e, _] = record.arguments;
    let pair = |names: [&str; 2], pointer| match record.first {
        Some([first, second]) => {
            let [seconds, rest] = [first, second].map(|word| word as i64);
            format!("{{{}={seconds}, {}={rest}}}", names[0], names[1])
        }
        None => address(pointer),
    };
    let int = |word: Option<u64>, pointer| match word {
        Some(word) => format!("[{}]", word as u32),
        None => address(pointer),
    };
    let arguments = match known.map(|known| known.name) {
        Some("clock_gettime" | "clock_getres") => {
            vec![clock(a as i32), pair(["tv_sec", "tv_nsec"], b)]
        }
        Some("gettimeofday") => vec![pair(["tv_sec", "tv_usec"], a), address(b)],
        Some("time") => vec![address(a)],
        Some("getcpu") => vec![
            int(record.first.map(|[word, _]| word), a),
            int(record.second, b),
            address(c),
        ],
        Some("getrandom") => vec![
            address(a),
            b.to_string(),
            random_flags(c as u32),
            address(d),
            e.to_string(),
        ],
        _ => vec!["…".to_owned()],
    };
    Call {
        arguments,
        result: Dynamic::Scalar(Number::Signed(result)),
        error: is_error.then(|| error(-result as i32)),
        registers: known.is_none().then_some(record.arguments),
    }
}

fn declared(getter: Getter, record: &CallRecord) -> Call {
    Call {
        arguments: match getter {
            Getter::Returns(_) => Vec::new(),
            Getter::Copies => vec![address(record.arguments[0])],
        },
        result: getter
            .result(record)
            .unwrap_or(Dynamic::Scalar(Number::Unsigned(record.result))),
        error: None,
        registers: None,
    }
}

impl Call {
    /// `(CLOCK_REALTIME, {tv_sec=1, tv_nsec=2}) = 0`
    pub(crate) fn text(&self) -> String {
        let arguments = self.arguments.join(", ");
        let error = self.error.as_ref();
        let error = error.map_or(String::new(), |error| format!(" ({error})"));
        format!("({arguments}) = {}{error}", self.result)
    }

    pub(crate) fn json(&self) -> Value {
        let mut value = json!({
            "arguments": self.arguments,
            "result": to_json(&self.result),
            "error": self.error,
        });
        if let Some(registers) = self.registers {
            value["arguments"] = Value::Null;
            value["registers"] = json!(registers);
        }
        value
    }
}

fn address(pointer: u64) -> String {
    match pointer {
        0 => "NULL".to_owned(),
        pointer => format!("{pointer:#x}"),
    }
}

fn clock(id: i32) -> String {
    let known = u32::try_from(id).ok().and_then(Clock::from_id);
    match (known, id) {
        (Some(clock), _) => clock.name().to_owned(),
        (None, libc::CLOCK_PROCESS_CPUTIME_ID) => "CLOCK_PROCESS_CPUTIME_ID".to_owned(),
        (None, libc::CLOCK_THREAD_CPUTIME_ID) => "CLOCK_THREAD_CPUTIME_ID".to_owned(),
        (None, id) => id.to_string(),
    }
}

fn random_flags(flags: u32) -> String {
    let known = [
        (libc::GRND_NONBLOCK, "GRND_NONBLOCK"),
        (libc::GRND_RANDOM, "GRND_RANDOM"),
        (libc::GRND_INSECURE, "GRND_INSECURE"),
    ];
    let mut names: Vec<String> = Vec::new();
    let mut rest = flags;
    for (flag, name) in known {
        if flags & flag != 0 {
            names.push(name.to_owned());
            rest &= !flag;
        }
    }
    if rest != 0 || names.is_empty() {
        names.push(match rest {
            0 => "0".to_owned(),
            rest => format!("{rest:#x}"),
        });
    }
    names.join("|")
}

/// The C library's words for an error.
fn error(number: i32) -> String {
    let text = io::Error::from_raw_os_error(number).to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vdsokit_vvar::scalar::ScalarType;

    fn record(arguments: [u64; 6], result: u64) -> CallRecord {
        CallRecord {
            function: 0,
            entry: 0,
            pid: 1,
            tid: 1,
            start: 0,
            ticks: 0,
            result,
            vector: 1.5_f64.to_bits(),
            arguments,
            first: None,
            second: None,
        }
    }

    #[test]
    fn calls_read_as_strace_has_them() {
        let mut call = record([0, 0x1000, 0, 0, 0, 0], 0);
        call.first = Some([1764365000, 5]);
        let text = |name, record: &CallRecord| decode(name, None, record).text();
        assert_eq!(
            text("clock_gettime", &call),
            "(CLOCK_REALTIME, {tv_sec=1764365000, tv_nsec=5}) = 0"
        );
        // The upper half of the register is undefined for an `int`.
        let wrong = record([99, 0x1000, 0, 0, 0, 0], 0x7fff_ffea_u64 | 0x8000_0000);
        assert_eq!(
            text("clock_gettime", &wrong),
            "(99, 0x1000) = -22 (Invalid argument)"
        );
        let mut cpu = record([0x10, 0, 0, 0, 0, 0], 0);
        cpu.first = Some([0xdead_beef_0000_0007, 0]);
        assert_eq!(text("getcpu", &cpu), "([7], NULL, NULL) = 0");
        let time = record([0, 0, 0, 0, 0, 0], u64::MAX - 4);
        assert_eq!(text("time", &time), "(NULL) = -5");
        let random = record([0x10, 16, 5, 0x20, 144, 0], 16);
        assert_eq!(
            text("getrandom", &random),
            "(0x10, 16, GRND_NONBLOCK|GRND_INSECURE, 0x20, 144) = 16"
        );
        assert_eq!(text("weather_limit", &record([0; 6], 7)), "(…) = 7");
    }

    #[test]
    fn results_are_read_from_the_register_and_in_the_width_of_their_type() {
        // The rest of a register is undefined.
        let call = record([0x1000, 2, 3, 4, 5, 6], 0x1234_5678_ffff_ff01);
        for (getter, text) in [
            (Getter::Returns(ScalarType::Bool), "() = true"),
            (Getter::Returns(ScalarType::U8), "() = 1"),
            (Getter::Returns(ScalarType::I32), "() = -255"),
            (Getter::Returns(ScalarType::F64), "() = 1.5"),
            (Getter::Copies, "(0x1000) = 4294967041"),
        ] {
            let call = decode("weather_x", Some(getter), &call);
            assert_eq!(call.text(), text, "{getter:?}");
            assert!(call.json().get("registers").is_none());
        }
        let unknown = decode("weather_x", None, &call).json();
        assert_eq!(unknown["arguments"], Value::Null);
        assert_eq!(unknown["registers"], json!([0x1000, 2, 3, 4, 5, 6]));
    }
}

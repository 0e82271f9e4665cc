//! The state and the values of vDSOs as metrics: Prometheus's text format and OpenMetrics.

use std::fmt::Write;
use std::time::Duration;
use vdsokit_inspect::inspect::ClockView;
use vdsokit_publish::{Condition, Dynamic, Number, Status, Vdso};
use vdsokit_vvar::directory::Kind;

/// How metrics are written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Prometheus's text format, version 0.0.4.
    Prometheus,
    /// OpenMetrics, version 1.0.0.
    OpenMetrics,
}

impl Format {
    /// The media type.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Metrics by their names. Both formats want all samples of a name in one place, whichever vDSO
/// they come from.
#[derive(Default)]
pub(crate) struct Metrics(Vec<Family>);

/// The samples of one metric.
struct Family {
    name: String,
    kind: Type,
    unit: &'static str,
    help: String,
    /// Labels, each with a comma before it, and the value.
    samples: Vec<(String, String, f64)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    Gauge,
    /// A text, as a label of a sample whose value is 1.
    Info,
}

/// Escapes a label's value (OpenMetrics 1.0.0, "ABNF"; Prometheus, "Text-based format").
fn escaped(text: &str) -> String {
    without_breaks(text).replace('"', "\\\"")
}

/// Escapes a help text of Prometheus's format, in which a quote stands for itself.
fn without_breaks(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n")
}

impl Metrics {
    /// The state of the vDSO at `file`; `None` where there is none.
    pub(crate) fn add_state(&mut self, file: &str, status: Option<&Status>, clocks: &[ClockView]) {
        let mut gauge = |name: &str, unit, help: &str, samples: Vec<(String, f64)>| {
            for (labels, value) in samples {
                self.add(name, Type::Gauge, unit, help, (file, labels, value));
            }
        };
        let one = |value: f64| vec![(String::new(), value)];
        let seconds = |time: Option<Duration>| time.map_or_else(Vec::new, |t| one(t.as_secs_f64()));
        let is = |condition| f64::from(status.is_some_and(|status| status.condition == condition));
        gauge(
            "vdso_live",
            "",
            "Whether the vDSO is live.",
            one(is(Condition::Live)),
        );
        let Some(status) = status else { return };
        let conditions = [
            ("live", Condition::Live),
            ("stale", Condition::Stale),
            ("never_published", Condition::NeverPublished),
            ("stopped", Condition::Stopped),
            ("replaced", Condition::Replaced),
        ]
        .map(|(name, condition)| (format!(",condition=\"{name}\""), is(condition)));
        gauge(
            "vdso_condition",
            "",
            "1 for the condition of the vDSO, 0 for the others.",
            conditions.into(),
        );
        gauge(
            "vdso_heartbeat_age_seconds",
            "seconds",
            "Time since the publisher's last heartbeat.",
            seconds(status.age),
        );
        gauge(
            "vdso_stale_after_seconds",
            "seconds",
            "The age of the heartbeat at which the values are stale.",
            seconds(status.stale_after),
        );
        let label = |clock: &ClockView| format!(",clock=\"{}\"", clock.clock);
        let answers = clocks
            .iter()
            .map(|clock| (label(clock), f64::from(clock.answers)));
        gauge(
            "vdso_clock_answers",
            "",
            "Whether the page answers; otherwise readers make a system call.",
            answers.collect(),
        );
        let errors = clocks
            .iter()
            .filter_map(|clock| Some((label(clock), clock.error_ns? as f64 / 1e9)));
        gauge(
            "vdso_clock_error_seconds",
            "seconds",
            "The bound of the clock's error.",
            errors.collect(),
        );
    }

    /// Every variable's value now. A record has a metric for each field, an array a label `index`,
    /// a text a metric with a label `value`.
    pub(crate) fn add_values(&mut self, vdso: &Vdso) {
        let file = vdso.path().to_string_lossy();
        let directory = vdso.directory();
        for entry in directory.iter() {
            let Ok(value) = vdso.get(entry.name) else {
                continue;
            };
            let name = format!("{}{}", directory.prefix(), entry.name);
            match (&entry.kind, value) {
                (Kind::Record(fields), Dynamic::Record(values)) => {
                    for (field, (_, value)) in fields.clone().zip(values) {
                        let doc = match field.doc {
                            "" => entry.doc,
                            doc => doc,
                        };
                        let name = format!("{name}_{}", field.name);
                        self.add_value(&file, &name, field.unit, doc, &value);
                    }
                }
                (_, value) => self.add_value(&file, &name, entry.unit, entry.doc, &value),
            }
        }
    }

    fn add_value(&mut self, file: &str, name: &str, unit: &str, doc: &str, value: &Dynamic) {
        let (base, scale) = base_unit(unit);
        let mut help = match doc {
            "" => format!("The variable {name}"),
            doc => doc.to_owned(),
        };
        if base.is_empty() && !unit.is_empty() {
            // A unit without a base unit's name: metrics are not to be converted silently.
            let _ = write!(help, " ({unit})");
        }
        let name = match base {
            "" => name.to_owned(),
            base if name.ends_with(&format!("_{base}")) => name.to_owned(),
            base => format!("{name}_{base}"),
        };
        let mut gauge = |labels, value: &Number| {
            let value = as_f64(value) * scale;
            self.add(&name, Type::Gauge, base, &help, (file, labels, value));
        };
        match value {
            Dynamic::Scalar(number) => gauge(String::new(), number),
            Dynamic::Array(numbers) => {
                for (index, number) in numbers.iter().enumerate() {
                    gauge(format!(",index=\"{index}\""), number);
                }
            }
            Dynamic::Text(text) => {
                let label = format!(",value=\"{}\"", escaped(text));
                self.add(&name, Type::Info, "", &help, (file, label, 1.0));
            }
            _ => {}
        }
    }

    fn add(
        &mut self,
        name: &str,
        kind: Type,
        unit: &'static str,
        help: &str,
        (file, labels, value): (&str, String, f64),
    ) {
        let sample = (escaped(file), labels, value);
        // A linear search from the end: the samples of a family mostly follow each other.
        let known = self.0.iter_mut().rev();
        match known.into_iter().find(|family| family.name == name) {
            // Of two vDSOs that differ in the type of a name, the first one has it.
            Some(family) if family.kind == kind => family.samples.push(sample),
            Some(_) => {}
            None => self.0.push(Family {
                name: name.to_owned(),
                kind,
                unit,
                help: help.to_owned(),
                samples: vec![sample],
            }),
        }
    }

    /// All metrics as text.
    pub(crate) fn text(&self, format: Format) -> String {
        let mut text = String::new();
        let is_open = format == Format::OpenMetrics;
        for family in &self.0 {
            let name = &family.name;
            let (family_name, kind) = match (family.kind, is_open) {
                (Type::Gauge, _) => (name.clone(), "gauge"),
                (Type::Info, true) => (name.clone(), "info"),
                (Type::Info, false) => (format!("{name}_info"), "gauge"),
            };
            let sample_name = match family.kind {
                Type::Gauge => name.clone(),
                Type::Info => format!("{name}_info"),
            };
            let help = match is_open {
                true => escaped(&family.help),
                false => without_breaks(&family.help),
            };
            // Writing to a string does not fail.
            let _ = writeln!(text, "# HELP {family_name} {help}");
            let _ = writeln!(text, "# TYPE {family_name} {kind}");
            if is_open && !family.unit.is_empty() {
                let _ = writeln!(text, "# UNIT {family_name} {}", family.unit);
            }
            for (file, labels, value) in &family.samples {
                let value = number(*value);
                let _ = writeln!(text, "{sample_name}{{file=\"{file}\"{labels}}} {value}");
            }
        }
        if is_open {
            text.push_str("# EOF\n");
        }
        text
    }
}

/// Numbers as both formats write them.
fn number(value: f64) -> String {
    match value {
        f64::INFINITY => "+Inf".into(),
        f64::NEG_INFINITY => "-Inf".into(),
        value => value.to_string(),
    }
}

/// As a sample, which both formats define as an f64: integers above 2^53 are rounded.
pub(crate) fn as_f64(number: &Number) -> f64 {
    match number {
        Number::Bool(value) => f64::from(*value),
        Number::Signed(value) => *value as f64,
        Number::Unsigned(value) => *value as f64,
        Number::Single(value) => f64::from(*value),
        Number::Double(value) => *value,
        _ => f64::NAN,
    }
}

/// The base unit that Prometheus wants at the end of a metric's name ("Metric and label naming"),
/// and the factor by which a value is multiplied to have that unit. An empty name for every unit
/// that has none there.
fn base_unit(unit: &str) -> (&'static str, f64) {
    match unit {
        "s" => ("seconds", 1.0),
        "ms" => ("seconds", 1e-3),
        "us" | "µs" => ("seconds", 1e-6),
        "ns" => ("seconds", 1e-9),
        "min" => ("seconds", 60.0),
        "h" => ("seconds", 3600.0),
        "B" | "byte" | "bytes" => ("bytes", 1.0),
        "kB" => ("bytes", 1e3),
        "KiB" => ("bytes", 1024.0),
        "MB" => ("bytes", 1e6),
        "MiB" => ("bytes", 1024.0 * 1024.0),
        "GiB" => ("bytes", 1024.0 * 1024.0 * 1024.0),
        "degC" | "°C" => ("celsius", 1.0),
        "m" => ("meters", 1.0),
        "g" => ("grams", 1.0),
        "kg" => ("grams", 1e3),
        "V" => ("volts", 1.0),
        "A" => ("amperes", 1.0),
        "J" => ("joules", 1.0),
        "%" => ("ratio", 1e-2),
        _ => ("", 1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_base_units_and_escaped_labels() {
        let mut metrics = Metrics::default();
        let number = |value| Dynamic::Scalar(Number::Double(value));
        metrics.add_value("a\"b", "w_wait", "ms", "How\nlong", &number(1500.0));
        metrics.add_value("c", "w_wait", "ms", "How\nlong", &number(f64::INFINITY));
        metrics.add_value("c", "w_speed", "m/s", "", &number(f64::NAN));
        metrics.add_value("c", "w_mode", "", "Mode", &Dynamic::Text("x\\\n\"".into()));
        assert_eq!(
            metrics.text(Format::OpenMetrics),
            "# HELP w_wait_seconds How\\nlong\n\
             # TYPE w_wait_seconds gauge\n\
             # UNIT w_wait_seconds seconds\n\
             w_wait_seconds{file=\"a\\\"b\"} 1.5\n\
             w_wait_seconds{file=\"c\"} +Inf\n\
             # HELP w_speed The variable w_speed (m/s)\n\
             # TYPE w_speed gauge\n\
             w_speed{file=\"c\"} NaN\n\
             # HELP w_mode Mode\n\
             # TYPE w_mode info\n\
             w_mode_info{file=\"c\",value=\"x\\\\\\n\\\"\"} 1\n\
             # EOF\n"
        );
        let text = metrics.text(Format::Prometheus);
        assert!(text.contains("# TYPE w_mode_info gauge\n"), "{text}");
        assert!(
            !text.contains("# UNIT") && !text.contains("# EOF"),
            "{text}"
        );
    }
}

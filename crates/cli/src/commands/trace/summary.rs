//! The summary, as `strace -c` has it, and how often each caller calls each function.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};
use vdsokit_trace::buffer::Count;

use super::symbols::{Callers, Site};

/// Callers that are listed for people; JSON has all.
const MOST: usize = 30;

/// Sums.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Sum {
    calls: u64,
    errors: u64,
    nanoseconds: f64,
}

impl Sum {
    /// A traced program can have written any counts.
    fn add(&mut self, other: &Sum) {
        self.calls = self.calls.saturating_add(other.calls);
        self.errors = self.errors.saturating_add(other.errors);
        self.nanoseconds += other.nanoseconds;
    }

    fn per_call(&self) -> f64 {
        match self.calls {
            0 => 0.0,
            calls => self.nanoseconds / calls as f64,
        }
    }

    fn json(&self) -> Value {
        json!({
            "calls": self.calls,
            "errors": self.errors,
            "ns": self.nanoseconds.round() as u64,
            "ns_per_call": (self.per_call() * 10.0).round() / 10.0,
        })
    }
}

/// All calls by function and by caller.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    functions: Vec<(String, Sum)>,
    callers: Vec<(String, Option<Site>, Sum)>,
    total: Sum,
}

impl Summary {
    /// `names` are the functions by number, and `scale` the nanoseconds of a tick.
    pub(crate) fn new(
        counts: &[Count],
        names: &[String],
        callers: &Callers,
        scale: f64,
    ) -> Summary {
        let mut functions: BTreeMap<&str, Sum> = BTreeMap::new();
        let mut sites: BTreeMap<(&str, Option<Site>), Sum> = BTreeMap::new();
        let mut total = Sum::default();
        for count in counts {
            let name = names.get(count.function).map_or("?", String::as_str);
            let sum = Sum {
                calls: count.calls,
                errors: count.errors,
                nanoseconds: count.ticks as f64 * scale,
            };
            let site = count.entry.and_then(|entry| callers.site(entry));
            let site = site.map(|site| site.function());
            functions.entry(name).or_default().add(&sum);
            sites.entry((name, site)).or_default().add(&sum);
            total.add(&sum);
        }
        let functions = functions.into_iter();
        let mut functions: Vec<_> = functions
            .map(|(name, sum)| (name.to_owned(), sum))
            .collect();
        functions.sort_by(|a, b| b.1.nanoseconds.total_cmp(&a.1.nanoseconds));
        let sites = sites.into_iter();
        let mut callers: Vec<_> = sites
            .map(|((name, site), sum)| (name.to_owned(), site, sum))
            .collect();
        callers.sort_by_key(|(_, _, sum)| std::cmp::Reverse(sum.calls));
        Summary {
            functions,
            callers,
            total,
        }
    }

    /// How many calls there were.
    pub(crate) fn calls(&self) -> u64 {
        self.total.calls
    }

    pub(crate) fn text(&self) -> String {
        const RULE: &str = "------ ----------- ----------- --------- --------- ----------------\n";
        let mut text =
            "% time     seconds  nsecs/call     calls    errors function\n".to_owned() + RULE;
        // Writing to a string does not fail.
        let row = |text: &mut String, name: &str, sum: &Sum| {
            let percent = match self.total.nanoseconds {
                0.0 => 0.0,
                total => 100.0 * sum.nanoseconds / total,
            };
            let errors = match sum.errors {
                0 => String::new(),
                errors => errors.to_string(),
            };
            let _ = writeln!(
                text,
                "{percent:6.2} {:11.6} {:11.0} {:9} {errors:>9} {name}",
                sum.nanoseconds / 1e9,
                sum.per_call(),
                sum.calls,
            );
        };
        for (name, sum) in &self.functions {
            row(&mut text, name, sum);
        }
        text += RULE;
        row(&mut text, "total", &self.total);
        if !self.callers.is_empty() {
            text.push('\n');
            text += &self.callers_text();
        }
        text
    }

    /// How often each caller calls each function.
    pub(crate) fn callers_text(&self) -> String {
        let mut text = "    calls function         caller\n\
                        --------- ---------------- ----------------\n"
            .to_owned();
        for (name, site, sum) in self.callers.iter().take(MOST) {
            let site = site.as_ref().map_or("?".to_owned(), Site::to_string);
            // Writing to a string does not fail.
            let _ = writeln!(text, "{:9} {name:<16} {site}", sum.calls);
        }
        let rest = self.callers.iter().skip(MOST);
        let (count, calls) = rest.fold((0, 0_u64), |(count, calls), (_, _, sum)| {
            (count + 1, calls.saturating_add(sum.calls))
        });
        if count != 0 {
            let _ = writeln!(text, "{calls:9} {:<16} {count} more callers", "");
        }
        text
    }

    pub(crate) fn json(&self) -> Value {
        let functions = self.functions.iter().map(|(name, sum)| {
            let mut value = sum.json();
            value["function"] = json!(name);
            value
        });
        let callers = self.callers.iter().map(|(name, site, sum)| {
            let mut value = sum.json();
            value["function"] = json!(name);
            value["caller"] = json!(site);
            value
        });
        json!({
            "functions": functions.collect::<Vec<_>>(),
            "callers": callers.collect::<Vec<_>>(),
            "calls": self.total.calls,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_and_callers_add_up() {
        let count = |function, calls, errors| Count {
            function,
            entry: None,
            calls,
            ticks: calls * 10,
            errors,
        };
        let counts = [count(0, 3, 0), count(1, 1, 1), count(0, 2, 0)];
        let names = ["clock_gettime".to_owned(), "time".to_owned()];
        let summary = Summary::new(&counts, &names, &Callers::new(0), 2.0);
        let text = summary.text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[2..6],
            [
                " 83.33    0.000000          20         5           clock_gettime",
                " 16.67    0.000000          20         1         1 time",
                "------ ----------- ----------- --------- --------- ----------------",
                "100.00    0.000000          20         6         1 total",
            ]
        );
        assert_eq!(summary.json()["calls"], 6);
        let counts = vec![count(0, u64::MAX / 10, u64::MAX); 100];
        let summary = Summary::new(&counts, &names, &Callers::new(0), 2.0);
        assert_eq!(summary.json()["functions"][0]["errors"], u64::MAX);
    }
}

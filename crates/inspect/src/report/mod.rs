//! A benchmark as one HTML page, without scripts and without network access, light or dark as the
//! browser prefers.

mod axis;
mod plot;

use crate::benchmark::Benchmark;
use crate::function::{ClockId, Function, Route};
use crate::measure::Cost;
use axis::nanoseconds;
use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = include_str!("style.css");

/// The page's policy forbids to fetch or run anything.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// The page.
#[must_use]
pub fn html(benchmark: &Benchmark) -> String {
    let routes = routes(benchmark);
    let title = format!("vDSO costs: Linux {}", benchmark.machine.release);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    header {
                        h1 { "The cost of vDSO functions" }
                        p.where { (benchmark.machine.line()) }
                        p.where {
                            (benchmark.machine.host) ", " (benchmark.machine.date) ", vdso "
                            (benchmark.machine.version)
                        }
                    }
                    (headlines(benchmark))
                    section {
                        h2 { "Every function by every route" }
                        p { "The dot is the median of a call, the bar holds 80% of the samples. \
                             The axis is logarithmic: further left is cheaper." }
                        (legend(&routes))
                        div.scroll { (plot::overview(&benchmark.costs, &routes)) }
                    }
                    section {
                        h2 { "Distributions" }
                        p { "The frequency of each cost. The hill of a route is scaled to its most \
                             frequent cost; the dashed line is its median. Costs beyond the axis \
                             are in the numbers below." }
                        (legend(&routes))
                        div.cards {
                            @for cost in &benchmark.costs {
                                article {
                                    h3 { (cost.function) }
                                    (plot::distribution(cost))
                                }
                            }
                        }
                    }
                    section {
                        h2 { "Numbers" }
                        (table(&benchmark.costs))
                    }
                    (method(benchmark))
                }
            }
        }
    };
    page.into_string()
}

/// The class of a route in the style sheet.
fn class(route: Route) -> &'static str {
    match route {
        Route::Vdso => "vdso",
        Route::Image => "image",
        Route::Libc => "libc",
        Route::SystemCall => "system",
    }
}

/// The routes that were measured.
fn routes(benchmark: &Benchmark) -> Vec<Route> {
    let all = [Route::Vdso, Route::Image, Route::Libc, Route::SystemCall];
    let is_there = |route: &Route| {
        let mut costs = benchmark.costs.iter();
        costs.any(|cost| cost.by(*route).is_some())
    };
    all.into_iter().filter(is_there).collect()
}

fn legend(routes: &[Route]) -> Markup {
    html! {
        ul.legend {
            @for &route in routes {
                li class=(class(route)) { span.chip {} (route.name()) }
            }
        }
    }
}

/// The most important numbers.
fn headlines(benchmark: &Benchmark) -> Markup {
    let wanted = [
        Function::ClockGettime(ClockId::Monotonic),
        Function::ClockGettime(ClockId::MonotonicCoarse),
        Function::Getcpu,
        Function::Getrandom,
    ];
    let costs = wanted.iter().filter_map(|function| {
        let mut costs = benchmark.costs.iter();
        costs.find(|cost| cost.function == *function)
    });
    html! {
        div.headlines {
            @for cost in costs {
                (headline(cost))
            }
        }
    }
}

fn headline(cost: &Cost) -> Markup {
    let (vdso, system) = (cost.median(Route::Vdso), cost.median(Route::SystemCall));
    html! {
        div.headline {
            div.what { (cost.function) }
            @match (vdso, system) {
                (Some(vdso), Some(system)) => {
                    div.figure { (nanoseconds(vdso)) }
                    div.beside {
                        (nanoseconds(system)) " by system call: "
                        (format!("{:.1}", system / vdso)) "×"
                    }
                }
                (Some(vdso), None) => { div.figure { (nanoseconds(vdso)) } }
                (None, Some(system)) => {
                    div.figure { (nanoseconds(system)) }
                    div.beside { "by system call: this vDSO has no such function" }
                }
                (None, None) => { div.figure { "–" } }
            }
        }
    }
}

fn table(costs: &[Cost]) -> Markup {
    let headings = [
        "function",
        "route",
        "least",
        "p10",
        "median",
        "p90",
        "p99",
        "calls a sample",
    ];
    html! {
        div.scroll {
            table {
                thead { tr { @for heading in headings { th scope="col" { (heading) } } } }
                @for cost in costs {
                    tbody {
                        @for (index, series) in cost.series.iter().enumerate() {
                            @let of = &series.nanoseconds;
                            tr class=(class(series.route)) {
                                @if index == 0 {
                                    th scope="rowgroup" rowspan=(cost.series.len()) {
                                        (cost.function)
                                    }
                                }
                                td { span.chip {} (series.route.name()) }
                                @for value in [of.least, of.p10, of.median, of.p90, of.p99] {
                                    td.number { (nanoseconds(value)) }
                                }
                                td.number { (series.batch) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn method(benchmark: &Benchmark) -> Markup {
    html! {
        footer {
            h2 { "How it was measured" }
            p {
                "Each sample is the mean of a batch of calls, so long that reading the timer \
                 twice is at most a hundredth of it; what happens to a single call within a batch \
                 is not seen. The routes' batches took turns, " (benchmark.samples) " of each. \
                 \"libc\" is the C library's function, which may or may not go to the vDSO; \
                 \"system call\" goes to the kernel through syscall(2). "
                "getrandom fetches " (crate::function::RANDOM_BYTES) " bytes."
            }
            @if let Some(image) = &benchmark.image {
                p { "\"image\" is " code { (image) } ", loaded as a shared library." }
            }
            p { "Repeat it with " code { "vdso bench --html FILE" } "." }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::benchmark::Machine;
    use crate::measure::Series;
    use crate::statistics::Summary;

    fn benchmark() -> Benchmark {
        let series = |route, samples: &[f64]| Series {
            route,
            batch: 8,
            nanoseconds: Summary::of(samples).unwrap(),
            samples: samples.to_vec(),
        };
        Benchmark {
            machine: Machine {
                release: "6.12 <script>".into(),
                host: "host.example".into(),
                date: "2026-01-31 12:00 UTC".into(),
                version: "1.2.3",
                ..Machine::default()
            },
            samples: 3,
            image: None,
            costs: vec![
                Cost {
                    function: Function::ClockGettime(ClockId::Monotonic),
                    series: vec![
                        series(Route::Vdso, &[30.0, 31.0, 35.0]),
                        series(Route::SystemCall, &[300.0, 310.0, 900.0]),
                    ],
                },
                Cost {
                    function: Function::Getrandom,
                    series: vec![],
                },
            ],
        }
    }

    #[test]
    fn a_page_fetches_nothing_and_runs_nothing() {
        let page = html(&benchmark());
        for mark in ["http:", "https:", "<script", "src=", "url(", "@import"] {
            assert!(!page.contains(mark), "{mark}");
        }
        assert!(page.contains("6.12 &lt;script&gt;"));
    }

    #[test]
    fn a_page_contains_the_measurements() {
        let page = html(&benchmark());
        for text in [
            "31.0 ns",
            "310 ns by system call: 10.0×",
            "clock_gettime MONOTONIC",
            "host.example, 2026-01-31 12:00 UTC, vdso 1.2.3",
        ] {
            assert!(page.contains(text), "{text}");
        }
        // A route that was not measured is not in the legend.
        assert!(!page.contains("li class=\"image\""));
    }

    #[test]
    fn elements_are_closed() {
        let page = html(&benchmark());
        for element in [
            "svg", "section", "article", "table", "div", "g", "ul", "main",
        ] {
            let opened = page.matches(&format!("<{element}>")).count()
                + page.matches(&format!("<{element} ")).count();
            let closed = page.matches(&format!("</{element}>")).count();
            assert!(opened > 0, "{element}");
            assert_eq!(opened, closed, "{element}");
        }
    }
}

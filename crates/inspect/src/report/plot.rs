//! The plots, as SVG. The page's style sheet defines the colour of each route.

use super::axis::{Axis, nanoseconds, tick};
use super::class;
use crate::function::Route;
use crate::measure::{Cost, Series};
use crate::statistics::Histogram;
use maud::{Markup, html};

/// Positions in the drawing's own units: the page scales it to its width.
const WIDTH: f64 = 960.0;
const NAMES: f64 = 260.0;
const NUMBERS: f64 = 74.0;
const LANE: f64 = 15.0;
const GAP: f64 = 14.0;

/// One row a function, one lane a route: a dot at the median, a bar from the tenth to the
/// ninetieth percentile.
pub(super) fn overview(costs: &[Cost], routes: &[Route]) -> Markup {
    let series = || costs.iter().flat_map(|cost| &cost.series);
    let ends = series().flat_map(|series| [series.nanoseconds.p10, series.nanoseconds.p90]);
    let axis = Axis::around(ends, NAMES, WIDTH - NAMES - NUMBERS);
    let row = LANE * routes.len() as f64 + GAP;
    let height = row * costs.len() as f64;
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {}", height + 30.0)) role="img"
            aria-label="Median cost of every function by every route" {
            @for value in axis.ticks() {
                @let x = axis.place(value);
                line.grid x1=(x) x2=(x) y1="0" y2=(height) {}
                text.tick x=(x) y=(height + 20.0) text-anchor="middle" { (tick(value)) }
            }
            @for (index, cost) in costs.iter().enumerate() {
                @let top = row * index as f64;
                @if index > 0 { line.rule x1="0" x2=(WIDTH) y1=(top) y2=(top) {} }
                text.name x="0" y=(top + row / 2.0 + 4.0) { (cost.function) }
                @for (lane, &route) in routes.iter().enumerate() {
                    @let y = top + GAP / 2.0 + LANE * (lane as f64 + 0.5);
                    @if let Some(series) = cost.by(route) {
                        (mark(series, &axis, y))
                    }
                }
            }
        }
    }
}

fn mark(series: &Series, axis: &Axis, y: f64) -> Markup {
    let of = &series.nanoseconds;
    let place = |value| axis.place(value);
    html! {
        g class=(class(series.route)) {
            title {
                (series.route.name()) ": median " (nanoseconds(of.median)) ", 80% between "
                (nanoseconds(of.p10)) " and " (nanoseconds(of.p90))
            }
            line.span x1=(place(of.p10)) x2=(place(of.p90)) y1=(y) y2=(y) {}
            circle.dot cx=(place(of.median)) cy=(y) r="5" {}
            text.value x=(place(of.median.max(of.p90)) + 10.0) y=(y + 4.0) {
                (nanoseconds(of.median))
            }
        }
    }
}

// About as wide as a card, so that labels keep their size.
const CARD_WIDTH: f64 = 320.0;
const CARD_HEIGHT: f64 = 100.0;
const BUCKETS: usize = 80;

/// The distribution of a function's samples by each route, over one axis.
pub(super) fn distribution(cost: &Cost) -> Markup {
    // With outliers on the axis, the other samples would be a line.
    let ends = cost.series.iter().flat_map(|series| {
        let of = &series.nanoseconds;
        [of.least, of.p99.min(1.5 * of.p90)]
    });
    let axis = Axis::around(ends, 0.0, CARD_WIDTH);
    let ticks = axis.ticks();
    html! {
        svg viewBox=(format!("0 0 {CARD_WIDTH} {}", CARD_HEIGHT + 24.0)) role="img"
            aria-label=(format!("Distribution of the cost of {}", cost.function)) {
            @for (index, &value) in ticks.iter().enumerate() {
                @let x = axis.place(value);
                line.grid x1=(x) x2=(x) y1="0" y2=(CARD_HEIGHT) {}
                @if let Some(anchor) = anchor(&axis, &ticks, index) {
                    text.tick x=(x) y=(CARD_HEIGHT + 18.0) text-anchor=(anchor) { (tick(value)) }
                }
            }
            @for series in &cost.series {
                (hill(series, &axis))
            }
            line.base x1="0" x2=(CARD_WIDTH) y1=(CARD_HEIGHT) y2=(CARD_HEIGHT) {}
        }
    }
}

/// The alignment that keeps a tick's number within the plot; `None` if it would overlap the
/// previous one.
fn anchor(axis: &Axis, ticks: &[f64], index: usize) -> Option<&'static str> {
    const ROOM: f64 = 84.0;
    let value = *ticks.get(index)?;
    if index == 0 {
        Some("start")
    } else if index + 1 == ticks.len() {
        Some("end")
    } else {
        let place = axis.place(value);
        (ROOM / 2.0 < place && place < CARD_WIDTH - ROOM).then_some("middle")
    }
}

/// A series as a hill, as high as the plot at its highest.
fn hill(series: &Series, axis: &Axis) -> Markup {
    let histogram = Histogram::of(&series.samples, axis.from(), axis.to(), BUCKETS);
    let most = histogram.counts.iter().copied().max().unwrap_or(0).max(1);
    let step = CARD_WIDTH / BUCKETS as f64;
    let mut path = format!("M0 {CARD_HEIGHT}");
    for (bucket, &count) in histogram.counts.iter().enumerate() {
        let height = CARD_HEIGHT * (1.0 - 0.94 * f64::from(count) / f64::from(most));
        let (left, right) = (step * bucket as f64, step * (bucket + 1) as f64);
        path.push_str(&format!("L{left:.1} {height:.1}L{right:.1} {height:.1}"));
    }
    path.push_str(&format!("L{CARD_WIDTH} {CARD_HEIGHT}Z"));
    let median = axis.place(series.nanoseconds.median);
    html! {
        g class=(class(series.route)) {
            title {
                (series.route.name()) ": median " (nanoseconds(series.nanoseconds.median))
            }
            path.hill d=(path) {}
            line.median x1=(median) x2=(median) y1="0" y2=(CARD_HEIGHT) {}
        }
    }
}

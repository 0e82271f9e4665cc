//! A logarithmic axis.

/// Maps nanoseconds to positions on a page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    from: f64,
    to: f64,
    left: f64,
    width: f64,
}

impl Axis {
    /// An axis that holds all of `values`, which are above 0, and ends on ticks.
    pub(super) fn around(values: impl Iterator<Item = f64>, left: f64, width: f64) -> Self {
        let (least, greatest) = values.fold((f64::INFINITY, 0.0_f64), |(least, most), value| {
            (least.min(value), most.max(value))
        });
        let (least, greatest) = if least.is_finite() && least > 0.0 {
            (least, greatest)
        } else {
            (1.0, 10.0)
        };
        let from = steps().take_while(|&step| step <= least).last();
        let to = steps().find(|&step| step > greatest);
        Self {
            from: from.unwrap_or(least),
            to: to.unwrap_or(2.0 * greatest),
            left,
            width,
        }
    }

    pub(super) fn from(&self) -> f64 {
        self.from
    }

    pub(super) fn to(&self) -> f64 {
        self.to
    }

    /// The position of a value.
    pub(super) fn place(&self, value: f64) -> f64 {
        let share = (value / self.from).ln() / (self.to / self.from).ln();
        self.left + self.width * share.clamp(0.0, 1.0)
    }

    /// The values of the ticks.
    pub(super) fn ticks(&self) -> Vec<f64> {
        let (from, to) = (self.from, self.to);
        steps()
            .skip_while(|&step| step < from)
            .take_while(|&step| step <= to)
            .collect()
    }
}

/// 1, 2, 5, 10, … from a tenth of a nanosecond to beyond a second.
fn steps() -> impl Iterator<Item = f64> {
    (-1..=10).flat_map(|power| [1.0, 2.0, 5.0].map(|step| step * 10_f64.powi(power)))
}

/// A number of nanoseconds with a unit.
pub(super) fn nanoseconds(value: f64) -> String {
    if value < 9.995 {
        format!("{value:.2} ns")
    } else if value < 99.95 {
        format!("{value:.1} ns")
    } else if value < 9_999.5 {
        format!("{value:.0} ns")
    } else if value < 9_999_500.0 {
        format!("{:.1} µs", value / 1e3)
    } else {
        format!("{:.1} ms", value / 1e6)
    }
}

/// A tick's number.
pub(super) fn tick(value: f64) -> String {
    match value {
        value if value < 1.0 => format!("{value:.1} ns"),
        value if value < 1e3 => format!("{value:.0} ns"),
        value if value < 1e6 => format!("{:.0} µs", value / 1e3),
        value => format!("{:.0} ms", value / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_holds_its_values_between_ticks() {
        let axis = Axis::around([31.0, 450.0].into_iter(), 100.0, 200.0);
        assert_eq!((axis.from(), axis.to()), (20.0, 500.0));
        assert_eq!(axis.ticks(), [20.0, 50.0, 100.0, 200.0, 500.0]);
        assert_eq!(axis.place(20.0), 100.0);
        assert_eq!(axis.place(500.0), 300.0);
        assert_eq!(axis.place(100.0).round(), 200.0);
        assert_eq!(axis.place(1e9), 300.0);
    }

    #[test]
    fn an_axis_of_nothing_is_an_axis() {
        assert!(
            !Axis::around(std::iter::empty(), 0.0, 1.0)
                .ticks()
                .is_empty()
        );
    }

    #[test]
    fn numbers_are_short() {
        let texts = [3.256, 31.24, 312.4, 31_240.0, 31_240_000.0].map(nanoseconds);
        assert_eq!(
            texts,
            ["3.26 ns", "31.2 ns", "312 ns", "31.2 µs", "31.2 ms"]
        );
        assert_eq!(
            [0.5, 50.0, 2e4, 5e7].map(tick),
            ["0.5 ns", "50 ns", "20 µs", "50 ms"]
        );
    }
}

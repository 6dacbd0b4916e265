//! The arithmetic: percentiles, medians, and how a number is printed.

use std::time::Duration;

/// Measured times. Kept in nanoseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Times(Vec<u64>);

impl Times {
    pub(crate) fn push(&mut self, time: Duration) {
        self.0
            .push(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(crate) fn extend(&mut self, others: Times) {
        self.0.extend(others.0);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The time that this share of all stays within; zero when nothing was measured.
    pub(crate) fn percentile(&mut self, share: f64) -> Duration {
        if self.0.is_empty() {
            return Duration::ZERO;
        }
        let rank = (self.0.len() as f64 * share).ceil() as usize;
        let at = rank.clamp(1, self.0.len()) - 1;
        let (_, time, _) = self.0.select_nth_unstable(at);
        Duration::from_nanos(*time)
    }

    pub(crate) fn p50(&mut self) -> Duration {
        self.percentile(0.50)
    }

    pub(crate) fn p99(&mut self) -> Duration {
        self.percentile(0.99)
    }
}

/// The middle of several measurements; NaN when there are none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[count / 2],
        count => f64::midpoint(values[count / 2 - 1], values[count / 2]),
    }
}

pub(crate) fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// How many cores there are to use.
pub(crate) fn cores() -> f64 {
    std::thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64)
}

/// One thing that was aimed at, and what came out.
pub(crate) struct Target {
    pub(crate) what: String,
    pub(crate) aim: String,
    pub(crate) got: String,
    pub(crate) met: bool,
}

impl Target {
    pub(crate) fn at_most(what: impl Into<String>, aim: f64, got: f64) -> Self {
        Target {
            what: what.into(),
            aim: format!("at most {aim}"),
            got: format!("{got:.2}"),
            met: got <= aim,
        }
    }

    pub(crate) fn at_least(what: impl Into<String>, aim: f64, got: f64) -> Self {
        Target {
            what: what.into(),
            aim: format!("at least {aim}"),
            got: format!("{got:.2}"),
            met: got >= aim,
        }
    }
}

impl Target {
    /// Says beside the verdict what share of the CPU others took, for a figure that they spoil.
    pub(crate) fn beside(mut self, others: f64) -> Self {
        self.got = format!(
            "{}, while others took {:.1} % of the CPU",
            self.got,
            others * 100.0
        );
        self
    }
}

pub(crate) fn print_targets(targets: &[Target]) {
    println!("\nTargets");
    for target in targets {
        let verdict = if target.met { "PASS " } else { "short" };
        println!(
            "  {verdict}  {}: {} ({})",
            target.what, target.got, target.aim
        );
    }
}

//! Benchmarks' progress and results, printed.

#![allow(clippy::print_stdout, reason = "printing is what it is for")]

use std::time::{Duration, Instant};

/// Says what the benchmarks are at.
#[derive(Debug)]
pub struct Progress {
    start: Instant,
}

impl Progress {
    /// Now.
    #[must_use]
    pub fn start() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    /// What begins now.
    pub fn say(&self, what: &str) {
        println!("[{:6.1} s] {what}", self.start.elapsed().as_secs_f64());
    }
}

/// What the ratio of the two numbers may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bar {
    /// Less is better.
    AtMost(f64),
    /// More is better.
    AtLeast(f64),
}

/// One line of the table.
#[derive(Debug)]
pub struct Row {
    /// What is measured.
    pub name: String,
    /// Of both numbers.
    pub unit: &'static str,
    /// This system's number.
    pub measured: f64,
    /// What it is compared with.
    pub baseline: f64,
    /// What their ratio may be.
    pub bar: Bar,
    /// What else was seen.
    pub notes: Vec<String>,
}

/// Prints the machine, the table, and what else was seen.
pub fn print(rows: &[Row]) {
    println!("\n{}\n", machine());
    println!(
        "{:<56} {:>12} {:>12} {:>7} {:>7}  met?",
        "", "measured", "baseline", "ratio", "bar"
    );
    for row in rows {
        let ratio = row.measured / row.baseline;
        let number = |value: f64| format!("{value:.*} {}", if value < 100.0 { 2 } else { 0 }, row.unit);
        println!(
            "{:<56} {:>12} {:>12} {ratio:>7.2} {:>7}  {}",
            row.name,
            number(row.measured),
            number(row.baseline),
            row.bar.to_string(),
            row.bar.verdict(ratio)
        );
    }
    println!();
    for note in rows.iter().flat_map(|row| &row.notes) {
        println!("{note}");
    }
}

impl std::fmt::Display for Bar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtMost(bar) => write!(f, "<= {bar}"),
            Self::AtLeast(bar) => write!(f, ">= {bar}"),
        }
    }
}

impl Bar {
    fn verdict(self, ratio: f64) -> String {
        match self {
            Self::AtMost(bar) if ratio > bar => format!("no, {:.0} % above", (ratio / bar - 1.0) * 100.0),
            Self::AtLeast(bar) if ratio < bar => format!("no, {:.0} % below", (1.0 - ratio / bar) * 100.0),
            Self::AtMost(_) | Self::AtLeast(_) => "yes".into(),
        }
    }
}

/// Of at least one.
#[must_use]
pub fn median(durations: &[Duration]) -> Duration {
    at(durations, 500)
}

/// The duration that so many thousandths are not longer than.
#[must_use]
pub fn at(durations: &[Duration], permille: usize) -> Duration {
    let mut sorted = durations.to_vec();
    sorted.sort();
    let index = (sorted.len() * permille).div_ceil(1_000).saturating_sub(1);
    sorted.get(index).copied().unwrap_or_default()
}

fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let cpu_info = read("/proc/cpuinfo");
    let model = cpu_info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("unknown CPU", |(_, model)| model.trim());
    let (_, librdkafka) = rdkafka::util::get_rdkafka_version();
    let kafka = kafka_version().map_or(String::new(), |version| format!(", Kafka {version}"));
    format!(
        "{cores} cores ({model}), Linux {}{kafka}, librdkafka {librdkafka}",
        read("/proc/sys/kernel/osrelease").trim()
    )
}

/// From the jars of the broker that `deploy/local/servers` starts.
fn kafka_version() -> Option<String> {
    let script = std::env::var("TEST_SERVERS").ok()?;
    let jars = std::path::Path::new(&script).parent()?.join("target/lib");
    let names = jars.read_dir().ok()?.flatten().map(|jar| jar.file_name());
    names.into_iter().find_map(|name| {
        let version = name.to_str()?.strip_prefix("kafka-clients-")?;
        Some(version.strip_suffix(".jar")?.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let durations: Vec<Duration> = (1..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(at(&durations, 990), Duration::from_millis(99));
        assert_eq!(at(&durations, 1_000), Duration::from_millis(100));
        assert_eq!(median(&durations[..3]), Duration::from_millis(99));
        assert_eq!(median(&durations[..1]), Duration::from_millis(100));
    }

    #[test]
    fn a_missed_bar_says_by_how_much() {
        assert_eq!(Bar::AtMost(1.3).verdict(1.3), "yes");
        assert_eq!(Bar::AtMost(1.3).verdict(1.95), "no, 50 % above");
        assert_eq!(Bar::AtLeast(0.8).verdict(0.8), "yes");
        assert_eq!(Bar::AtLeast(0.8).verdict(0.6), "no, 25 % below");
    }
}

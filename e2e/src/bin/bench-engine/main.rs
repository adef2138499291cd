//! What the engine costs, each beside a simpler way in the same run. Needs no server.

mod changes;
mod quotes;
mod rules;
mod simple;
mod stopwatch;

use alert_system::engine::Engine;
use anyhow::bail;
use clap::Parser;
use e2e::report::{self, Bar, Progress, Row};
use peak_alloc::PeakAlloc;

use crate::rules::Market;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// The alert-system's engine in numbers.
#[derive(Debug, Parser)]
struct Arguments {
    /// A tenth of the rules, fewer rounds: numbers of the right size within half a minute.
    #[arg(long)]
    quick: bool,
}

/// How much is measured.
#[derive(Debug, Clone, Copy)]
struct Plan {
    tickers: usize,
    rules_per_ticker: usize,
    rounds: usize,
    quotes: usize,
}

const FULL: Plan = Plan {
    tickers: 10_000,
    rules_per_ticker: 1_000,
    rounds: 9,
    quotes: 2_000_000,
};

const QUICK: Plan = Plan {
    rules_per_ticker: 100,
    rounds: 5,
    quotes: 1_000_000,
    ..FULL
};

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if cfg!(debug_assertions) {
        bail!("a development build measures nothing; run `make bench`");
    }
    report::print(&measure(if arguments.quick { QUICK } else { FULL })?);
    Ok(())
}

fn measure(plan: Plan) -> anyhow::Result<Vec<Row>> {
    let progress = Progress::start();
    let mut rows = Vec::new();
    let rules = plan.tickers * plan.rules_per_ticker;
    progress.say(&format!("{rules} rules on {} tickers", plan.tickers));
    let mut market = Market::new(plan.tickers, plan.rules_per_ticker)?;
    let before = ALLOCATOR.current_usage();
    let engine = market.engine(2);
    rows.push(memory(&engine, ALLOCATOR.current_usage() - before));
    let engine = quotes::measure(plan, &market, engine, &progress, &mut rows)?;
    rows.extend(changes::measure("spread", &mut market, engine, &progress)?);

    progress.say(&format!("{rules} rules on one ticker"));
    drop(market);
    let mut market = Market::new(1, rules)?;
    let engine = market.engine(2);
    rows.extend(changes::measure("one ticker", &mut market, engine, &progress)?);
    Ok(rows)
}

/// Both thresholds with the rule's number, sorted and without any room: 24 bytes.
fn memory(engine: &Engine, bytes: usize) -> Row {
    let rules = engine.rules();
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52 bytes")]
    let each = bytes as f64 / rules as f64;
    let payload = f64::from(u32::try_from(Engine::BYTES_OF_A_RULE).unwrap_or(u32::MAX));
    Row {
        name: "memory of a rule, its own data aside : 24 B".into(),
        unit: "B",
        measured: each - payload,
        baseline: 24.0,
        bar: Bar::AtMost(1.5),
        notes: vec![format!("a rule's own data: {payload} B")],
    }
}

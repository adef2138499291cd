use std::hint::black_box;
use std::time::Duration;

use alert_system::engine::{Engine, Tick, TickerIndex, Transition};
use cqrs::domain::{Price, Timestamp};
use e2e::day::SplitMix;
use e2e::report::{Bar, Progress, Row, median};

use crate::Plan;
use crate::rules::{CENT, Market};
use crate::simple::{Scan, Trees};
use crate::stopwatch::Stopwatch;

/// What is fed: a ticker's number and its price.
type Quote = (u32, Price);

/// Feeds an engine quotes as the loop would.
struct Feed {
    engine: Engine,
    indices: Vec<TickerIndex>,
    offset: i64,
    transitions: Vec<Transition>,
    passed: usize,
}

impl Feed {
    fn new(engine: Engine, market: &Market) -> Self {
        Self {
            indices: market
                .tickers
                .iter()
                .filter_map(|ticker| engine.ticker(ticker.as_str()))
                .collect(),
            engine,
            offset: 0,
            transitions: Vec::new(),
            passed: 0,
        }
    }

    fn take(&mut self, quotes: &[Quote]) -> Duration {
        let start = Stopwatch::start();
        for (ticker, price) in quotes {
            self.quote(self.indices[*ticker as usize], *price);
        }
        start.elapsed()
    }

    #[inline]
    fn quote(&mut self, ticker: TickerIndex, price: Price) {
        self.offset += 1;
        let time = Timestamp::from_micros(self.offset);
        let tick = Tick {
            ticker,
            price,
            event_time: time,
            ingest_time: time,
            offset: self.offset,
        };
        black_box(self.engine.on_quote(&tick, &mut self.transitions));
        if !self.transitions.is_empty() {
            self.passed += self.transitions.len();
            self.transitions.clear();
        }
    }
}

/// Appends what quotes cost; gives the engine back.
pub(crate) fn measure(
    plan: Plan,
    market: &Market,
    engine: Engine,
    progress: &Progress,
    rows: &mut Vec<Row>,
) -> anyhow::Result<Engine> {
    let mut feed = Feed::new(engine, market);
    progress.say("quotes that cross nothing");
    rows.push(still(plan, market, &mut feed)?);
    progress.say("a random walk, beside sorted trees and a scan");
    let mut unhindered = Feed::new(market.engine(0), market);
    walk(plan, market, &mut feed, &mut unhindered, rows)?;
    Ok(feed.engine)
}

fn still(plan: Plan, market: &Market, feed: &mut Feed) -> anyhow::Result<Row> {
    /// Again and again, so that what is measured is not how fast memory delivers the quotes.
    const RING: usize = 1 << 15;
    let mut random = SplitMix(2);
    let mut numbers = |bound: usize| -> anyhow::Result<Vec<usize>> {
        let bound = bound.try_into()?;
        (0..RING)
            .map(|_| Ok(usize::try_from(random.below(bound))?))
            .collect()
    };
    // 1 MiB, read at places that do not depend on one another.
    let table: Vec<u64> = (0..1 << 17).collect();
    let places: Vec<u32> = numbers(table.len())?
        .into_iter()
        .map(u32::try_from)
        .collect::<Result<_, _>>()?;
    let quotes: Vec<_> = numbers(market.tickers.len())?
        .into_iter()
        .map(|ticker| (feed.indices[ticker], market.first_prices[ticker]))
        .collect();
    let (mut ours, mut loads) = (Vec::new(), Vec::new());
    for round in 0..=plan.rounds {
        let start = Stopwatch::start();
        for _ in 0..plan.quotes / RING {
            for (ticker, price) in &quotes {
                feed.quote(*ticker, *price);
            }
        }
        let took = start.elapsed();
        let start = Stopwatch::start();
        for _ in 0..plan.quotes / RING {
            for place in &places {
                black_box(table[*place as usize]);
            }
        }
        // The first warms up.
        if round > 0 {
            ours.push(took);
            loads.push(start.elapsed());
        }
    }
    anyhow::ensure!(
        feed.passed == 0,
        "{} transitions where none were to be",
        feed.passed
    );
    let count = plan.quotes / RING * RING;
    Ok(row(
        "a quote that crosses nothing : a load of 1 MiB",
        each(&ours, count),
        each(&loads, count),
        2.0,
    ))
}

fn walk(
    plan: Plan,
    market: &Market,
    feed: &mut Feed,
    unhindered: &mut Feed,
    rows: &mut Vec<Row>,
) -> anyhow::Result<()> {
    /// As long as the others take for hundreds.
    const SCANNED: usize = 100;
    let (mut trees, mut scan) = (Trees::new(market), Scan::new(market));
    let mut prices = market.first_prices.clone();
    let mut random = SplitMix(3);
    let mut found = Vec::new();
    let (mut ours, mut free, mut treed, mut scanned) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut treed_passed = 0;
    for round in 0..=plan.rounds {
        let quotes = steps(plan.quotes, &mut prices, &mut random)?;
        let engine = feed.take(&quotes);
        let without = unhindered.take(&quotes);
        let start = Stopwatch::start();
        for (ticker, price) in &quotes {
            trees.on_quote(*ticker as usize, price.units(), &mut found);
            treed_passed += found.len();
            found.clear();
        }
        let tree = start.elapsed();
        let start = Stopwatch::start();
        for (ticker, price) in quotes.iter().take(plan.quotes / SCANNED) {
            scan.on_quote(*ticker as usize, price.units(), &mut found);
            black_box(found.len());
            found.clear();
        }
        // The first warms up.
        if round > 0 {
            ours.push(engine);
            free.push(without);
            treed.push(tree);
            scanned.push(start.elapsed());
        }
    }
    anyhow::ensure!(
        unhindered.passed == treed_passed,
        "the engine without margin found {} transitions, the trees {treed_passed}",
        unhindered.passed
    );
    let engine = each(&ours, plan.quotes);
    let mut first = row(
        "a random walk : BTreeSet range",
        engine,
        each(&treed, plan.quotes),
        0.1,
    );
    let quotes = plan.quotes * (plan.rounds + 1);
    first.notes.push(format!(
        "random walk of 1.5 cents: {quotes} quotes, {} transitions with the margin, {} without",
        feed.passed, unhindered.passed
    ));
    rows.push(first);
    let scanned = each(&scanned, plan.quotes / SCANNED);
    rows.push(row(
        "a random walk : scan of the ticker's rules",
        engine,
        scanned,
        0.01,
    ));
    rows.push(row(
        "with re-arm margin : without",
        engine,
        each(&free, plan.quotes),
        2.0,
    ));
    Ok(())
}

/// Quotes of random tickers, each 1.5 cents from the one before.
fn steps(count: usize, prices: &mut [Price], random: &mut SplitMix) -> anyhow::Result<Vec<Quote>> {
    let step = i64::try_from(CENT * 3 / 2)?;
    (0..count)
        .map(|_| {
            let ticker = usize::try_from(random.below(prices.len().try_into()?))?;
            let units = prices[ticker].units();
            let next = if random.below(2) == 0 {
                units - step
            } else {
                units + step
            };
            prices[ticker] = Price::from_units(next.max(step))?;
            Ok((u32::try_from(ticker)?, prices[ticker]))
        })
        .collect()
}

/// Nanoseconds of one, by the median round.
fn each(rounds: &[Duration], count: usize) -> f64 {
    median(rounds).as_secs_f64() * 1e9 / f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

fn row(name: &str, measured: f64, baseline: f64, bar: f64) -> Row {
    Row {
        name: name.into(),
        unit: "ns",
        measured,
        baseline,
        bar: Bar::AtMost(bar),
        notes: Vec::new(),
    }
}

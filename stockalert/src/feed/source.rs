use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use cqrs::domain::{Quote, Ticker, Timestamp};
use data_collector::provider::synthetic::Synthetic;
use data_collector::replay::{HEADER, OpenFile, Pace, ReplayError, Rows};
use tokio_util::sync::CancellationToken;

use super::args::{Rate, ReplayArgs, SyntheticArgs};
use super::batch::{Closed, Outbox};
use super::counts::Counts;
use super::schedule::{BEAT, Schedule};
use crate::failure::{Exit, Failure};

/// The same prices each time.
const SEED: u64 = 1;
/// How soon the end is noticed while the next row is far away.
const LONGEST_SLEEP: Duration = Duration::from_millis(50);

/// What is published, checked.
pub(super) enum Source {
    Synthetic {
        tickers: Vec<Ticker>,
        rate: Rate,
    },
    Replay {
        path: PathBuf,
        rows: Box<OpenFile>,
        speed: f64,
    },
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Synthetic { tickers, rate } => match rate {
                Rate::Of(rate) => write!(f, "{rate} made-up quotes/s of {} tickers", tickers.len()),
                Rate::Max => write!(f, "made-up quotes of {} tickers, without a pause,", tickers.len()),
            },
            Self::Replay { path, speed, .. } if *speed > 0.0 => {
                write!(f, "{} at {speed} times its speed", path.display())
            }
            Self::Replay { path, .. } => write!(f, "{} without a pause", path.display()),
        }
    }
}

impl Source {
    pub(super) fn synthetic(args: &SyntheticArgs) -> Result<Self, Failure> {
        let tickers: Result<Vec<Ticker>, _> = (0..args.tickers).map(|n| format!("T{n}").parse()).collect();
        Ok(Self::Synthetic {
            tickers: tickers.map_err(|error| Failure::new(Exit::Internal, error.to_string()))?,
            rate: args.rate,
        })
    }

    pub(super) fn replay(args: &ReplayArgs) -> Result<Self, Failure> {
        let rows = Rows::open(&args.file).map_err(|error| match error {
            ReplayError::Unreadable { path, reason } => {
                Failure::new(Exit::Io, format!("{path} can't be read: {reason}"))
                    .remedy("give a CSV file that you may read")
            }
            ReplayError::Header { path, header } => {
                Failure::new(Exit::Refused, format!("{path} starts with \"{header}\""))
                    .remedy(format!("its first line must be \"{HEADER}\""))
            }
        })?;
        Ok(Self::Replay {
            path: args.file.clone(),
            rows: Box::new(rows),
            speed: args.speed,
        })
    }

    /// Makes quotes until there are no more or they are wanted no more; on a thread of its own.
    pub(super) fn make(self, mut outbox: Outbox, counts: &Counts, stop: &CancellationToken) {
        // Closed: the sender has said why.
        let _ = match self {
            Self::Synthetic { tickers, rate } => {
                let mut market = Market::new(&tickers);
                match rate {
                    Rate::Max => market.fill(&mut outbox, stop),
                    Rate::Of(rate) => market.pace(rate, &mut outbox, counts, stop),
                }
            }
            Self::Replay { rows, speed, .. } => replay(*rows, speed, &mut outbox, counts, stop),
        };
    }
}

/// Quotes of all tickers in turn.
struct Market<'a> {
    prices: Synthetic,
    turns: std::iter::Cycle<std::slice::Iter<'a, Ticker>>,
}

impl<'a> Market<'a> {
    fn new(tickers: &'a [Ticker]) -> Self {
        Self {
            prices: Synthetic::new(SEED),
            turns: tickers.iter().cycle(),
        }
    }

    fn put(&mut self, outbox: &mut Outbox) -> Result<(), Closed> {
        // There is at least one ticker, and the walk stays within what a price can be.
        let Some(Ok(quote)) = self
            .turns
            .next()
            .map(|ticker| self.prices.trade(ticker, Timestamp::now()))
        else {
            return Err(Closed);
        };
        outbox.put(&quote)
    }

    fn fill(&mut self, outbox: &mut Outbox, stop: &CancellationToken) -> Result<(), Closed> {
        while !stop.is_cancelled() {
            self.put(outbox)?;
        }
        outbox.hand_over()
    }

    fn pace(
        &mut self,
        rate: NonZeroU32,
        outbox: &mut Outbox,
        counts: &Counts,
        stop: &CancellationToken,
    ) -> Result<(), Closed> {
        let mut schedule = Schedule::new(rate);
        let start = Instant::now();
        while !stop.is_cancelled() {
            for _ in 0..schedule.due(start.elapsed()) {
                self.put(outbox)?;
            }
            outbox.hand_over()?;
            counts.missed(schedule.missed());
            std::thread::sleep(BEAT);
        }
        Ok(())
    }
}

fn replay(
    rows: OpenFile,
    speed: f64,
    outbox: &mut Outbox,
    counts: &Counts,
    stop: &CancellationToken,
) -> Result<(), Closed> {
    let mut pace = Pace::new(speed);
    for row in rows {
        if stop.is_cancelled() {
            break;
        }
        let quote = match row {
            Ok(quote) => quote,
            Err(error) => {
                counts.bad_row(&error);
                continue;
            }
        };
        if let Some(due) = pace.due(quote.event_time).map(tokio::time::Instant::into_std)
            && due > Instant::now()
        {
            outbox.hand_over()?;
            counts.next_row(due);
            wait_until(due, stop);
            if stop.is_cancelled() {
                break;
            }
        }
        counts.row(quote.event_time);
        outbox.put(&Quote {
            ingest_time: Timestamp::now(),
            ..quote
        })?;
    }
    outbox.hand_over()
}

/// At least a beat, so that rows that are close together are sent together.
fn wait_until(due: Instant, stop: &CancellationToken) {
    let mut left = due.saturating_duration_since(Instant::now()).max(BEAT);
    while !left.is_zero() && !stop.is_cancelled() {
        std::thread::sleep(left.min(LONGEST_SLEEP));
        left = due.saturating_duration_since(Instant::now());
    }
}

//! Made-up prices that look alive: for demonstrations, tests and load.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use cqrs::domain::{ParsePriceError, Price, Quote, Ticker, Timestamp, TradeSide};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use super::error::bad;
use super::{Answers, Fetched, Market, Provider, ProviderError};
use crate::staleness::Trading;

/// Standard deviation of one step, as a part of the price.
const STEP: f64 = 0.006;
/// How much of the distance to the start price is taken back in each step: the price keeps returning. In the long run
/// it is spread around the start price with a standard deviation of `STEP / sqrt(2 * PULL)`, about 1.9 %.
const PULL: f64 = 0.05;
/// Shares in a trade, in the middle of the distribution and of the day.
const TYPICAL_VOLUME: f64 = 1_000.0;
/// Spread of the logarithm of a trade's volume.
const VOLUME_SPREAD: f64 = 0.5;

/// As many as a call may be worth waiting for: they are made while it waits.
const BATCH: NonZeroUsize = NonZeroUsize::new(1_000).unwrap();

/// Prices by a geometric random walk per ticker that is pulled back to its start price, one step per fetch: with a fetch
/// each second, a range of 1 % around the start price is left, and entered again, within tens of seconds.
///
/// A ticker's prices, volumes and sides follow from the seed and the ticker alone (volumes also from the time of day),
/// whatever else is fetched. A new process starts them anew, at the start price.
#[derive(Debug)]
pub struct Synthetic {
    seed: u64,
    walks: Mutex<HashMap<Ticker, Walk>>,
}

#[derive(Debug)]
struct Walk {
    start: f64,
    /// Natural logarithm of price / start.
    deviation: f64,
    random: ChaCha8Rng,
}

impl Synthetic {
    /// What quotes name as their source.
    pub const NAME: &'static str = "synthetic";

    /// A market in which all prices follow from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            walks: Mutex::default(),
        }
    }

    /// The next trade of `ticker`, as if it were made at `now`.
    ///
    /// # Errors
    /// Never in truth: the walk does not get near zero.
    pub fn trade(&self, ticker: &Ticker, now: Timestamp) -> Result<Quote, ParsePriceError> {
        let mut walks = self.walks.lock().unwrap_or_else(PoisonError::into_inner);
        let walk = walks
            .entry(ticker.clone())
            .or_insert_with(|| Walk::new(self.seed, ticker));
        let (price, trade_side, volume) = walk.step(now);
        Ok(Quote {
            ticker: ticker.clone(),
            price: Price::from_f64(price, 2)?,
            currency: "USD".into(),
            volume: Some(volume),
            trade_side: Some(trade_side),
            event_time: now,
            ingest_time: now,
            source: Self::NAME.into(),
        })
    }
}

/// The price around which [`Synthetic`] moves `ticker`: 10.00 to 500.00, in whole cents.
#[must_use]
pub fn start_price(seed: u64, ticker: &Ticker) -> Price {
    let cents = start_cents(&mut random_of(seed, ticker));
    // In range by construction.
    Price::from_units(i64::from(cents) * (Price::SCALE / 100))
        .unwrap_or_else(|_| unreachable!("{cents} cents"))
}

fn start_cents(random: &mut ChaCha8Rng) -> u32 {
    random.random_range(1_000..=50_000)
}

fn random_of(seed: u64, ticker: &Ticker) -> ChaCha8Rng {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&crate::hash(ticker).to_le_bytes());
    ChaCha8Rng::from_seed(bytes)
}

impl Walk {
    fn new(seed: u64, ticker: &Ticker) -> Self {
        let mut random = random_of(seed, ticker);
        let start = f64::from(start_cents(&mut random)) / 100.0;
        Self {
            start,
            deviation: 0.0,
            random,
        }
    }

    /// Price, side, and volume in units of 1e-8.
    fn step(&mut self, now: Timestamp) -> (f64, TradeSide, i64) {
        let shock: f64 = self.random.sample(StandardNormal);
        let change = STEP * shock - PULL * self.deviation;
        self.deviation += change;
        // A trade that lifts the price was most likely the buyer's doing: the tick rule.
        let side = if change >= 0.0 {
            TradeSide::Buy
        } else {
            TradeSide::Sell
        };
        let size: f64 = self.random.sample(StandardNormal);
        let shares = (TYPICAL_VOLUME * intraday_volume(now) * (VOLUME_SPREAD * size).exp())
            .round()
            .clamp(1.0, 1e9);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "whole and at most 1e9 by the line above"
        )]
        let volume = shares as i64 * Price::SCALE;
        (self.start * self.deviation.exp(), side, volume)
    }
}

/// How lively trade is at this time of the (UTC) day: a U from 2 at its ends to 0.5 at noon, 1 on average.
fn intraday_volume(now: Timestamp) -> f64 {
    const DAY_SECONDS: i64 = 24 * 60 * 60;
    let second = i32::try_from(now.as_micros().div_euclid(1_000_000).rem_euclid(DAY_SECONDS)).unwrap_or(0);
    let from_noon = f64::from(second) / 86_400.0 - 0.5;
    0.5 + 6.0 * from_noon * from_noon
}

impl Provider for Synthetic {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn endpoint(&self) -> &'static str {
        "trades"
    }

    fn batch_size(&self) -> NonZeroUsize {
        BATCH
    }

    fn fetch_batch<'a>(&'a self, tickers: &'a [Ticker]) -> BoxFuture<'a, Result<Answers, ProviderError>> {
        let now = Timestamp::now();
        let answer = |ticker: &Ticker| {
            let trade = self.trade(ticker, now).map_err(|error| bad(error.to_string()))?;
            Ok(Fetched {
                quote: trade,
                trading: Trading::Always,
                market: Market::Open,
            })
        };
        let answers = tickers.iter().map(|ticker| (ticker.clone(), answer(ticker)));
        std::future::ready(Ok(answers.collect())).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticker(text: &str) -> Ticker {
        text.parse().unwrap()
    }

    fn prices(market: &Synthetic, name: &str, count: usize) -> Vec<f64> {
        let name = ticker(name);
        (0..count)
            .map(|_| market.trade(&name, Timestamp::EPOCH).unwrap().price.to_f64())
            .collect()
    }

    #[test]
    fn prices_follow_from_seed_and_ticker_alone() {
        let (alone, among_others) = (Synthetic::new(7), Synthetic::new(7));
        prices(&among_others, "MSFT", 13);
        assert_eq!(prices(&alone, "AAPL", 100), prices(&among_others, "AAPL", 100));
        assert_ne!(
            prices(&Synthetic::new(7), "AAPL", 100),
            prices(&Synthetic::new(8), "AAPL", 100)
        );
        assert_ne!(
            prices(&Synthetic::new(7), "AAPL", 100),
            prices(&Synthetic::new(7), "MSFT", 100)
        );
    }

    /// Other parts place thresholds by it, and people note them down: it must not change between versions.
    #[test]
    fn start_prices_stay_what_they_were() {
        assert_eq!(start_price(1, &ticker("AAPL")).to_string(), "63.06");
        assert_eq!(start_price(1, &ticker("MSFT")).to_string(), "89.55");
    }

    #[test]
    fn a_range_of_one_percent_is_left_within_20_steps_and_entered_again_within_60() {
        let (mut left, mut entered) = (Vec::new(), Vec::new());
        for number in 0..1_000 {
            let name = format!("T{number}");
            let start = start_price(3, &ticker(&name)).to_f64();
            let prices = prices(&Synthetic::new(3), &name, 400);
            let out = prices
                .iter()
                .position(|price| (price / start - 1.0).abs() >= 0.01)
                .unwrap_or(400);
            // Back by the re-arm margin, 2/1000 of the threshold.
            let back = prices[out..]
                .iter()
                .position(|price| (price / start - 1.0).abs() <= 0.008)
                .unwrap_or(400);
            left.push(out);
            entered.push(back);
        }
        left.sort_unstable();
        entered.sort_unstable();
        println!("left: median {} p95 {} worst {}", left[500], left[950], left[999]);
        println!(
            "entered: median {} p95 {} worst {}",
            entered[500], entered[950], entered[999]
        );
        assert!(left[950] < 20, "{}", left[950]);
        assert!(entered[950] < 60, "{}", entered[950]);
    }

    #[test]
    fn volume_is_a_u_over_the_day_and_sides_are_mixed() {
        let market = Synthetic::new(1);
        let total = |hour: i64| -> i64 {
            let now = Timestamp::from_micros(hour * 3_600_000_000);
            (0..500)
                .map(|_| market.trade(&ticker("A"), now).unwrap().volume.unwrap() / Price::SCALE)
                .sum()
        };
        let (open, noon, close) = (total(0), total(12), total(23));
        assert!(open > 2 * noon && close > 2 * noon, "{open} {noon} {close}");
        let buys = (0..1_000)
            .filter(|_| {
                market.trade(&ticker("B"), Timestamp::EPOCH).unwrap().trade_side == Some(TradeSide::Buy)
            })
            .count();
        assert!((400..600).contains(&buys), "{buys}");
    }
}

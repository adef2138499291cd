//! Prices of many tickers on a random walk: equal event times, late quotes that would fire.

use cqrs::domain::{Price, Quote, Ticker, Timestamp};

use crate::day::SplitMix;

/// Of a hundred quotes, so many are older than the one before, with a price far outside.
const LATE: u64 = 3;
/// Of a hundred quotes, so many share the event time of the one before.
const SAME_TIME: u64 = 20;

/// What the next quote is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// At most 0.03 % a step: few quotes cross a threshold.
    Calm,
    /// At most 0.3 % a step: a quote crosses several.
    Storm,
    /// Older than the one before, with a price that would fire.
    Late,
}

/// The same seed makes the same walks.
#[derive(Debug)]
pub struct Market {
    listings: Vec<Listing>,
    random: SplitMix,
}

#[derive(Debug)]
struct Listing {
    ticker: Ticker,
    first: i64,
    price: i64,
    event_us: i64,
}

impl Market {
    /// # Errors
    /// If there are more tickers than names for them.
    pub fn new(tickers: usize, seed: u64) -> anyhow::Result<Self> {
        let mut random = SplitMix(seed);
        let listings = (0..tickers)
            .map(|number| {
                let first = (10 + i64::try_from(random.below(490))?) * Price::SCALE;
                Ok(Listing {
                    ticker: format!("T{number:03}").parse()?,
                    first,
                    price: first,
                    event_us: 1_381_132_800_000_000,
                })
            })
            .collect::<anyhow::Result<_>>()?;
        Ok(Self { listings, random })
    }

    /// How many there are.
    #[must_use]
    pub fn tickers(&self) -> usize {
        self.listings.len()
    }

    /// One by number.
    #[must_use]
    pub fn ticker(&self, number: usize) -> &Ticker {
        &self.listings[number].ticker
    }

    /// Its price now, in units of 1e-8.
    #[must_use]
    pub fn price(&self, number: usize) -> i64 {
        self.listings[number].price
    }

    /// Its next quote.
    ///
    /// # Errors
    /// Never with the prices that this makes.
    pub fn quote(&mut self, number: usize, mood: Mood, ingest_time: Timestamp) -> anyhow::Result<Quote> {
        let random = &mut self.random;
        let listing = &mut self.listings[number];
        let kind = random.below(100);
        let (shown, event_us) = if kind < LATE || mood == Mood::Late {
            let far = listing.price * if random.below(2) == 0 { 90 } else { 110 } / 100;
            (
                far,
                listing.event_us - 1 - i64::try_from(random.below(60_000_000))?,
            )
        } else {
            if kind >= LATE + SAME_TIME {
                listing.event_us += 1 + i64::try_from(random.below(2_000_000))?;
            }
            // At most 3 % from where it began.
            let most: i64 = if mood == Mood::Storm { 300 } else { 30 };
            let steps = i64::try_from(random.below(most.unsigned_abs() * 2 + 1))? - most;
            let price = listing.price + listing.price / 100_000 * steps;
            listing.price = price.clamp(listing.first / 100 * 97, listing.first / 100 * 103);
            (listing.price, listing.event_us)
        };
        Ok(Quote {
            ticker: listing.ticker.clone(),
            price: Price::from_units(shown)?,
            currency: "USD".into(),
            volume: None,
            trade_side: None,
            event_time: Timestamp::from_micros(event_us),
            ingest_time,
            source: "e2e".into(),
        })
    }
}

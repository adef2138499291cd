//! Whether a quote can be believed: a state machine per ticker, fed with each quote before it is published.
//!
//! What a quote is by itself (a price above zero, a finite one) its type says already. Here it is compared with the last one
//! that was published: it has to be newer, and no further from it than prices move. What is further is held back until it
//! proves to be true: another source says the same, or the price stays where it is. How long it has to stay is in
//! [`Suspicion`]; a glitch does not last so long, and a true move loses little time.
//!
//! Times are the caller's, so that a file of past prices is judged as it would have been on the day.

mod suspicion;

pub use suspicion::{Kind, Proof, Suspicion};

use std::time::Duration;

use cqrs::domain::{Price, Quote, Timestamp};

/// A quote from further ahead is a mistake of the provider or of a clock: published, it would make every true quote after it
/// look old.
pub const MAX_AHEAD: Duration = Duration::from_secs(60);

/// What is to be done with a quote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Publish it.
    Accept,
    /// It is of no use.
    Refuse(Refusal),
    /// Hold it back: it may be wrong. A second source that is asked now may clear it up at once.
    Quarantine(Suspicion),
    /// It looked wrong and has proved to be true: publish it.
    Confirmed {
        /// What had happened.
        kind: Kind,
        /// The last price before it.
        from: Price,
    },
}

/// Why a quote is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The last one again: the market rests.
    Unchanged,
    /// Made before the last one: the provider stepped back, or tells of a trade late.
    Late,
    /// More than [`MAX_AHEAD`] ahead of the clock.
    Future,
    /// In another currency, or another unit of it, than the source used so far gives: its number can't be compared with
    /// the rules' thresholds.
    OtherCurrency,
}

impl Outcome {
    /// Whether the quote is to be published.
    #[must_use]
    pub const fn is_publishable(&self) -> bool {
        match self {
            Self::Accept | Self::Confirmed { .. } => true,
            Self::Refuse(_) | Self::Quarantine(_) => false,
        }
    }

    /// For metrics.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Accept => "accepted",
            Self::Refuse(refusal) => refusal.label(),
            Self::Quarantine(suspicion) => suspicion.label(),
            Self::Confirmed { kind, .. } => kind.label(),
        }
    }
}

impl Refusal {
    /// For metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Late => "late",
            Self::Future => "future",
            Self::OtherCurrency => "other_currency",
        }
    }
}

/// What is known of one ticker's quotes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sanity {
    last: Option<Last>,
    held: Option<Held>,
}

/// The last quote that was published.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Last {
    price: Price,
    volume: Option<i64>,
    event_time: Timestamp,
    /// Which currency, and which source said so. None: nobody has said.
    unit: Option<Unit>,
    /// It was published by somebody else, before this ticker was watched.
    is_hearsay: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Unit {
    currency: String,
    source: String,
}

/// The quotes that are held back: one price that proves to be true, or does not.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    /// Of the first of them: later ones may lie nearer to what is known, and are no less doubtful for that.
    suspicion: Suspicion,
    /// What it takes to believe them.
    proof: Proof,
    /// Of the last of them.
    price: Price,
    event_time: Timestamp,
    source: String,
    currency: String,
    /// When the first came.
    since: Timestamp,
    /// How many, each newer than the one before.
    quotes: u32,
}

impl Sanity {
    /// Of a ticker whose last published quote is known from elsewhere, so that the first quote that comes is not believed
    /// whatever it says. If it says the same it is published once more: rules that were made meanwhile wait for a quote,
    /// which may take until Monday. And another unit takes no longer to be believed than a split: the provider may be
    /// another one now.
    #[must_use]
    pub const fn after(price: Price, event_time: Timestamp) -> Self {
        Self {
            last: Some(Last {
                price,
                volume: None,
                event_time,
                unit: None,
                is_hearsay: true,
            }),
            held: None,
        }
    }

    /// What is to be done with `quote`, which came at `now`. Once it is published, [`Self::published`] has to be told; if that
    /// fails, the same quote gets the same outcome again.
    ///
    /// The first quote of a ticker is accepted: there is nothing to compare it with.
    pub fn check(&mut self, quote: &Quote, now: Timestamp) -> Outcome {
        if quote.event_time > now.plus(MAX_AHEAD) {
            return Outcome::Refuse(Refusal::Future);
        }
        let Some(last) = &self.last else {
            return Outcome::Accept;
        };
        if let Some(refusal) = last.refuses(quote) {
            return Outcome::Refuse(refusal);
        }
        let from = last.price;
        let outcome = |kind| Outcome::Confirmed { kind, from };
        if let Some(held) = self.held.as_mut().filter(|held| held.is_said_again_by(quote)) {
            if held.source == quote.source {
                held.take(quote);
            } else if held.is_confirmed_by(quote) {
                return outcome(held.suspicion.kind());
            }
        } else {
            // Another price than the one held back: that one was wrong, or this one is.
            self.held = None;
            if last.is_of_another_source_in_another_unit(quote) {
                return Outcome::Refuse(Refusal::OtherCurrency);
            }
            let Some(suspicion) = last.suspects(quote) else {
                return Outcome::Accept;
            };
            let proof = if last.is_hearsay {
                suspicion.proof_against_hearsay()
            } else {
                suspicion.proof()
            };
            self.held = Some(Held::new(suspicion, proof, quote, now));
        }
        let Some(held) = &self.held else {
            return Outcome::Accept;
        };
        if held.has_stayed(now) {
            outcome(held.suspicion.kind())
        } else {
            Outcome::Quarantine(held.suspicion)
        }
    }

    /// `quote` was published: later ones are compared with it.
    pub fn published(&mut self, quote: &Quote) {
        self.held = None;
        let before = self.last.take().and_then(|last| last.unit);
        let unit = match before {
            Some(unit) if quote.currency.is_empty() || quote.currency == unit.currency => Some(unit),
            Some(_) | None => (!quote.currency.is_empty()).then(|| Unit {
                currency: quote.currency.clone(),
                source: quote.source.clone(),
            }),
        };
        self.last = Some(Last {
            price: quote.price,
            volume: quote.volume,
            event_time: quote.event_time,
            unit,
            is_hearsay: false,
        });
    }
}

impl Last {
    fn refuses(&self, quote: &Quote) -> Option<Refusal> {
        if quote.event_time < self.event_time {
            return Some(Refusal::Late);
        }
        // Several trades share a moment; but the same one at the same moment is no news.
        let is_same =
            (quote.event_time, quote.price, quote.volume) == (self.event_time, self.price, self.volume);
        (is_same && !self.is_hearsay).then_some(Refusal::Unchanged)
    }

    fn suspects(&self, quote: &Quote) -> Option<Suspicion> {
        if self.unit_conflicting_with(quote).is_some() {
            return Some(Suspicion::Currency);
        }
        Suspicion::of(self.price, quote.price, quote.event_time.since(self.event_time))
    }

    /// A source that spells the currency in its own way does so every time: nothing to wait for.
    fn is_of_another_source_in_another_unit(&self, quote: &Quote) -> bool {
        self.unit_conflicting_with(quote)
            .is_some_and(|unit| unit.source != quote.source)
    }

    fn unit_conflicting_with(&self, quote: &Quote) -> Option<&Unit> {
        self.unit
            .as_ref()
            .filter(|unit| !quote.currency.is_empty() && unit.currency != quote.currency)
    }
}

impl Held {
    fn new(suspicion: Suspicion, proof: Proof, quote: &Quote, now: Timestamp) -> Self {
        Self {
            suspicion,
            proof,
            price: quote.price,
            event_time: quote.event_time,
            source: quote.source.clone(),
            currency: quote.currency.clone(),
            since: now,
            quotes: 1,
        }
    }

    fn is_said_again_by(&self, quote: &Quote) -> bool {
        let is_other_currency =
            !self.currency.is_empty() && !quote.currency.is_empty() && self.currency != quote.currency;
        !is_other_currency && suspicion::is_near(self.price, quote.price)
    }

    /// The same price, once more, is no proof: the provider may repeat its mistake from a cache.
    fn take(&mut self, quote: &Quote) {
        if quote.event_time > self.event_time {
            self.event_time = quote.event_time;
            self.price = quote.price;
            self.quotes = self.quotes.saturating_add(1);
        }
    }

    /// Another source may say the same number and mean another unit: where that is the question, both have to name it.
    fn is_confirmed_by(&self, other: &Quote) -> bool {
        match self.suspicion {
            Suspicion::Jump | Suspicion::Split(_) => true,
            Suspicion::Unit | Suspicion::Currency => {
                !self.currency.is_empty() && self.currency == other.currency
            }
        }
    }

    fn has_stayed(&self, now: Timestamp) -> bool {
        self.quotes >= self.proof.quotes && now.since(self.since) >= self.proof.stays
    }
}

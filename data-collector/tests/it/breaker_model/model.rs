//! The rule, written down as plainly as possible: all results since the breaker closed are kept, and looked at anew each
//! time.

use std::time::Duration;

use data_collector::breaker::{Settings, State};
use data_collector::provider::ProviderError;

/// Seconds.
pub(super) const TIMEOUT: u64 = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Good,
    Down,
    Unknown,
    Limited(Option<u64>),
}

impl Answer {
    pub(super) fn result(self) -> Result<(), ProviderError> {
        match self {
            Self::Good => Ok(()),
            Self::Down => Err(ProviderError::Unavailable {
                reason: "down".into(),
            }),
            Self::Unknown => Err(ProviderError::UnknownSymbol),
            Self::Limited(seconds) => Err(ProviderError::RateLimited {
                retry_after: seconds.map(Duration::from_secs),
            }),
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Rules {
    pub(super) window: usize,
    pub(super) minimum: usize,
    pub(super) failure_rate: u8,
    pub(super) slow_rate: u8,
    pub(super) slow_after: u64,
    pub(super) probes: usize,
    pub(super) open_for: (u64, u64),
    pub(super) limited_for: (u64, u64),
}

impl Rules {
    pub(super) fn settings(&self) -> Settings {
        let seconds = |(first, longest)| (Duration::from_secs(first), Duration::from_secs(longest));
        Settings {
            window: self.window,
            minimum_calls: self.minimum,
            failure_rate: self.failure_rate,
            slow_call_rate: self.slow_rate,
            slow_after: Duration::from_secs(self.slow_after),
            probes: self.probes,
            open_for: seconds(self.open_for),
            rate_limited_for: seconds(self.limited_for),
            call_timeout: Duration::from_secs(TIMEOUT),
        }
    }

    /// Whether so many results are too bad.
    fn too_bad(&self, results: &[(bool, bool)]) -> bool {
        let part = |count: usize, rate: u8| {
            count > 0 && count as f64 / results.len() as f64 >= f64::from(rate) / 100.0
        };
        part(
            results.iter().filter(|(failed, _)| *failed).count(),
            self.failure_rate,
        ) || part(results.iter().filter(|(_, slow)| *slow).count(), self.slow_rate)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    /// Which state admitted it, counted from the start.
    pub(super) era: u32,
    pub(super) probe: bool,
    pub(super) since: u64,
}

pub(super) struct Model {
    pub(super) rules: Rules,
    pub(super) now: u64,
    pub(super) era: u32,
    pub(super) state: State,
    /// (failed, slow) since it closed, or of the probes.
    pub(super) results: Vec<(bool, bool)>,
    pub(super) probes: usize,
    pub(super) open_until: u64,
    pub(super) opened_by_failure: u32,
    pub(super) opened_by_limit: u32,
}

impl Model {
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            rules,
            now: 0,
            era: 0,
            state: State::Closed,
            results: Vec::new(),
            probes: 0,
            open_until: 0,
            opened_by_failure: 0,
            opened_by_limit: 0,
        }
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.era += 1;
        self.results.clear();
        self.probes = 0;
    }

    fn open(&mut self, seconds: u64) {
        self.enter(State::Open);
        self.open_until = self.now + seconds;
    }

    fn open_after_failure(&mut self) {
        let (first, longest) = self.rules.open_for;
        self.open((first << self.opened_by_failure.min(30)).min(longest));
        self.opened_by_failure += 1;
    }

    pub(super) fn call(&mut self) -> Option<Ticket> {
        if self.state == State::Open && self.now > self.open_until {
            self.enter(State::HalfOpen);
        }
        let probe = self.state == State::HalfOpen;
        if self.state == State::Open || probe && self.probes == self.rules.probes {
            return None;
        }
        self.probes += usize::from(probe);
        Some(Ticket {
            era: self.era,
            probe,
            since: self.now,
        })
    }

    pub(super) fn end(&mut self, ticket: Ticket, answer: Answer) {
        if let Answer::Limited(asked) = answer {
            match (self.state, asked) {
                (State::Open, Some(asked)) => {
                    self.open_until = self.open_until.max(self.now + asked.clamp(1, 3_600));
                }
                (State::Open, None) => {}
                (_, Some(asked)) => self.open(asked.clamp(1, 3_600)),
                (_, None) => {
                    let (first, longest) = self.rules.limited_for;
                    self.open((first << self.opened_by_limit.min(30)).min(longest));
                    self.opened_by_limit += 1;
                }
            }
            return;
        }
        let is_symbol = answer == Answer::Unknown;
        if ticket.era != self.era || is_symbol && self.state == State::Closed {
            return;
        }
        let slow = self.now - ticket.since >= self.rules.slow_after;
        self.results.push((answer == Answer::Down, slow));
        if self.state == State::Closed {
            let first = self.results.len().saturating_sub(self.rules.window);
            let last = &self.results[first..];
            if last.len() >= self.rules.minimum.min(self.rules.window) && self.rules.too_bad(last) {
                self.open_after_failure();
            }
        } else if self.results.len() == self.rules.probes {
            if self.rules.too_bad(&self.results) {
                self.open_after_failure();
            } else {
                self.enter(State::Closed);
                (self.opened_by_failure, self.opened_by_limit) = (0, 0);
            }
        }
    }

    pub(super) fn cancel(&mut self, ticket: Ticket) {
        if ticket.probe && ticket.era == self.era {
            self.probes -= 1;
        }
    }
}

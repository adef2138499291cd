//! When failsafe's state machine opens, and for how long.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use failsafe::FailurePolicy;
use failsafe::backoff::{self, Exponential};

use super::Settings;
use super::window::{Call, Cause, Limits, Window};

/// What is to be told to the policy besides failsafe's bare "error". In the closed state every result is told as one, also a
/// good one: it may be the one that completes the minimum number of calls.
#[derive(Debug, Clone, Copy)]
pub(super) enum Finding {
    /// A call ended while closed.
    Ended(Call),
    /// The probes failed.
    Probed(Cause),
    /// The provider wants to be left alone: for so long, if it says so.
    LeaveAlone(Option<Duration>),
}

/// What the policy made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Opening {
    pub(super) cause: Cause,
    pub(super) open_for: Duration,
}

/// What the breaker and the policy say to one another: failsafe's trait has no room for it.
#[derive(Debug, Clone, Default)]
pub(super) struct Exchange(Arc<Mutex<Words>>);

#[derive(Debug, Default)]
struct Words {
    finding: Option<Finding>,
    opening: Option<Opening>,
}

impl Exchange {
    /// To be called before failsafe is told of an error.
    pub(super) fn tell(&self, finding: Finding) {
        self.words().finding = Some(finding);
    }

    /// What the policy answered, if it opened.
    pub(super) fn opening(&self) -> Option<Opening> {
        self.words().opening.take()
    }

    fn words(&self) -> MutexGuard<'_, Words> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens when too many of the last calls failed or were slow, or at once when the provider asks for it.
#[derive(Debug)]
pub(super) struct Policy {
    exchange: Exchange,
    window: Window,
    limits: Limits,
    failing: Backoff,
    limited: Backoff,
}

impl Policy {
    pub(super) fn new(settings: &Settings, exchange: Exchange) -> Self {
        Self {
            exchange,
            window: Window::new(settings.window),
            limits: settings.limits(),
            failing: Backoff::new(settings.open_for),
            limited: Backoff::new(settings.rate_limited_for),
        }
    }

    fn decide(&mut self, finding: Finding) -> Option<Opening> {
        match finding {
            Finding::Ended(call) => {
                self.window.push(call);
                let cause = self.window.excess(&self.limits)?;
                Some(self.failing.opening(cause))
            }
            Finding::Probed(cause) => Some(self.failing.opening(cause)),
            Finding::LeaveAlone(Some(open_for)) => Some(Opening {
                cause: Cause::RateLimit,
                open_for,
            }),
            Finding::LeaveAlone(None) => Some(self.limited.opening(Cause::RateLimit)),
        }
    }
}

impl FailurePolicy for Policy {
    fn record_success(&mut self) {}

    fn mark_dead_on_failure(&mut self) -> Option<Duration> {
        let finding = self.exchange.words().finding.take()?;
        let opening = self.decide(finding);
        self.exchange.words().opening = opening;
        opening.map(|opening| opening.open_for)
    }

    fn revived(&mut self) {
        self.window.clear();
        self.failing.start_anew();
        self.limited.start_anew();
    }
}

/// failsafe's exponential back-off, and how it began.
#[derive(Debug)]
struct Backoff {
    next: Exponential,
    fresh: Exponential,
    longest: Duration,
}

impl Backoff {
    fn new((first, longest): (Duration, Duration)) -> Self {
        let fresh = backoff::exponential(first, longest);
        Self {
            next: fresh.clone(),
            fresh,
            longest,
        }
    }

    fn opening(&mut self, cause: Cause) -> Opening {
        Opening {
            cause,
            open_for: self.next.next().unwrap_or(self.longest),
        }
    }

    fn start_anew(&mut self) {
        self.next = self.fresh.clone();
    }
}

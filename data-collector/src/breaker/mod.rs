//! Circuit breakers: one around all calls to one endpoint of one provider.
//!
//! The state machine and the back-off are failsafe's; when to open is `policy`'s, over the `window` of the last calls: when
//! too many failed or were slow, as resilience4j counts them. What failsafe leaves open is added here: while it is half open
//! it would let every call through, and close or open on the first answer, so probes are counted and judged together; a call
//! that was admitted before the state changed says nothing of the new state, so its result is ignored; a refusal for too many
//! requests opens at once, for as long as the provider asks.

mod observed;
mod policy;
mod window;

pub use observed::State;
pub use window::Cause;

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use failsafe::{StateMachine, clock};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::provider::{Disposition, ProviderError};
use observed::{Observed, Observer};
use policy::{Exchange, Finding, Policy};
use window::{Call, Limits, Window};

/// Longest time a provider's `Retry-After` is honoured: a header must not silence a feed for good.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60 * 60);
/// And the shortest: a provider that refuses is not asked again at once, whatever it says.
const SHORTEST_RETRY_AFTER: Duration = Duration::from_secs(1);

/// When a breaker opens, and for how long. Back-offs double from the first to the longest, in whole seconds (at least
/// one), and start anew once the provider answers.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How many of the last calls are looked at.
    pub window: usize,
    /// So many of them have to be there before anything is decided.
    pub minimum_calls: usize,
    /// Failed calls, in per cent, from which on it opens.
    pub failure_rate: u8,
    /// Slow calls, in per cent, from which on it opens.
    pub slow_call_rate: u8,
    /// A call that takes so long is slow.
    pub slow_after: Duration,
    /// How many calls are let through while half open, over all tasks. All of them have to end before anything is decided,
    /// by the same rates.
    pub probes: usize,
    /// How long it opens after failures: first, longest.
    pub open_for: (Duration, Duration),
    /// How long it opens when the provider limits requests and does not say for how long: first, longest.
    pub rate_limited_for: (Duration, Duration),
    /// How long a call may take.
    pub call_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            // Few enough that a handful of tickers fills it in minutes, enough that two failures mean nothing.
            window: 20,
            minimum_calls: 10,
            failure_rate: 50,
            // Slow answers are answers: only where there is hardly anything else do they cost more than they give.
            slow_call_rate: 80,
            slow_after: Duration::from_secs(5),
            probes: 3,
            open_for: (Duration::from_secs(5), Duration::from_secs(120)),
            // Yahoo's limit lasts over 15 minutes and is not announced.
            rate_limited_for: (Duration::from_secs(60), Duration::from_secs(15 * 60)),
            call_timeout: Duration::from_secs(10),
        }
    }
}

impl Settings {
    fn limits(&self) -> Limits {
        Limits {
            minimum_calls: self.minimum_calls,
            failure_rate: usize::from(self.failure_rate),
            slow_call_rate: usize::from(self.slow_call_rate),
        }
    }
}

/// Why a call gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The breaker is open: no call was made.
    #[error("the circuit breaker is open")]
    Rejected,
    /// The call was made and failed.
    #[error(transparent)]
    Provider(#[from] ProviderError),
}

/// A circuit breaker.
#[derive(Debug)]
pub struct Breaker {
    settings: Settings,
    gate: Mutex<Gate>,
    exchange: Exchange,
    observed: Arc<Observed>,
    changed: Notify,
}

#[derive(Debug)]
struct Gate {
    machine: StateMachine<Policy, Observer>,
    /// Probes that were let through since it is half open, less those that were given up.
    probes: usize,
    /// How they went.
    probed: Window,
    /// Set by a provider that asks for it when it is open already. By the machine's clock.
    left_alone_until: Option<std::time::Instant>,
    /// In words.
    last_failure: Option<String>,
}

impl Breaker {
    /// A closed breaker around one of the provider's endpoints.
    #[must_use]
    pub fn new(provider: &'static str, endpoint: &'static str, settings: &Settings) -> Self {
        let observed = Arc::new(Observed::new(provider, endpoint));
        let exchange = Exchange::default();
        let policy = Policy::new(settings, exchange.clone());
        let machine = StateMachine::new(policy, Observer(Arc::clone(&observed)));
        Self {
            gate: Mutex::new(Gate {
                machine,
                probes: 0,
                probed: Window::new(settings.probes),
                left_alone_until: None,
                last_failure: None,
            }),
            settings: settings.clone(),
            exchange,
            observed,
            changed: Notify::new(),
        }
    }

    /// What it does with calls. An open breaker becomes half open at the first call after its time.
    #[must_use]
    pub fn state(&self) -> State {
        self.observed.state()
    }

    /// Why it is not closed. None: it is closed.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        self.observed.reason()
    }

    /// Waits until the state has changed since the last call of this method. For one listener.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Makes the call, if the breaker lets it through, and takes note of how it ends. The time limit lies inside, so
    /// that a call which hangs counts as failed. What the call has to wait for before it goes to the provider is to be
    /// awaited before: here it would make the provider look slow.
    ///
    /// # Errors
    /// [`CallError::Rejected`] without having polled `call`, or the call's own error.
    pub async fn call<T>(
        &self,
        call: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<T, CallError> {
        self.call_with(call, |_| None).await
    }

    /// Like [`Self::call`], for a call that may go well as a whole and yet tell of trouble: `trouble` finds it.
    ///
    /// # Errors
    /// Likewise. Trouble in an answer is none.
    pub async fn call_with<T>(
        &self,
        call: impl Future<Output = Result<T, ProviderError>>,
        trouble: impl FnOnce(&T) -> Option<&ProviderError>,
    ) -> Result<T, CallError> {
        let Some(admission) = self.admit() else {
            return Err(CallError::Rejected);
        };
        let started_at = Instant::now();
        let result = tokio::time::timeout(self.settings.call_timeout, call)
            .await
            .unwrap_or_else(|_| {
                let reason = format!("no answer within {:?}", self.settings.call_timeout);
                Err(ProviderError::Unavailable { reason })
            });
        let is_slow = started_at.elapsed() >= self.settings.slow_after;
        match &result {
            Ok(answer) => admission.settle(trouble(answer), is_slow),
            Err(error) => admission.settle(Some(error), is_slow),
        }
        Ok(result?)
    }

    fn admit(&self) -> Option<Admission<'_>> {
        let mut gate = self.lock();
        if let Some(until) = gate.left_alone_until {
            if clock::now() <= until {
                return None;
            }
            gate.left_alone_until = None;
        }
        let before = self.observed.transitions();
        if !gate.machine.is_call_permitted() {
            return None;
        }
        let transitions = self.observed.transitions();
        if transitions != before {
            gate.probes = 0;
            gate.probed.clear();
            self.announce(&mut gate);
        }
        let is_probe = self.state() == State::HalfOpen;
        if is_probe {
            if gate.probes >= self.settings.probes.max(1) {
                return None;
            }
            gate.probes += 1;
        }
        Some(Admission {
            breaker: self,
            probe: is_probe,
            transitions,
        })
    }

    /// Takes note of how a call ended that was admitted after so many transitions.
    fn record(&self, admitted_at: u64, error: Option<&ProviderError>, slow: bool) {
        let mut gate = self.lock();
        let before = self.observed.transitions();
        let disposition = error.map(ProviderError::disposition);
        match (self.state(), disposition) {
            (State::Open, Some(Disposition::LeaveAlone)) => gate.leave_alone(retry_after(error)),
            // Also from a call that was admitted long ago: it is now that the provider says so.
            (State::Closed | State::HalfOpen, Some(Disposition::LeaveAlone)) => {
                self.exchange.tell(Finding::LeaveAlone(retry_after(error)));
                gate.fail(error);
            }
            (State::Open, _) => {}
            _ if admitted_at != before => {}
            // It says nothing of the provider,
            (State::Closed, Some(Disposition::Symbol)) => {}
            (State::Closed, Some(Disposition::Provider) | None) => {
                let failed = disposition.is_some();
                self.exchange.tell(Finding::Ended(Call { failed, slow }));
                gate.fail(error);
            }
            // but that it answers: if such probes were not counted, there would be no end of them.
            (State::HalfOpen, Some(Disposition::Symbol | Disposition::Provider) | None) => {
                let failed = disposition == Some(Disposition::Provider);
                gate.probed.push(Call { failed, slow });
                self.judge(&mut gate, error.filter(|_| failed));
            }
        }
        if self.observed.transitions() != before {
            self.announce(&mut gate);
        }
    }

    /// Decides on the probes once all have ended.
    fn judge(&self, gate: &mut Gate, failure: Option<&ProviderError>) {
        if !gate.probed.is_full() {
            gate.note(failure);
        } else if let Some(cause) = gate.probed.excess(&self.settings.limits()) {
            self.exchange.tell(Finding::Probed(cause));
            gate.fail(failure);
        } else {
            gate.machine.on_success();
        }
    }

    /// Tells of the new state.
    fn announce(&self, gate: &mut Gate) {
        match self.state() {
            State::Closed => {
                gate.last_failure = None;
                self.observed.closed();
            }
            State::HalfOpen => self.observed.half_open(),
            State::Open => {
                let opening = self.exchange.opening();
                self.observed.opened(opening, gate.last_failure.as_deref());
            }
        }
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gate {
    /// Lets the machine ask the policy, which has been told of a finding, whether to open.
    fn fail(&mut self, failure: Option<&ProviderError>) {
        self.note(failure);
        self.machine.on_error();
    }

    fn note(&mut self, failure: Option<&ProviderError>) {
        if let Some(failure) = failure {
            self.last_failure = Some(failure.to_string());
        }
    }

    /// The machine is open and can't be told to stay so for longer.
    fn leave_alone(&mut self, asked: Option<Duration>) {
        let until = asked.map(|asked| clock::now() + asked);
        self.left_alone_until = self.left_alone_until.max(until);
    }
}

fn retry_after(error: Option<&ProviderError>) -> Option<Duration> {
    if let Some(ProviderError::RateLimited { retry_after }) = error {
        retry_after.map(|asked| asked.clamp(SHORTEST_RETRY_AFTER, LONGEST_RETRY_AFTER))
    } else {
        None
    }
}

/// A call that was let through. Dropped without a result (the caller was cancelled), a probe gives its place back.
struct Admission<'a> {
    breaker: &'a Breaker,
    /// It holds a probe's place.
    probe: bool,
    /// Transitions of the state before the call.
    transitions: u64,
}

impl Admission<'_> {
    fn settle(mut self, error: Option<&ProviderError>, slow: bool) {
        self.probe = false;
        self.breaker.record(self.transitions, error, slow);
    }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        if self.probe {
            let mut gate = self.breaker.lock();
            if self.breaker.observed.transitions() == self.transitions {
                gate.probes -= 1;
            }
        }
    }
}

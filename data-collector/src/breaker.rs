//! One circuit breaker around all calls to a provider.
//!
//! The state machine, its failure counting and its back-off are failsafe's. What failsafe leaves open is added here:
//! while it is half open it would let every call through, so probes are counted; a call that was admitted before the
//! state changed says nothing of the new state, so its result is ignored; a refusal for too many requests opens at once,
//! for as long as the provider asks.

use std::future::Future;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use failsafe::backoff::{self, Exponential};
use failsafe::failure_policy::{self, ConsecutiveFailures};
use failsafe::{FailurePolicy, Instrument, StateMachine};
use tokio::sync::Notify;

use crate::metrics::{BREAKER_STATE, BREAKER_TRANSITIONS};
use crate::provider::{Disposition, ProviderError};

/// Calls in flight at one time while half open, over all tasks. One is enough to learn whether the provider is back,
/// and least likely to keep it down.
pub const HALF_OPEN_PROBES: usize = 1;

/// Longest time a provider's `Retry-After` is honoured: a header must not silence a feed for good.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60 * 60);

/// When the breaker opens, and for how long. Back-offs double from the first to the longest, in whole seconds (at least
/// one), and start anew once the provider answers.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Failures in a row that open it.
    pub failures: u32,
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
            failures: 5,
            open_for: (Duration::from_secs(5), Duration::from_secs(120)),
            // Yahoo's limit lasts over 15 minutes and is not announced.
            rate_limited_for: (Duration::from_secs(60), Duration::from_secs(15 * 60)),
            call_timeout: Duration::from_secs(10),
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

/// What the breaker does with calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Lets all through.
    Closed,
    /// Lets [`HALF_OPEN_PROBES`] through at a time.
    HalfOpen,
    /// Lets none through.
    Open,
}

impl State {
    const fn label(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }
}

/// A circuit breaker.
#[derive(Debug)]
pub struct Breaker {
    provider: &'static str,
    call_timeout: Duration,
    gate: Mutex<Gate>,
    observed: Arc<Observed>,
    verdict: Arc<Mutex<Verdict>>,
}

#[derive(Debug)]
struct Gate {
    machine: StateMachine<Policy, Observer>,
    probes: usize,
}

impl Breaker {
    /// A closed breaker around `provider`.
    #[must_use]
    pub fn new(provider: &'static str, settings: &Settings) -> Self {
        let observed = Arc::new(Observed::default());
        let verdict = Arc::new(Mutex::default());
        let policy = Policy {
            failures: failure_policy::consecutive_failures(
                settings.failures,
                backoff::exponential(settings.open_for.0, settings.open_for.1),
            ),
            rate_limited: backoff::exponential(settings.rate_limited_for.0, settings.rate_limited_for.1),
            fresh_rate_limited: backoff::exponential(
                settings.rate_limited_for.0,
                settings.rate_limited_for.1,
            ),
            verdict: Arc::clone(&verdict),
        };
        let observer = Observer {
            provider,
            observed: Arc::clone(&observed),
        };
        let machine = StateMachine::new(policy, observer);
        Self {
            provider,
            call_timeout: settings.call_timeout,
            gate: Mutex::new(Gate { machine, probes: 0 }),
            observed,
            verdict,
        }
    }

    /// What it does with calls. An open breaker becomes half open at the first call after its time.
    #[must_use]
    pub fn state(&self) -> State {
        self.observed.state()
    }

    /// Why it is not closed: the last failure that counted. None: it is closed.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        self.observed.reason().clone()
    }

    /// Waits until the state has changed since the last call of this method. For one listener.
    pub async fn changed(&self) {
        self.observed.changed.notified().await;
    }

    /// Makes the call, if the breaker lets it through, and takes note of how it ends. The time limit lies inside, so
    /// that a call which hangs counts as failed.
    ///
    /// # Errors
    /// [`CallError::Rejected`] without having polled `call`, or the call's own error.
    pub async fn call<T>(
        &self,
        call: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<T, CallError> {
        let Some(admission) = self.admit() else {
            return Err(CallError::Rejected);
        };
        let result = tokio::time::timeout(self.call_timeout, call)
            .await
            .unwrap_or_else(|_| {
                let reason = format!("no answer within {:?}", self.call_timeout);
                Err(ProviderError::Unavailable { reason })
            });
        admission.settle(result.as_ref().err());
        Ok(result?)
    }

    fn admit(&self) -> Option<Admission<'_>> {
        let mut gate = self.lock();
        let before = self.state();
        if !gate.machine.is_call_permitted() {
            return None;
        }
        let state = self.state();
        let is_probe = state == State::HalfOpen;
        if is_probe {
            if gate.probes >= HALF_OPEN_PROBES {
                return None;
            }
            gate.probes += 1;
        }
        if state != before {
            tracing::info!(
                quote.source = self.provider,
                "circuit breaker half open: probing the provider"
            );
        }
        Some(Admission {
            breaker: self,
            is_probe,
            transitions: self.observed.transitions(),
        })
    }

    fn record(&self, admitted_at: u64, error: Option<&ProviderError>) {
        let gate = self.lock();
        if self.observed.transitions() != admitted_at {
            return;
        }
        let failure = error.filter(|error| error.disposition() != Disposition::Symbol);
        let Some(failure) = failure else {
            gate.machine.on_success();
            if self.observed.transitions() != admitted_at {
                tracing::info!(
                    quote.source = self.provider,
                    "circuit breaker closed: the provider answers"
                );
            }
            return;
        };
        *self.verdict() = Verdict::of(failure);
        // Before whoever listens to changes looks at it.
        *self.observed.reason() = Some(failure.to_string());
        gate.machine.on_error();
        if self.state() == State::Closed {
            *self.observed.reason() = None;
        }
        if self.observed.transitions() == admitted_at {
            return;
        }
        // Not known where failsafe opens again for as long as before.
        let open_for_seconds = match *self.verdict() {
            Verdict::OpenFor(delay) => Some(delay.as_secs()),
            Verdict::Count | Verdict::LeaveAlone(_) => None,
        };
        tracing::warn!(
            quote.source = self.provider,
            open_for_seconds,
            reason = %failure,
            "circuit breaker open: the provider is left alone"
        );
    }

    fn lock(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn verdict(&self) -> MutexGuard<'_, Verdict> {
        self.verdict.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that was let through. Dropped without a result (the caller was cancelled), it only gives its place back.
struct Admission<'a> {
    breaker: &'a Breaker,
    is_probe: bool,
    /// Transitions of the state before the call.
    transitions: u64,
}

impl Admission<'_> {
    fn settle(self, error: Option<&ProviderError>) {
        self.breaker.record(self.transitions, error);
    }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        if self.is_probe {
            self.breaker.lock().probes -= 1;
        }
    }
}

/// What the last failure means for the policy, and what the policy made of it.
#[derive(Debug, Clone, Copy, Default)]
enum Verdict {
    /// Count it.
    #[default]
    Count,
    /// Open at once, for this long or by the back-off.
    LeaveAlone(Option<Duration>),
    /// The policy's answer: it opened.
    OpenFor(Duration),
}

impl Verdict {
    fn of(error: &ProviderError) -> Self {
        match error {
            ProviderError::RateLimited { retry_after } => {
                let honoured = |delay: Duration| delay.clamp(Duration::from_secs(1), LONGEST_RETRY_AFTER);
                Self::LeaveAlone(retry_after.map(honoured))
            }
            ProviderError::UnknownSymbol
            | ProviderError::NoPrice { .. }
            | ProviderError::Unauthorized { .. }
            | ProviderError::Unavailable { .. }
            | ProviderError::BadResponse { .. } => Self::Count,
        }
    }
}

/// failsafe's consecutive failures, and besides them refusals that open at once.
#[derive(Debug)]
struct Policy {
    failures: ConsecutiveFailures<Exponential>,
    rate_limited: Exponential,
    fresh_rate_limited: Exponential,
    verdict: Arc<Mutex<Verdict>>,
}

impl FailurePolicy for Policy {
    fn record_success(&mut self) {
        self.failures.record_success();
    }

    fn mark_dead_on_failure(&mut self) -> Option<Duration> {
        let counted = self.failures.mark_dead_on_failure();
        let mut verdict = self.verdict.lock().unwrap_or_else(PoisonError::into_inner);
        let open_for = match *verdict {
            Verdict::Count | Verdict::OpenFor(_) => counted,
            Verdict::LeaveAlone(Some(delay)) => Some(delay),
            Verdict::LeaveAlone(None) => self.rate_limited.next(),
        };
        if let Some(open_for) = open_for {
            *verdict = Verdict::OpenFor(open_for);
        }
        open_for
    }

    fn revived(&mut self) {
        self.failures.revived();
        self.rate_limited = self.fresh_rate_limited.clone();
    }
}

/// The machine's state, which failsafe does not tell but announces. Written only while the gate is locked.
#[derive(Debug, Default)]
struct Observed {
    state: AtomicU8,
    transitions: AtomicU64,
    reason: Mutex<Option<String>>,
    changed: Notify,
}

impl Observed {
    fn state(&self) -> State {
        match self.state.load(Ordering::Relaxed) {
            0 => State::Closed,
            1 => State::HalfOpen,
            _ => State::Open,
        }
    }

    fn transitions(&self) -> u64 {
        self.transitions.load(Ordering::Relaxed)
    }

    fn reason(&self) -> MutexGuard<'_, Option<String>> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Observer {
    provider: &'static str,
    observed: Arc<Observed>,
}

impl Observer {
    fn enter(&self, state: State) {
        let number = state as u8;
        self.observed.state.store(number, Ordering::Relaxed);
        self.observed.transitions.fetch_add(1, Ordering::Relaxed);
        metrics::gauge!(BREAKER_STATE, "provider" => self.provider).set(number);
        metrics::counter!(BREAKER_TRANSITIONS, "provider" => self.provider, "to" => state.label())
            .increment(1);
        if state == State::Closed {
            *self.observed.reason() = None;
        }
        self.observed.changed.notify_one();
    }
}

impl Instrument for Observer {
    fn on_call_rejected(&self) {}

    fn on_open(&self) {
        self.enter(State::Open);
    }

    fn on_half_open(&self) {
        self.enter(State::HalfOpen);
    }

    fn on_closed(&self) {
        self.enter(State::Closed);
    }
}

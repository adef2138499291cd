//! A breaker's state as others see it.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use failsafe::Instrument;

use super::policy::Opening;
use super::window::Cause;
use crate::metrics::{BREAKER_STATE, BREAKER_TRANSITIONS};

/// What a breaker does with calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Lets all through.
    Closed,
    /// Lets a few through, to see whether the provider works again.
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

/// The machine's state, which failsafe does not tell but announces. Written only while the gate is locked.
#[derive(Debug)]
pub(super) struct Observed {
    provider: &'static str,
    endpoint: &'static str,
    state: AtomicU8,
    transitions: AtomicU64,
    reason: Mutex<Option<String>>,
}

impl Observed {
    pub(super) fn new(provider: &'static str, endpoint: &'static str) -> Self {
        let observed = Self {
            provider,
            endpoint,
            state: AtomicU8::default(),
            transitions: AtomicU64::default(),
            reason: Mutex::default(),
        };
        observed.gauge(State::Closed);
        observed
    }

    pub(super) fn state(&self) -> State {
        match self.state.load(Ordering::Relaxed) {
            0 => State::Closed,
            1 => State::HalfOpen,
            _ => State::Open,
        }
    }

    /// How often it has changed.
    pub(super) fn transitions(&self) -> u64 {
        self.transitions.load(Ordering::Relaxed)
    }

    pub(super) fn reason(&self) -> Option<String> {
        self.lock_reason().clone()
    }

    pub(super) fn closed(&self) {
        *self.lock_reason() = None;
        self.count(State::Closed, "probes_answered");
        tracing::info!(
            quote.source = self.provider,
            quote.endpoint = self.endpoint,
            "circuit breaker closed: the provider answers"
        );
    }

    pub(super) fn half_open(&self) {
        self.count(State::HalfOpen, "time_over");
        tracing::info!(
            quote.source = self.provider,
            quote.endpoint = self.endpoint,
            "circuit breaker half open: probing the provider"
        );
    }

    pub(super) fn opened(&self, opening: Option<Opening>, last_failure: Option<&str>) {
        let cause = opening.map(|opening| opening.cause);
        let reason = match (cause, last_failure) {
            (Some(cause @ Cause::Failures { .. }), Some(failure)) => format!("{cause}, at last: {failure}"),
            (Some(Cause::RateLimit) | None, Some(failure)) => failure.to_owned(),
            (Some(cause), _) => cause.to_string(),
            (None, None) => String::new(),
        };
        tracing::warn!(
            quote.source = self.provider,
            quote.endpoint = self.endpoint,
            open_for_seconds = opening.map(|opening| opening.open_for.as_secs()),
            reason,
            "circuit breaker open: the provider is left alone"
        );
        *self.lock_reason() = Some(reason);
        self.count(State::Open, cause.map_or("unknown", Cause::label));
    }

    fn count(&self, to: State, reason: &'static str) {
        self.gauge(to);
        metrics::counter!(
            BREAKER_TRANSITIONS,
            "provider" => self.provider,
            "endpoint" => self.endpoint,
            "to" => to.label(),
            "reason" => reason
        )
        .increment(1);
    }

    fn gauge(&self, state: State) {
        metrics::gauge!(BREAKER_STATE, "provider" => self.provider, "endpoint" => self.endpoint)
            .set(state as u8);
    }

    fn lock_reason(&self) -> MutexGuard<'_, Option<String>> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// failsafe's ear.
#[derive(Debug)]
pub(super) struct Observer(pub(super) Arc<Observed>);

impl Observer {
    fn enter(&self, state: State) {
        self.0.state.store(state as u8, Ordering::Relaxed);
        self.0.transitions.fetch_add(1, Ordering::Relaxed);
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

//! How the last calls went.

use std::collections::VecDeque;
use std::fmt;

/// How a call went, as far as it says something of the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Call {
    /// It gave nothing, and that was the provider's doing.
    pub(super) failed: bool,
    /// It took long, whatever it gave.
    pub(super) slow: bool,
}

/// Why a breaker is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Too many calls failed.
    Failures {
        /// So many.
        failed: usize,
        /// Of so many.
        of: usize,
    },
    /// Too many calls were slow.
    Slowness {
        /// So many.
        slow: usize,
        /// Of so many.
        of: usize,
    },
    /// The provider wants to be left alone.
    RateLimit,
}

impl Cause {
    /// For metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Failures { .. } => "failure_rate",
            Self::Slowness { .. } => "slow_call_rate",
            Self::RateLimit => "rate_limit",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failures { failed, of } => write!(f, "{failed} of {of} calls failed"),
            Self::Slowness { slow, of } => write!(f, "{slow} of {of} calls were slow"),
            Self::RateLimit => f.write_str("the provider limits requests"),
        }
    }
}

/// When there are too many failed or slow calls.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Calls without which nothing is decided.
    pub(super) minimum_calls: usize,
    /// From this part of them on, in per cent.
    pub(super) failure_rate: usize,
    /// Likewise.
    pub(super) slow_call_rate: usize,
}

/// The last calls, so many of them.
#[derive(Debug)]
pub(super) struct Window {
    size: usize,
    calls: VecDeque<Call>,
    failed: usize,
    slow: usize,
}

impl Window {
    pub(super) fn new(size: usize) -> Self {
        Self {
            size: size.max(1),
            calls: VecDeque::with_capacity(size.max(1)),
            failed: 0,
            slow: 0,
        }
    }

    pub(super) fn push(&mut self, call: Call) {
        if self.calls.len() == self.size
            && let Some(oldest) = self.calls.pop_front()
        {
            self.failed -= usize::from(oldest.failed);
            self.slow -= usize::from(oldest.slow);
        }
        self.calls.push_back(call);
        self.failed += usize::from(call.failed);
        self.slow += usize::from(call.slow);
    }

    pub(super) fn clear(&mut self) {
        self.calls.clear();
        (self.failed, self.slow) = (0, 0);
    }

    pub(super) fn is_full(&self) -> bool {
        self.calls.len() == self.size
    }

    /// Whether there are too many failed or slow calls among them.
    pub(super) fn excess(&self, limits: &Limits) -> Option<Cause> {
        let of = self.calls.len();
        if of < limits.minimum_calls.min(self.size) {
            return None;
        }
        let reaches = |part: usize, rate: usize| part > 0 && part * 100 >= rate * of;
        if reaches(self.failed, limits.failure_rate) {
            return Some(Cause::Failures {
                failed: self.failed,
                of,
            });
        }
        reaches(self.slow, limits.slow_call_rate).then_some(Cause::Slowness { slow: self.slow, of })
    }
}

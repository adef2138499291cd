//! What this process says of its provider.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use cqrs::domain::{BreakerState, FeedChange, FeedState, Timestamp};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::breaker::{Breaker, State};
use crate::publish::Publisher;

/// How often the provider's state is told when nothing happens: who has not heard of it for a minute takes the process
/// for gone.
const INTERVAL: Duration = Duration::from_secs(15);

/// How the provider is doing. Shared by those who poll it and the one who tells of it.
#[derive(Debug)]
pub struct Feed {
    provider: String,
    instance: String,
    watched: Arc<AtomicU64>,
    /// Microseconds since the epoch; 0: never.
    last_success: AtomicI64,
}

impl Feed {
    /// Of a process that has just started. `watched` is how many tickers it polls.
    #[must_use]
    pub fn new(provider: impl Into<String>, watched: Arc<AtomicU64>) -> Self {
        let mut instance = uuid::Uuid::new_v4().simple().to_string();
        // Enough to tell a handful of processes apart, and short enough to be read aloud.
        instance.truncate(8);
        Self {
            provider: provider.into(),
            instance,
            watched,
            last_success: AtomicI64::new(0),
        }
    }

    /// The provider answered well.
    pub fn succeeded(&self, now: Timestamp) {
        self.last_success.fetch_max(now.as_micros(), Ordering::Relaxed);
    }

    fn state(&self, breaker: &Breaker, now: Timestamp) -> FeedState {
        let last_success = self.last_success.load(Ordering::Relaxed);
        FeedState {
            provider: self.provider.clone(),
            instance: self.instance.clone(),
            breaker: match breaker.state() {
                State::Closed => BreakerState::Closed,
                State::HalfOpen => BreakerState::HalfOpen,
                State::Open => BreakerState::Open,
            },
            reason: breaker.reason().map(|reason| cut(&reason)),
            tickers: self.watched.load(Ordering::Relaxed),
            last_success_at: (last_success > 0).then_some(Timestamp::from_micros(last_success)),
            updated_at: now,
        }
    }

    /// Tells at once, every 15 seconds, and whenever the breaker changes, until `shutdown`.
    pub async fn report(&self, breaker: &Breaker, publisher: &Publisher, shutdown: &CancellationToken) {
        let mut interval = tokio::time::interval(INTERVAL);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_failing = false;
        let reporting = async {
            loop {
                tokio::select! {
                    _ = interval.tick() => {}
                    () = breaker.changed() => {}
                }
                let change = FeedChange::Provider(self.state(breaker, Timestamp::now()));
                let result = publisher.publish_feed(&change).await;
                // A broker that is away is logged once.
                if let Err(error) = &result
                    && !is_failing
                {
                    tracing::warn!(
                        quote.source = %self.provider,
                        "the provider's state was not told: {error}"
                    );
                }
                is_failing = result.is_err();
            }
        };
        shutdown.run_until_cancelled(reporting).await;
    }
}

/// Others' text, on one line and as long as a record takes it.
fn cut(text: &str) -> String {
    let words = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    words.take(FeedState::MAX_REASON).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::breaker::Settings;
    use crate::provider::ProviderError;

    #[tokio::test(start_paused = true)]
    async fn a_provider_is_told_of_as_it_is() {
        let watched = Arc::new(AtomicU64::new(0));
        let feed = Feed::new("test", Arc::clone(&watched));
        let settings = Settings {
            minimum_calls: 2,
            ..Settings::default()
        };
        let breaker = Breaker::new("test", "quotes", &settings);
        let now = Timestamp::from_micros(9);
        let new = feed.state(&breaker, now);
        let expected = FeedState {
            provider: "test".into(),
            instance: new.instance.clone(),
            breaker: BreakerState::Closed,
            reason: None,
            tickers: 0,
            last_success_at: None,
            updated_at: now,
        };
        assert_eq!(new, expected);
        assert_eq!(new.instance.len(), 8);

        watched.store(7, Ordering::Relaxed);
        feed.succeeded(Timestamp::from_micros(6));
        feed.succeeded(Timestamp::from_micros(5));
        let fail = || async {
            let down = ProviderError::Unavailable {
                reason: format!("HTTP 503\n{}", "x".repeat(300)),
            };
            breaker.call(async { Err::<(), _>(down) }).await
        };
        fail().await.unwrap_err();
        let expected = FeedState {
            tickers: 7,
            last_success_at: Some(Timestamp::from_micros(6)),
            ..expected
        };
        assert_eq!(feed.state(&breaker, now), expected, "one failure opens nothing");
        fail().await.unwrap_err();
        breaker.changed().await;
        let open = feed.state(&breaker, now);
        assert_eq!(open.breaker, BreakerState::Open);
        let reason = open.reason.unwrap();
        assert!(
            reason.starts_with("2 of 2 calls failed, at last: the provider is not available: HTTP 503 xxx"),
            "{reason}"
        );
        assert_eq!(reason.chars().count(), 200);
    }
}

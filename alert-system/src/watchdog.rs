use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::error::Error;

/// What the working thread shows of itself.
#[derive(Debug, Default)]
pub(crate) struct Beat {
    turns: AtomicU64,
    doing: Mutex<&'static str>,
}

impl Beat {
    /// The thread moves on to something else, or is alive while it waits for it.
    pub(crate) fn doing(&self, what: &'static str) {
        self.turns.fetch_add(1, Ordering::Relaxed);
        *self.doing.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }

    fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }

    fn what(&self) -> &'static str {
        *self.doing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long the thread may show nothing.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long it may take to end: less than the process's grace, so that the reason is logged.
const ENDING: Duration = Duration::from_secs(15);

/// Returns when the thread hangs: the process is to be started anew.
pub(crate) async fn watch(beat: &Beat) -> Error {
    let (mut turns, mut since) = (beat.turns(), Instant::now());
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if beat.turns() != turns {
            (turns, since) = (beat.turns(), Instant::now());
        } else if since.elapsed() >= PATIENCE {
            return Error::Hangs {
                doing: beat.what(),
                seconds: PATIENCE.as_secs(),
            };
        }
    }
}

/// Returns when the thread goes on for too long after it was told to end.
pub(crate) async fn overdue(shutdown: &CancellationToken, beat: &Beat) -> Error {
    shutdown.cancelled().await;
    tokio::time::sleep(ENDING).await;
    Error::DidNotEnd {
        doing: beat.what(),
        seconds: ENDING.as_secs(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_thread_that_stops_is_named_with_what_it_was_doing() {
        let beat = Arc::new(Beat::default());
        let turning = Arc::clone(&beat);
        tokio::spawn(async move {
            for _ in 0..10 {
                turning.doing("reading quotes");
                tokio::time::sleep(PATIENCE / 2).await;
            }
        });
        let start = Instant::now();
        let error = watch(&beat).await;
        assert!(matches!(
            error,
            Error::Hangs {
                doing: "reading quotes",
                ..
            }
        ));
        let took = start.elapsed();
        assert!(took > PATIENCE * 5 && took < PATIENCE * 6, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_thread_that_does_not_end_is_not_waited_for() {
        let (beat, shutdown) = (Beat::default(), CancellationToken::new());
        let waiting = tokio::time::timeout(PATIENCE, overdue(&shutdown, &beat)).await;
        assert!(waiting.is_err(), "not before it was told to end");
        shutdown.cancel();
        assert!(matches!(overdue(&shutdown, &beat).await, Error::DidNotEnd { .. }));
    }
}

//! Reads of long histories take turns: the database is as long at one as at hundreds of other calls, and goes on with it
//! although the caller may have gone away.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tonic::{Code, Status};

use crate::status::retry_refusal;

/// How many there are at once.
const AT_ONCE: usize = 2;

/// How long one more waits for its turn.
const PATIENCE: Duration = Duration::from_secs(5);

/// Clones share the turns.
#[derive(Debug, Clone)]
pub(crate) struct Turns(Arc<Semaphore>);

impl Turns {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }

    /// A turn, until dropped.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED if others take too long.
    pub(crate) async fn take(&self) -> Result<SemaphorePermit<'_>, Status> {
        match tokio::time::timeout(PATIENCE, self.0.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(retry_refusal(
                Code::ResourceExhausted,
                "SERVER_BUSY",
                "others are having long histories read, which takes a while each; try again in a moment",
                Duration::from_secs(2),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_too_many_waits_a_while_and_is_told_to_come_again() {
        let turns = Turns::new();
        let first = turns.take().await.unwrap();
        let _second = turns.take().await.unwrap();
        let refused = turns.take().await.unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        let ends = async {
            tokio::time::sleep(PATIENCE / 2).await;
            drop(first);
        };
        let (waited, ()) = tokio::join!(turns.take(), ends);
        assert!(waited.is_ok());
    }
}

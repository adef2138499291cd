use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use rand::RngExt as _;
use sqlx::{Any, AnyConnection, AssertSqlSafe, Transaction};
use tracing::Instrument as _;

use crate::dialect::Dialect;
use crate::{CommandError, Store, StoreError};

/// How often a transaction is tried that others get in the way of. With the pauses below this spans about a second
/// beyond the database's own waiting, and a conflict that survives it will not go away by itself.
const ATTEMPTS: u32 = 6;

/// A boxed future that borrows the transaction.
pub(crate) type TxFuture<'t, T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send + 't>>;

/// An open transaction; rolled back unless its work returns `Ok`.
#[derive(Debug)]
pub(crate) struct Tx {
    inner: Transaction<'static, Any>,
    /// Which SQL it speaks.
    pub(crate) dialect: Dialect,
}

impl Tx {
    /// What statements run on.
    pub(crate) fn connection(&mut self) -> &mut AnyConnection {
        &mut self.inner
    }
}

/// What becomes of a transaction whose work returned `Ok`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It is kept.
    Commits,
    /// It was only to be seen whether it could be done.
    RollsBack,
}

/// An error of a transaction's work: the store's, or wrapping the store's.
pub(crate) trait TransactionError: From<StoreError> + Send + 'static {
    /// The store's error, if it is one.
    fn store_error(&self) -> Option<&StoreError>;
}

impl TransactionError for StoreError {
    fn store_error(&self) -> Option<&StoreError> {
        Some(self)
    }
}

impl TransactionError for CommandError {
    fn store_error(&self) -> Option<&StoreError> {
        if let Self::Store(error) = self {
            Some(error)
        } else {
            None
        }
    }
}

impl Store {
    /// Runs `work` in a transaction that writes, again from the beginning (a bounded number of times) where other
    /// transactions get in its way; so it must have no effect but on the transaction.
    ///
    /// It runs in a task of its own: beginning and committing are not safe to cancel, and a caller who goes away must
    /// not leave an open transaction or an unknown outcome behind.
    ///
    /// # Errors
    /// What `work` returns, or the store's failure to begin or commit.
    pub(crate) async fn transaction<T, E, F>(&self, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: TransactionError,
        F: for<'t> Fn(&'t mut Tx) -> TxFuture<'t, T, E> + Send + Sync + 'static,
    {
        self.transaction_that(Ending::Commits, work).await
    }

    /// As [`Self::transaction`], and it ends as told.
    ///
    /// # Errors
    /// As [`Self::transaction`].
    pub(crate) async fn transaction_that<T, E, F>(&self, ending: Ending, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: TransactionError,
        F: for<'t> Fn(&'t mut Tx) -> TxFuture<'t, T, E> + Send + Sync + 'static,
    {
        let store = self.clone();
        let task = async move {
            let mut attempt = 1;
            loop {
                match store.attempt(ending, &work).await {
                    Err(error) if attempt < ATTEMPTS && store.is_conflict(&error) => {
                        tokio::time::sleep(pause(attempt)).await;
                        attempt += 1;
                    }
                    result => return result,
                }
            }
        };
        tokio::spawn(task.in_current_span())
            .await
            .map_err(|_| StoreError::Interrupted)?
    }

    async fn attempt<T, E, F>(&self, ending: Ending, work: &F) -> Result<T, E>
    where
        E: TransactionError,
        F: for<'t> Fn(&'t mut Tx) -> TxFuture<'t, T, E>,
    {
        let begin = AssertSqlSafe(self.dialect.begin());
        let inner = self.write.begin_with(begin).await.map_err(StoreError::from)?;
        let mut tx = Tx {
            inner,
            dialect: self.dialect,
        };
        match work(&mut tx).await {
            Ok(value) if ending == Ending::RollsBack => {
                tx.inner.rollback().await.map_err(StoreError::from)?;
                Ok(value)
            }
            Ok(value) => {
                tx.inner.commit().await.map_err(StoreError::from)?;
                Ok(value)
            }
            Err(error) => {
                // Now, not at the connection's next use: the locks it holds are waited for.
                if let Err(rollback) = tx.inner.rollback().await {
                    tracing::warn!(error = %StoreError::from(rollback), "a transaction could not be rolled back; the database does so when it sees the connection closed");
                }
                Err(error)
            }
        }
    }

    fn is_conflict<E: TransactionError>(&self, error: &E) -> bool {
        match error.store_error() {
            Some(StoreError::Database(error)) => self.dialect.is_conflict(error),
            Some(StoreError::Overtaken) => true,
            _ => false,
        }
    }
}

/// Grows with each attempt; random, so that those who met once do not meet again.
fn pause(attempt: u32) -> Duration {
    let ceiling = 10 << attempt;
    Duration::from_millis(rand::rng().random_range(ceiling / 2..=ceiling))
}

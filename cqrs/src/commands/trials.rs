use super::requests::Request;
use super::users::lock_user;
use super::{Caller, Commands, Idempotency};
use crate::CommandError;
use crate::domain::{Alert, Timestamp};

impl Commands {
    /// The test alert that this request was answered with before, if it was. Alerts are raised through the log, so the answer
    /// is stored after the deed ([`Self::answer_test_alert`]).
    ///
    /// # Errors
    /// `UserNotFound`, `RequestIdReused`.
    pub async fn answered_test_alert(
        &self,
        caller: Caller,
        idempotency: Idempotency,
    ) -> Result<Option<Alert>, CommandError> {
        let request = Request::of(caller, Some(idempotency));
        self.transaction(move |tx| {
            let request = request.clone();
            Box::pin(async move {
                lock_user(tx, caller).await?;
                let answered = request.replay(tx, Timestamp::now()).await?;
                Ok(answered.map(|(_, alert)| alert))
            })
        })
        .await
    }

    /// Remembers a test alert that was raised, for repeats of the request. Of two at the same time, the first is remembered.
    ///
    /// # Errors
    /// `UserNotFound`, `RequestIdReused`.
    pub async fn answer_test_alert(
        &self,
        caller: Caller,
        idempotency: Idempotency,
        alert: Alert,
    ) -> Result<(), CommandError> {
        let request = Request::of(caller, Some(idempotency));
        self.transaction(move |tx| {
            let (request, alert) = (request.clone(), alert.clone());
            Box::pin(async move {
                let now = Timestamp::now();
                lock_user(tx, caller).await?;
                if request.replay::<Alert>(tx, now).await?.is_none() {
                    request.answer(tx, caller.0, &alert, now).await?;
                }
                Ok(())
            })
        })
        .await
    }
}

use serde::{Deserialize, Serialize};

use super::changes::write_rules;
use super::requests::Request;
use super::{Caller, Commands, Idempotency};
use crate::domain::{Restatement, Rule, Ticker, Timestamp};
use crate::ledger::release_held;
use crate::rows::{self, RESTATEMENT_COLUMNS, RULE_COLUMNS};
use crate::transaction::Tx;
use crate::{CommandError, StoreError, dialect, outbox};

/// What becomes of rules that are on hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HoldAnswer {
    /// Their thresholds are converted to what prices are counted in now.
    Adjust,
    /// They go on as they are.
    Keep,
}

/// The rules of one ticker that were on hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Released {
    /// Those that go on, as they are now, oldest first.
    pub rules: Vec<Rule>,
    /// Those that are still on hold: their thresholds can't be converted.
    pub left: Vec<Rule>,
}

impl Commands {
    /// Ends that rules of a ticker are on hold: all of the caller's. None may be on hold any more, which is no error.
    /// `restated_at`: the newest restatement that the caller knows of.
    ///
    /// # Errors
    /// `RestatedAgain`: there is a newer one, whose numbers the caller has not seen; `RequestIdReused`.
    pub async fn release_rules(
        &self,
        caller: Caller,
        ticker: &Ticker,
        restated_at: Timestamp,
        answer: HoldAnswer,
        idempotency: Option<Idempotency>,
    ) -> Result<Released, CommandError> {
        let request = Request::of(caller, idempotency);
        let ticker = ticker.clone();
        self.transaction(move |tx| {
            let (request, ticker) = (request.clone(), ticker.clone());
            Box::pin(async move {
                let now = Timestamp::now();
                // The rules first: whoever puts them on hold for a newer restatement has written that one before.
                let on_hold = lock_on_hold(tx, caller, &ticker).await?;
                if let Some((_, released)) = request.replay(tx, now).await? {
                    return Ok(released);
                }
                let restatements = restatements(tx, &ticker).await?;
                if restatements
                    .last()
                    .is_some_and(|newest| newest.restated_at > restated_at)
                {
                    return Err(CommandError::RestatedAgain { ticker });
                }
                let released = release(tx, caller, on_hold, &restatements, answer, now).await?;
                request.answer(tx, caller.0, &released, now).await?;
                Ok(released)
            })
        })
        .await
    }
}

async fn release(
    tx: &mut Tx,
    caller: Caller,
    on_hold: Vec<Rule>,
    restatements: &[Restatement],
    answer: HoldAnswer,
    now: Timestamp,
) -> Result<Released, CommandError> {
    let was_snoozed = on_hold.iter().any(|rule| rule.snooze.is_some());
    let mut released = Released::default();
    for old in on_hold {
        let range = match answer {
            HoldAnswer::Keep => Some(old.range),
            HoldAnswer::Adjust => {
                Restatement::of_rule(&old, restatements).and_then(|all| all.adjust_range(old.range))
            }
        };
        let Some(range) = range else {
            released.left.push(old);
            continue;
        };
        let rule = Rule {
            range,
            snooze: None,
            on_hold_since: None,
            version: old.version.next(),
            updated_at: old.next_update(now),
            ..old
        };
        released.rules.push(rule);
    }
    write_rules(tx, &released.rules).await?;
    outbox::enqueue(tx, &released.rules).await?;
    if was_snoozed {
        release_held(tx.connection(), caller.0, now).await?;
    }
    Ok(released)
}

async fn lock_on_hold(tx: &mut Tx, caller: Caller, ticker: &Ticker) -> Result<Vec<Rule>, StoreError> {
    let select = format!(
        "select {RULE_COLUMNS} from rules where user_id = ? and ticker = ? and restated_at is not null order by id{}",
        tx.dialect.for_update()
    );
    let found = dialect::query(select)
        .bind(caller.0.to_string())
        .bind(ticker.to_string())
        .fetch_all(tx.connection())
        .await?;
    found.iter().map(rows::rule).collect()
}

/// The ticker's, oldest first.
async fn restatements(tx: &mut Tx, ticker: &Ticker) -> Result<Vec<Restatement>, StoreError> {
    let select =
        format!("select {RESTATEMENT_COLUMNS} from restatements where ticker = ? order by restated_at");
    let found = dialect::query(select)
        .bind(ticker.to_string())
        .fetch_all(tx.connection())
        .await?;
    found.iter().map(rows::restatement).collect()
}

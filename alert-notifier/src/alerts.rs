//! The alerts topic.

use cqrs::{Ledger, LedgerChange, StoreError};
use service::codec::{AlertRecord, DecodeError, decode_alert_record, decode_rule_key};
use service::kafka::Record;
use service::topics::{self, Topic};

use crate::clock::Clock;
use crate::intake::Folding;
use crate::metrics;

/// Folds alerts, and test alerts, into the ledger.
#[derive(Debug)]
pub(crate) struct Alerts(pub(crate) Ledger, pub(crate) Clock);

impl Folding for Alerts {
    type Change = LedgerChange;

    const TOPIC: Topic = topics::ALERTS;
    const GROUP: &'static str = "alert-notifier";
    const FAILURE: &'static str = "alerts could not be folded";

    /// A tombstone says that its rule was deleted.
    fn change_of(record: &Record) -> Result<Option<LedgerChange>, DecodeError> {
        let rule_id = decode_rule_key(record.key.as_deref())?;
        let Some(payload) = &record.payload else {
            return Ok(Some(LedgerChange::RuleDeleted(rule_id)));
        };
        let (of_rule, change) = match decode_alert_record(payload)? {
            AlertRecord::State(alert) => (alert.rule_id, LedgerChange::Alert(alert)),
            AlertRecord::Test(alert) => (alert.rule_id, LedgerChange::TestAlert(alert)),
        };
        if of_rule == rule_id {
            Ok(Some(change))
        } else {
            Err(DecodeError::Key)
        }
    }

    async fn fold(&self, changes: &[LedgerChange]) -> Result<u64, StoreError> {
        let folded = self.0.fold(changes, self.1.now()).await?;
        metrics::folded(folded);
        Ok(folded.planned)
    }
}

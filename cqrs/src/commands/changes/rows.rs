//! Rows of rules, many in one statement.

use sqlx::{Any, QueryBuilder};

use crate::StoreError;
use crate::domain::{Rule, Timestamp};
use crate::rows::{self, RULE_COLUMNS};
use crate::sizes::{self, push_in};
use crate::transaction::Tx;

/// Writes rules that are new, or locked.
pub(in crate::commands) async fn write_rules(tx: &mut Tx, rules: &[Rule]) -> Result<(), StoreError> {
    // A rule keeps its owner, its ticker and its age.
    let changing = [
        "low",
        "high",
        "note",
        "paused",
        "expired",
        "expires_at",
        "snoozed_until",
        "snoozed_until_back",
        "restated_at",
        "version",
        "updated_at",
    ];
    for portion in sizes::portions(rules) {
        let mut upsert = QueryBuilder::<Any>::new(format!("insert into rules ({RULE_COLUMNS}) "));
        upsert.push_values(portion, |mut values, rule| {
            let (snoozed_until, snoozed_until_back) = rows::snooze_columns(rule.snooze);
            values
                .push_bind(rule.id.to_string())
                .push_bind(rule.user_id.to_string())
                .push_bind(rule.ticker.to_string())
                .push_bind(rule.range.low().map(|low| low.units()))
                .push_bind(rule.range.high().map(|high| high.units()))
                .push_bind(rule.note.to_string())
                .push_bind(i64::from(rule.paused))
                .push_bind(i64::from(rule.expired))
                .push_bind(rule.expires_at.map(Timestamp::as_micros))
                .push_bind(snoozed_until)
                .push_bind(snoozed_until_back)
                .push_bind(rule.on_hold_since.map(Timestamp::as_micros))
                .push_bind(rule.version.get())
                .push_bind(rule.created_at.as_micros())
                .push_bind(rule.updated_at.as_micros());
        });
        upsert.push(tx.dialect.upsert("id", &changing));
        upsert.build().execute(tx.connection()).await?;
    }
    Ok(())
}

pub(super) async fn delete_rules(tx: &mut Tx, rules: &[Rule]) -> Result<(), StoreError> {
    for portion in rules.chunks(sizes::BATCH) {
        let mut delete = QueryBuilder::<Any>::new("delete from rules where id ");
        push_in(&mut delete, portion.iter().map(|rule| rule.id.to_string()));
        delete.build().execute(tx.connection()).await?;
    }
    Ok(())
}

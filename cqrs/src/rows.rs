//! Rows into domain types. A row that holds what this program never writes is `StoreError::Corrupt`.

use std::fmt::Display;
use std::str::FromStr;

use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::StoreError;
use crate::domain::{
    Language, Price, QuietHours, Quote, Range, ReminderInterval, Restatement, Rule, RuleVersion, Side,
    Snooze, Split, Timestamp, TradeSide, User,
};

/// The columns of [`user`].
pub(crate) const USER_COLUMNS: &str = "id, email, chat_id, reminder_interval_secs, language, messenger_language, \
     time_zone, quiet_from, quiet_to, chat_suspended_at, created_at";

/// The columns of [`rule`].
pub(crate) const RULE_COLUMNS: &str = "id, user_id, ticker, low, high, note, paused, expired, expires_at, snoozed_until, snoozed_until_back, restated_at, \
     version, created_at, updated_at";

/// The columns of [`restatement`].
pub(crate) const RESTATEMENT_COLUMNS: &str =
    "ticker, restated_at, from_price, to_price, new_shares, old_shares, event_time";

/// The columns of [`quote`], in `quotes` and `latest_quotes`.
pub(crate) const QUOTE_COLUMNS: &str =
    "ticker, event_time, quote_offset, price, currency, volume, trade_side, ingest_time, source";

/// A row that can't be read.
pub(crate) fn corrupt(table: &'static str, reason: impl Display) -> StoreError {
    StoreError::Corrupt {
        table,
        reason: reason.to_string(),
    }
}

/// A text column as the type it was printed from.
pub(crate) fn text<T>(row: &AnyRow, table: &'static str, column: &str) -> Result<T, StoreError>
where
    T: FromStr<Err: Display>,
{
    row.try_get::<String, _>(column)?
        .parse()
        .map_err(|error| corrupt(table, error))
}

/// A time column.
pub(crate) fn time(row: &AnyRow, column: &str) -> Result<Timestamp, StoreError> {
    Ok(Timestamp::from_micros(row.try_get(column)?))
}

/// A flag column.
pub(crate) fn flag(row: &AnyRow, column: &str) -> Result<bool, StoreError> {
    Ok(row.try_get::<i64, _>(column)? != 0)
}

/// A price column.
pub(crate) fn price(row: &AnyRow, table: &'static str, column: &str) -> Result<Price, StoreError> {
    Price::from_units(row.try_get(column)?).map_err(|error| corrupt(table, error))
}

/// The columns `low` and `high`.
pub(crate) fn range(row: &AnyRow, table: &'static str) -> Result<Range, StoreError> {
    let bound = |column| {
        let units: Option<i64> = row.try_get(column)?;
        units
            .map(Price::from_units)
            .transpose()
            .map_err(|error| corrupt(table, error))
    };
    Range::new(bound("low")?, bound("high")?).map_err(|error| corrupt(table, error))
}

/// A column with a rule's version.
pub(crate) fn version(row: &AnyRow, table: &'static str, column: &str) -> Result<RuleVersion, StoreError> {
    RuleVersion::try_from(row.try_get::<i64, _>(column)?)
        .map_err(|version| corrupt(table, format_args!("version {version} is below 1")))
}

/// A column with a side.
pub(crate) fn side(row: &AnyRow, table: &'static str, column: &str) -> Result<Side, StoreError> {
    match row.try_get::<String, _>(column)?.as_str() {
        "in" => Ok(Side::In),
        "above" => Ok(Side::Above),
        "below" => Ok(Side::Below),
        other => Err(corrupt(table, format_args!("\"{other}\" is no side"))),
    }
}

/// The columns `snoozed_until` and `snoozed_until_back`.
pub(crate) fn snooze(row: &AnyRow) -> Result<Option<Snooze>, StoreError> {
    if flag(row, "snoozed_until_back")? {
        return Ok(Some(Snooze::UntilBack));
    }
    let until: Option<i64> = row.try_get("snoozed_until")?;
    Ok(until.map(|until| Snooze::Until(Timestamp::from_micros(until))))
}

/// What the columns `snoozed_until` and `snoozed_until_back` hold.
pub(crate) const fn snooze_columns(snooze: Option<Snooze>) -> (Option<i64>, i64) {
    match snooze {
        None => (None, 0),
        Some(Snooze::Until(until)) => (Some(until.as_micros()), 0),
        Some(Snooze::UntilBack) => (None, 1),
    }
}

/// A column with a language.
fn language(row: &AnyRow, column: &str) -> Result<Option<Language>, StoreError> {
    let code: Option<String> = row.try_get(column)?;
    code.map(|code| code.parse())
        .transpose()
        .map_err(|error| corrupt("users", error))
}

/// The columns `language` and `messenger_language`: what the user is written to in.
pub(crate) fn language_of_user(row: &AnyRow) -> Result<Language, StoreError> {
    Ok(language(row, "language")?
        .or(language(row, "messenger_language")?)
        .unwrap_or_default())
}

/// The columns `quiet_from` and `quiet_to`.
pub(crate) fn quiet_hours(row: &AnyRow) -> Result<Option<QuietHours>, StoreError> {
    let (from, to): (Option<i64>, Option<i64>) = (row.try_get("quiet_from")?, row.try_get("quiet_to")?);
    let (Some(from), Some(to)) = (from, to) else {
        return Ok(None);
    };
    let hours = match (u16::try_from(from), u16::try_from(to)) {
        (Ok(from), Ok(to)) => QuietHours::from_minutes(from, to),
        _ => None,
    };
    hours
        .map(Some)
        .ok_or_else(|| corrupt("users", format_args!("{from} to {to} are no quiet hours")))
}

/// A row of `users`.
pub(crate) fn user(row: &AnyRow) -> Result<User, StoreError> {
    let interval: Option<i64> = row.try_get("reminder_interval_secs")?;
    Ok(User {
        id: text(row, "users", "id")?,
        email: text(row, "users", "email")?,
        telegram_linked: row.try_get::<Option<i64>, _>("chat_id")?.is_some(),
        reminder_interval: interval
            .map(ReminderInterval::from_secs)
            .transpose()
            .map_err(|error| corrupt("users", error))?,
        chosen_language: language(row, "language")?,
        messenger_language: language(row, "messenger_language")?,
        time_zone: text(row, "users", "time_zone")?,
        quiet_hours: quiet_hours(row)?,
        chat_suspended_at: row
            .try_get::<Option<i64>, _>("chat_suspended_at")?
            .map(Timestamp::from_micros),
        created_at: time(row, "created_at")?,
    })
}

/// A row of `rules`.
pub(crate) fn rule(row: &AnyRow) -> Result<Rule, StoreError> {
    Ok(Rule {
        id: text(row, "rules", "id")?,
        user_id: text(row, "rules", "user_id")?,
        ticker: text(row, "rules", "ticker")?,
        range: range(row, "rules")?,
        note: text(row, "rules", "note")?,
        paused: flag(row, "paused")?,
        expired: flag(row, "expired")?,
        expires_at: row
            .try_get::<Option<i64>, _>("expires_at")?
            .map(Timestamp::from_micros),
        snooze: snooze(row)?,
        on_hold_since: row
            .try_get::<Option<i64>, _>("restated_at")?
            .map(Timestamp::from_micros),
        version: version(row, "rules", "version")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
    })
}

/// A row of `restatements`.
pub(crate) fn restatement(row: &AnyRow) -> Result<Restatement, StoreError> {
    const TABLE: &str = "restatements";
    let shares = |column| row.try_get::<Option<i64>, _>(column);
    let split = match (shares("new_shares")?, shares("old_shares")?) {
        (None, None) => None,
        (new, old) => {
            let number = |shares: Option<i64>| shares.and_then(|shares| u32::try_from(shares).ok());
            let split = number(new).zip(number(old));
            let split = split.and_then(|(new, old)| Split::new(new, old));
            Some(split.ok_or_else(|| corrupt(TABLE, format_args!("{new:?}:{old:?} is no split")))?)
        }
    };
    Ok(Restatement {
        ticker: text(row, TABLE, "ticker")?,
        from: price(row, TABLE, "from_price")?,
        to: price(row, TABLE, "to_price")?,
        split,
        event_time: time(row, "event_time")?,
        restated_at: time(row, "restated_at")?,
    })
}

/// As stored.
pub(crate) const fn trade_side_text(side: TradeSide) -> &'static str {
    match side {
        TradeSide::Buy => "buy",
        TradeSide::Sell => "sell",
    }
}

/// A row of `quotes` or `latest_quotes`.
pub(crate) fn quote(row: &AnyRow) -> Result<Quote, StoreError> {
    let trade_side = match row.try_get::<Option<String>, _>("trade_side")?.as_deref() {
        None => None,
        Some("buy") => Some(TradeSide::Buy),
        Some("sell") => Some(TradeSide::Sell),
        Some(other) => return Err(corrupt("quotes", format_args!("\"{other}\" is no trade side"))),
    };
    Ok(Quote {
        ticker: text(row, "quotes", "ticker")?,
        price: price(row, "quotes", "price")?,
        currency: row.try_get("currency")?,
        volume: row.try_get("volume")?,
        trade_side,
        event_time: time(row, "event_time")?,
        ingest_time: time(row, "ingest_time")?,
        source: row.try_get("source")?,
    })
}

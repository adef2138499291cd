//! The records of the alerts topic.

use cqrs::domain::{Alert, AlertPosition, Price, Side, Ticker};
use prost::Message as _;
use proto::v1;

use super::{DecodeError, currency, field, time, version};

/// What a record of the alerts topic holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AlertRecord {
    /// A rule's new state.
    State(Alert),
    /// Made up for a user who wants to see a message: of no rule, and nobody's state.
    Test(Alert),
}

/// Bytes of an alert's record.
#[must_use]
pub fn encode_alert(alert: &Alert) -> Vec<u8> {
    encode_alert_record(alert, false)
}

/// Bytes of a test's record. Its rule id, which is its key too, must be no rule's.
#[must_use]
pub fn encode_test_alert(alert: &Alert) -> Vec<u8> {
    encode_alert_record(alert, true)
}

fn encode_alert_record(alert: &Alert, test: bool) -> Vec<u8> {
    let side = match alert.side {
        Side::In => v1::Side::In,
        Side::Above => v1::Side::Above,
        Side::Below => v1::Side::Below,
    };
    v1::AlertRecord {
        rule_id: alert.rule_id.to_string(),
        user_id: alert.user_id.to_string(),
        ticker: alert.ticker.to_string(),
        rule_version: alert.position.version.get(),
        side: side.into(),
        price: alert.price.units(),
        threshold: alert.threshold.units(),
        quote_time_us: alert.quote_time.as_micros(),
        quote_offset: alert.position.offset,
        log_generation: alert.position.generation,
        quote_ingest_time_us: alert.quote_ingest_time.as_micros(),
        raise_time_us: alert.raised_at.as_micros(),
        already_outside: alert.already_outside,
        currency: alert.currency.clone(),
        test,
    }
    .encode_to_vec()
}

/// An alert's record from bytes.
///
/// # Errors
/// If the bytes are not such a record, or one that makes no sense.
pub fn decode_alert_record(bytes: &[u8]) -> Result<AlertRecord, DecodeError> {
    let record = v1::AlertRecord::decode(bytes)?;
    let ticker = record.ticker.parse()?;
    let alert = checked_alert(&record, ticker, |currency| currency.to_owned())?;
    Ok(if record.test {
        AlertRecord::Test(alert)
    } else {
        AlertRecord::State(alert)
    })
}

/// The alert of an alert's record, whether it is a test or not.
///
/// # Errors
/// As [`decode_alert_record`].
pub fn decode_alert(bytes: &[u8]) -> Result<Alert, DecodeError> {
    decode_alert_record(bytes).map(|record| match record {
        AlertRecord::State(alert) | AlertRecord::Test(alert) => alert,
    })
}

/// All that makes an alert valid. `keep` says what of its currency is kept: a reader of states needs no copy.
pub(super) fn checked_alert(
    record: &v1::AlertRecord,
    ticker: Ticker,
    keep: impl FnOnce(&str) -> String,
) -> Result<Alert, DecodeError> {
    let side = match record.side() {
        v1::Side::In => Side::In,
        v1::Side::Above => Side::Above,
        v1::Side::Below => Side::Below,
        v1::Side::Unspecified => return Err(field("side", &record.side)),
    };
    if record.quote_offset < 0 {
        return Err(field("quote_offset", &record.quote_offset));
    }
    Ok(Alert {
        rule_id: record.rule_id.parse()?,
        user_id: record.user_id.parse()?,
        ticker,
        position: AlertPosition {
            version: version(record.rule_version)?,
            generation: record.log_generation,
            offset: record.quote_offset,
        },
        side,
        price: Price::from_units(record.price)?,
        threshold: Price::from_units(record.threshold)?,
        currency: keep(currency(&record.currency)?),
        quote_time: time("quote_time_us", record.quote_time_us)?,
        quote_ingest_time: time("quote_ingest_time_us", record.quote_ingest_time_us)?,
        raised_at: time("raise_time_us", record.raise_time_us)?,
        already_outside: record.already_outside,
    })
}

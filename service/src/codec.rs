//! Domain types to and from the bytes of the topics' records.
//!
//! Decoding checks everything: what comes out of a topic is as trustworthy as what a user typed, once it is a domain
//! type.

mod alerts;
mod feeds;
mod plain;
mod reader;

pub use alerts::{AlertRecord, decode_alert, decode_alert_record, encode_alert, encode_test_alert};
pub use feeds::{decode_feed, encode_feed, feed_key};
pub use reader::{QuoteDecoder, QuoteView, StateDecoder};

use cqrs::domain::{
    ParseIdError, ParsePriceError, ParseTickerError, Price, Quote, Range, RangeError, RuleId, RuleSnapshot,
    RuleVersion, Ticker, TickerMark, Timestamp, TradeSide,
};
use prost::Message as _;
use proto::v1;

use plain::PlainQuote;

/// Why a record's bytes are not what the topic holds.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// No value where one is needed.
    #[error("the record has no value")]
    Empty,
    /// Not the protobuf message.
    #[error("the value is not a protobuf message of this topic: {0}")]
    Protobuf(#[from] prost::DecodeError),
    /// A ticker that is none.
    #[error(transparent)]
    Ticker(#[from] ParseTickerError),
    /// A price that is none.
    #[error(transparent)]
    Price(#[from] ParsePriceError),
    /// An id that is none.
    #[error(transparent)]
    Id(#[from] ParseIdError),
    /// Thresholds that make no range.
    #[error(transparent)]
    Range(#[from] RangeError),
    /// Any other field.
    #[error("the field {field} holds {value}, which makes no sense")]
    Field {
        /// The field.
        field: &'static str,
        /// What it holds, cut to 64 characters.
        value: String,
    },
    /// The key is not the one that belongs to the value.
    #[error("the key does not belong to the value")]
    Key,
}

fn field(field: &'static str, value: &impl ToString) -> DecodeError {
    DecodeError::Field {
        field,
        value: value.to_string().chars().take(64).collect(),
    }
}

/// Bytes of a rule's record.
#[must_use]
pub fn encode_rule(rule: &RuleSnapshot) -> Vec<u8> {
    v1::RuleRecord {
        rule_id: rule.rule_id.to_string(),
        user_id: rule.user_id.to_string(),
        ticker: rule.ticker.to_string(),
        low: rule.range.low().map(Price::units),
        high: rule.range.high().map(Price::units),
        version: rule.version.get(),
        inactive: !rule.active,
        expire_time_us: rule.expires_at.map(Timestamp::as_micros),
        update_time_us: rule.updated_at.as_micros(),
        log_generation: rule.generation,
    }
    .encode_to_vec()
}

/// A rule's record from bytes.
///
/// # Errors
/// If the bytes are not such a record, or one that makes no sense.
pub fn decode_rule(bytes: &[u8]) -> Result<RuleSnapshot, DecodeError> {
    let record = v1::RuleRecord::decode(bytes)?;
    let ticker = record.ticker.parse()?;
    checked_rule(&record, ticker)
}

fn checked_rule(record: &v1::RuleRecord, ticker: Ticker) -> Result<RuleSnapshot, DecodeError> {
    let price = |units: Option<i64>| units.map(Price::from_units).transpose();
    Ok(RuleSnapshot {
        rule_id: record.rule_id.parse()?,
        user_id: record.user_id.parse()?,
        ticker,
        range: Range::new(price(record.low)?, price(record.high)?)?,
        version: version(record.version)?,
        active: !record.inactive,
        expires_at: record.expire_time_us.map(Timestamp::from_micros),
        updated_at: Timestamp::from_micros(record.update_time_us),
        generation: record.log_generation,
    })
}

fn version(number: i64) -> Result<RuleVersion, DecodeError> {
    RuleVersion::try_from(number).map_err(|number| field("version", &number))
}

/// The rule that a record of the rules or alerts topic is about, from the record's key.
///
/// # Errors
/// If the key is no rule id.
pub fn decode_rule_key(key: Option<&[u8]>) -> Result<RuleId, DecodeError> {
    let text = key
        .and_then(|key| std::str::from_utf8(key).ok())
        .ok_or(DecodeError::Key)?;
    Ok(text.parse()?)
}

/// Bytes of a quote's record.
#[must_use]
pub fn encode_quote(quote: &Quote) -> Vec<u8> {
    quote_record(quote).encode_to_vec()
}

/// Bytes of the record of a quote whose price is counted otherwise than those before it, which was known at `restated_at`:
/// rules from before that time must not be compared with it, nor with any after it.
#[must_use]
pub fn encode_restated_quote(quote: &Quote, restated_at: Timestamp) -> Vec<u8> {
    let record = v1::QuoteRecord {
        restate_time_us: Some(restated_at.as_micros()),
        ..quote_record(quote)
    };
    record.encode_to_vec()
}

fn quote_record(quote: &Quote) -> v1::QuoteRecord {
    let trade_side = match quote.trade_side {
        None => v1::TradeSide::Unspecified,
        Some(TradeSide::Buy) => v1::TradeSide::Buy,
        Some(TradeSide::Sell) => v1::TradeSide::Sell,
    };
    v1::QuoteRecord {
        ticker: quote.ticker.to_string(),
        price: quote.price.units(),
        event_time_us: quote.event_time.as_micros(),
        ingest_time_us: quote.ingest_time.as_micros(),
        source: quote.source.clone(),
        currency: quote.currency.clone(),
        volume: quote.volume,
        trade_side: trade_side.into(),
        restate_time_us: None,
    }
}

/// A quote's record from bytes.
///
/// # Errors
/// If the bytes are not such a record, or one that makes no sense.
pub fn decode_quote(bytes: &[u8]) -> Result<Quote, DecodeError> {
    let record = v1::QuoteRecord::decode(bytes)?;
    let ticker = record.ticker.parse()?;
    let checked = checked_quote((&record).into())?;
    Ok(Quote {
        ticker,
        price: checked.price,
        event_time: checked.event_time,
        ingest_time: checked.ingest_time,
        trade_side: match record.trade_side() {
            v1::TradeSide::Unspecified => None,
            v1::TradeSide::Buy => Some(TradeSide::Buy),
            v1::TradeSide::Sell => Some(TradeSide::Sell),
        },
        volume: record.volume,
        currency: record.currency,
        source: record.source,
    })
}

/// All that makes a quote valid, but for its ticker's spelling.
fn checked_quote(quote: PlainQuote<'_>) -> Result<QuoteView<'_>, DecodeError> {
    if quote.volume.is_some_and(|volume| volume < 0) {
        return Err(field("volume", &quote.volume.unwrap_or_default()));
    }
    if quote.source.len() > 32 || has_control(quote.source) {
        return Err(field("source", &quote.source));
    }
    Ok(QuoteView {
        ticker: quote.ticker,
        price: Price::from_units(quote.price)?,
        currency: currency(quote.currency)?,
        event_time: time("event_time_us", quote.event_time_us)?,
        ingest_time: time("ingest_time_us", quote.ingest_time_us)?,
        restated_at: optional_time("restate_time_us", quote.restate_time_us)?,
    })
}

fn currency(text: &str) -> Result<&str, DecodeError> {
    if text.len() > 16 || has_control(text) {
        return Err(field("currency", &text));
    }
    Ok(text)
}

fn has_control(text: &str) -> bool {
    if text.is_ascii() {
        text.bytes().any(|byte| byte.is_ascii_control())
    } else {
        text.chars().any(char::is_control)
    }
}

/// Times before the epoch are nobody's, and times after the year 9999 can't be shown.
fn time(name: &'static str, micros: i64) -> Result<Timestamp, DecodeError> {
    const END_OF_9999: i64 = 253_402_207_200_000_000;
    if (0..END_OF_9999).contains(&micros) {
        Ok(Timestamp::from_micros(micros))
    } else {
        Err(field(name, &micros))
    }
}

fn optional_time(name: &'static str, micros: Option<i64>) -> Result<Option<Timestamp>, DecodeError> {
    micros.map(|micros| time(name, micros)).transpose()
}

/// Bytes of a ticker's record.
#[must_use]
pub fn encode_ticker(mark: &TickerMark) -> Vec<u8> {
    v1::TickerRecord {
        ticker: mark.ticker.to_string(),
        price: mark.price.units(),
        event_time_us: mark.event_time.as_micros(),
        quote_offset: mark.offset,
        quote_ingest_time_us: mark.ingest_time.as_micros(),
        restate_time_us: mark.restated_at.map(Timestamp::as_micros),
    }
    .encode_to_vec()
}

/// A ticker's record from bytes.
///
/// # Errors
/// If the bytes are not such a record, or one that makes no sense.
pub fn decode_ticker(bytes: &[u8]) -> Result<TickerMark, DecodeError> {
    let record = v1::TickerRecord::decode(bytes)?;
    let ticker = record.ticker.parse()?;
    checked_ticker(&record, ticker)
}

fn checked_ticker(record: &v1::TickerRecord, ticker: Ticker) -> Result<TickerMark, DecodeError> {
    if record.quote_offset < TickerMark::NOT_OF_THIS_LOG {
        return Err(field("quote_offset", &record.quote_offset));
    }
    Ok(TickerMark {
        ticker,
        price: Price::from_units(record.price)?,
        event_time: time("event_time_us", record.event_time_us)?,
        ingest_time: time("quote_ingest_time_us", record.quote_ingest_time_us)?,
        offset: record.quote_offset,
        restated_at: optional_time("restate_time_us", record.restate_time_us)?,
    })
}

#[cfg(test)]
mod tests {
    use cqrs::domain::{Alert, AlertPosition, Side};

    use super::*;

    fn quote() -> Quote {
        Quote {
            ticker: "AIG".parse().unwrap(),
            price: "48.87".parse().unwrap(),
            currency: "GBp".into(),
            volume: Some(663_487_803),
            trade_side: Some(TradeSide::Sell),
            event_time: "2013-10-07T08:03:01.540Z".parse().unwrap(),
            ingest_time: Timestamp::now(),
            source: "replay".into(),
        }
    }

    #[test]
    fn a_quote_survives_the_trip() {
        let sent = quote();
        assert_eq!(decode_quote(&encode_quote(&sent)).unwrap(), sent);
        let restated_at = Timestamp::from_micros(8);
        let restated = encode_restated_quote(&sent, restated_at);
        assert_eq!(decode_quote(&restated).unwrap(), sent);
        let mut decoder = QuoteDecoder::default();
        assert_eq!(decoder.decode(&restated).unwrap().restated_at, Some(restated_at));
        assert_eq!(decoder.decode(&encode_quote(&sent)).unwrap().restated_at, None);
    }

    #[test]
    fn records_that_make_no_sense_are_refused() {
        let record = |change: &dyn Fn(&mut v1::QuoteRecord)| {
            let mut record = v1::QuoteRecord::decode(encode_quote(&quote()).as_slice()).unwrap();
            change(&mut record);
            decode_quote(&record.encode_to_vec())
        };
        assert!(record(&|_| ()).is_ok());
        assert!(matches!(record(&|r| r.price = 0), Err(DecodeError::Price(_))));
        assert!(matches!(record(&|r| r.price = -1), Err(DecodeError::Price(_))));
        assert!(matches!(
            record(&|r| r.ticker = "aig".into()),
            Err(DecodeError::Ticker(_))
        ));
        assert!(matches!(
            record(&|r| r.volume = Some(-1)),
            Err(DecodeError::Field { field: "volume", .. })
        ));
        assert!(matches!(
            record(&|r| r.event_time_us = -1),
            Err(DecodeError::Field { .. })
        ));
        assert!(matches!(
            record(&|r| r.event_time_us = i64::MAX),
            Err(DecodeError::Field { .. })
        ));
        let mut reused = QuoteDecoder::default();
        assert!(reused.decode(b"\xff\xff garbage").is_err());
        assert!(decode_quote(b"\xff\xff garbage").is_err());
        assert!(decode_quote(b"").is_err());
        assert!(decode_rule(b"").is_err() && decode_alert(b"").is_err() && decode_ticker(b"").is_err());
    }

    #[test]
    fn rules_alerts_and_marks_survive_the_trip() {
        let rule = RuleSnapshot {
            rule_id: RuleId::generate(),
            user_id: cqrs::domain::UserId::generate(),
            ticker: "BRK-B".parse().unwrap(),
            range: Range::new(None, Some("500".parse().unwrap())).unwrap(),
            version: RuleVersion::FIRST.next(),
            active: false,
            expires_at: Some(Timestamp::from_micros(5)),
            updated_at: Timestamp::from_micros(7),
            generation: 3,
        };
        assert_eq!(decode_rule(&encode_rule(&rule)).unwrap(), rule);
        let alert = Alert {
            rule_id: rule.rule_id,
            user_id: rule.user_id,
            ticker: rule.ticker.clone(),
            position: AlertPosition {
                version: rule.version,
                generation: 3,
                offset: 9,
            },
            side: Side::Below,
            price: "1.5".parse().unwrap(),
            threshold: "2".parse().unwrap(),
            currency: "USD".into(),
            quote_time: Timestamp::from_micros(1),
            quote_ingest_time: Timestamp::from_micros(2),
            raised_at: Timestamp::from_micros(3),
            already_outside: true,
        };
        assert_eq!(
            decode_alert_record(&encode_alert(&alert)).unwrap(),
            AlertRecord::State(alert.clone())
        );
        let test = encode_test_alert(&alert);
        assert_eq!(decode_alert(&test).unwrap(), alert);
        let key = alert.rule_id.to_string();
        let mut decoder = StateDecoder::default();
        let mut state = |bytes: &[u8]| decoder.state(Some(key.as_bytes()), bytes).unwrap();
        assert_eq!(state(&test), None);
        assert_eq!(
            state(&encode_alert(&alert)),
            Some((alert.rule_id, alert.position, alert.side)),
            "the test before it left nothing behind"
        );
        assert_eq!(decode_alert_record(&test).unwrap(), AlertRecord::Test(alert));
        let mark = TickerMark {
            ticker: rule.ticker,
            price: "2".parse().unwrap(),
            event_time: Timestamp::from_micros(1),
            ingest_time: Timestamp::from_micros(2),
            offset: 0,
            restated_at: None,
        };
        let restated = TickerMark {
            restated_at: Some(Timestamp::from_micros(4)),
            ..mark.clone()
        };
        let before = TickerMark {
            offset: TickerMark::NOT_OF_THIS_LOG,
            ..mark.clone()
        };
        for mark in [mark, restated, before] {
            assert_eq!(decode_ticker(&encode_ticker(&mark)).unwrap(), mark);
        }
    }
}

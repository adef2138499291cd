//! Decoders that are kept and used for one record after the other, so that millions of records cost no allocation each.

use std::collections::HashMap;

use cqrs::domain::{
    AlertPosition, ParseTickerError, Price, RuleId, RuleSnapshot, Side, Ticker, TickerMark, Timestamp,
};
use prost::Message as _;
use proto::v1;

use super::alerts::checked_alert;
use super::plain::read_quote;
use super::{DecodeError, checked_quote, checked_rule, checked_ticker};

/// A valid quote that borrows the record's bytes, or its decoder's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuoteView<'a> {
    /// As the record spells it. **Not checked**: a ticker that is known needs no check, any other is to be parsed.
    pub ticker: &'a str,
    /// In `currency`.
    pub price: Price,
    /// As the source spells it; empty: not known.
    pub currency: &'a str,
    /// When the price was made, by the source's clock.
    pub event_time: Timestamp,
    /// When it entered this system.
    pub ingest_time: Timestamp,
    /// Rules from before then must not be compared with this quote, nor with any after it.
    pub restated_at: Option<Timestamp>,
}

/// Decodes quotes, one at a time.
#[derive(Debug, Default)]
pub struct QuoteDecoder {
    record: v1::QuoteRecord,
}

impl QuoteDecoder {
    /// A quote's record from bytes, with all checks of `decode_quote` but the ticker's spelling.
    ///
    /// # Errors
    /// If the bytes are not such a record, or one that makes no sense.
    pub fn decode<'a>(&'a mut self, bytes: &'a [u8]) -> Result<QuoteView<'a>, DecodeError> {
        if let Some(quote) = read_quote(bytes) {
            return checked_quote(quote);
        }
        self.record.clear();
        self.record.merge(bytes)?;
        checked_quote((&self.record).into())
    }
}

/// Decodes what rules and their states are rebuilt from. Each ticker is parsed once.
#[derive(Debug, Default)]
pub struct StateDecoder {
    rule: v1::RuleRecord,
    alert: v1::AlertRecord,
    mark: v1::TickerRecord,
    tickers: HashMap<Box<str>, Ticker>,
}

impl StateDecoder {
    /// The value of a rule's record, as `decode_rule`, whose key must be the rule's id.
    ///
    /// # Errors
    /// If the bytes are not such a record, or one that makes no sense.
    pub fn rule(&mut self, key: Option<&[u8]>, bytes: &[u8]) -> Result<RuleSnapshot, DecodeError> {
        self.rule.clear();
        self.rule.merge(bytes)?;
        check_key(key, &self.rule.rule_id)?;
        let ticker = intern(&mut self.tickers, &self.rule.ticker)?;
        checked_rule(&self.rule, ticker)
    }

    /// The state that an alert's record holds, with the checks of `decode_alert`; its key must be the rule's id. None: it
    /// is a test, which is no rule's state.
    ///
    /// # Errors
    /// If the bytes are not such a record, or one that makes no sense.
    pub fn state(
        &mut self,
        key: Option<&[u8]>,
        bytes: &[u8],
    ) -> Result<Option<(RuleId, AlertPosition, Side)>, DecodeError> {
        self.alert.clear();
        self.alert.merge(bytes)?;
        check_key(key, &self.alert.rule_id)?;
        if self.alert.test {
            return Ok(None);
        }
        let ticker = intern(&mut self.tickers, &self.alert.ticker)?;
        let alert = checked_alert(&self.alert, ticker, |_| String::new())?;
        Ok(Some((alert.rule_id, alert.position, alert.side)))
    }

    /// The value of a ticker's record, as `decode_ticker`.
    ///
    /// # Errors
    /// If the bytes are not such a record, or one that makes no sense.
    pub fn mark(&mut self, bytes: &[u8]) -> Result<TickerMark, DecodeError> {
        self.mark.clear();
        self.mark.merge(bytes)?;
        let ticker = intern(&mut self.tickers, &self.mark.ticker)?;
        checked_ticker(&self.mark, ticker)
    }
}

fn check_key(key: Option<&[u8]>, id: &str) -> Result<(), DecodeError> {
    // An id has one spelling.
    if key == Some(id.as_bytes()) {
        Ok(())
    } else {
        Err(DecodeError::Key)
    }
}

fn intern(tickers: &mut HashMap<Box<str>, Ticker>, text: &str) -> Result<Ticker, ParseTickerError> {
    if let Some(known) = tickers.get(text) {
        return Ok(known.clone());
    }
    let ticker: Ticker = text.parse()?;
    tickers.insert(text.into(), ticker.clone());
    Ok(ticker)
}

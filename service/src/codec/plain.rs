use proto::v1;

/// The fields of a quote's record, borrowed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct PlainQuote<'a> {
    pub(super) ticker: &'a str,
    pub(super) price: i64,
    pub(super) event_time_us: i64,
    pub(super) ingest_time_us: i64,
    pub(super) source: &'a str,
    pub(super) currency: &'a str,
    pub(super) volume: Option<i64>,
    pub(super) restate_time_us: Option<i64>,
}

impl<'a> From<&'a v1::QuoteRecord> for PlainQuote<'a> {
    fn from(record: &'a v1::QuoteRecord) -> Self {
        Self {
            ticker: &record.ticker,
            price: record.price,
            event_time_us: record.event_time_us,
            ingest_time_us: record.ingest_time_us,
            source: &record.source,
            currency: &record.currency,
            volume: record.volume,
            restate_time_us: record.restate_time_us,
        }
    }
}

/// Reads a quote's record as this system's own services write it, without copying: a quote is the one record whose decoding
/// counts. None for anything unusual, right or wrong: that is for the real decoder to say.
pub(super) fn read_quote(mut bytes: &[u8]) -> Option<PlainQuote<'_>> {
    const VARINT: u8 = 0;
    const TEXT: u8 = 2;
    let mut quote = PlainQuote::default();
    while let Some((key, rest)) = bytes.split_first() {
        bytes = rest;
        match (key >> 3, key & 7) {
            (1, TEXT) => quote.ticker = text(&mut bytes)?,
            (2, VARINT) => quote.price = number(&mut bytes)?,
            (3, VARINT) => quote.event_time_us = number(&mut bytes)?,
            (4, VARINT) => quote.ingest_time_us = number(&mut bytes)?,
            (5, TEXT) => quote.source = text(&mut bytes)?,
            (6, TEXT) => quote.currency = text(&mut bytes)?,
            (7, VARINT) => quote.volume = Some(number(&mut bytes)?),
            (8, VARINT) => {
                number(&mut bytes)?;
            }
            _ => return None,
        }
    }
    Some(quote)
}

fn text<'a>(bytes: &mut &'a [u8]) -> Option<&'a str> {
    // No text of a quote needs a length of two bytes.
    let (length, rest) = bytes.split_first().filter(|(length, _)| **length < 0x80)?;
    let (text, rest) = rest.split_at_checked(usize::from(*length))?;
    *bytes = rest;
    std::str::from_utf8(text).ok()
}

/// Seven bits a byte, the lowest first. All 64 only where the number is negative, which none is here.
fn number(bytes: &mut &[u8]) -> Option<i64> {
    let mut number = 0;
    for shift in (0..63).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= i64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;

    fn record() -> impl Strategy<Value = v1::QuoteRecord> {
        let number = prop_oneof![0..300_i64, any::<i64>(), Just(i64::MAX), Just(-1)];
        let text = prop_oneof![Just(String::new()), "[A-Z]{1,12}", "\\PC{0,60}"];
        (
            (text.clone(), number.clone(), number.clone(), number.clone()),
            (text.clone(), text, prop::option::of(number.clone()), -1..4),
            prop::option::of(number),
        )
            .prop_map(
                |((ticker, price, event, ingest), (source, currency, volume, side), restated)| {
                    v1::QuoteRecord {
                        ticker,
                        price,
                        event_time_us: event,
                        ingest_time_us: ingest,
                        source,
                        currency,
                        volume,
                        trade_side: side,
                        restate_time_us: restated,
                    }
                },
            )
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_the_real_decoder_reads(
            record in record(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
            length in any::<prop::sample::Index>(),
            cut in any::<bool>(),
        ) {
            let mut bytes = record.encode_to_vec();
            for (index, byte) in changes {
                if !bytes.is_empty() {
                    let index = index.index(bytes.len());
                    bytes[index] = byte;
                }
            }
            if cut && !bytes.is_empty() {
                bytes.truncate(length.index(bytes.len()));
            }
            if let Some(read) = read_quote(&bytes) {
                let decoded = v1::QuoteRecord::decode(bytes.as_slice()).expect("the real decoder reads more");
                prop_assert_eq!(read, PlainQuote::from(&decoded));
            }
        }

        #[test]
        fn the_records_of_this_system_are_read(
            price in 1..i64::MAX, event in 0..i64::MAX, ingest in 0..i64::MAX, volume in prop::option::of(0..i64::MAX),
        ) {
            let record = v1::QuoteRecord {
                ticker: "BRK-B".into(),
                price,
                event_time_us: event,
                ingest_time_us: ingest,
                source: "synthetic".into(),
                currency: "USD".into(),
                volume,
                trade_side: 1,
                restate_time_us: None,
            };
            let bytes = record.encode_to_vec();
            prop_assert_eq!(read_quote(&bytes), Some(PlainQuote::from(&record)));
        }
    }
}

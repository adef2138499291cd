use cqrs::domain::Timestamp;
use prost::Message as _;
use proto::v1;
use proto::v1::feed_record::About;

use super::DeadLetter;
use super::content::Kind;

/// Names as in `records.proto`, but for units: prices are decimals and times RFC 3339 here. None: not given.
type Fields = Vec<(&'static str, Option<String>)>;

impl DeadLetter {
    /// The fields of the value, for people, also where the record makes no sense, if only the value is a message of its
    /// topic. None where it is not, where the topic is none of this system's, and for a tombstone.
    #[must_use]
    pub fn fields(&self) -> Option<Fields> {
        let payload = self.payload.as_deref()?;
        match Kind::named(&self.origin.as_ref()?.topic)? {
            Kind::Rules => v1::RuleRecord::decode(payload).ok().map(rule),
            Kind::Quotes => v1::QuoteRecord::decode(payload).ok().map(quote),
            Kind::Alerts => v1::AlertRecord::decode(payload).ok().map(alert),
            Kind::Tickers => v1::TickerRecord::decode(payload).ok().map(ticker),
            Kind::Feeds => v1::FeedRecord::decode(payload).ok().map(feed),
        }
    }
}

fn rule(record: v1::RuleRecord) -> Fields {
    vec![
        ("rule_id", Some(record.rule_id)),
        ("user_id", Some(record.user_id)),
        ("ticker", Some(record.ticker)),
        ("low", record.low.map(decimal)),
        ("high", record.high.map(decimal)),
        ("version", Some(record.version.to_string())),
        ("inactive", Some(record.inactive.to_string())),
        ("expire_time", record.expire_time_us.map(time)),
        ("update_time", Some(time(record.update_time_us))),
        ("log_generation", Some(record.log_generation.to_string())),
    ]
}

fn quote(record: v1::QuoteRecord) -> Fields {
    let trade_side = v1::TradeSide::try_from(record.trade_side).map_or_else(
        |_| record.trade_side.to_string(),
        |side| side.as_str_name().to_owned(),
    );
    vec![
        ("ticker", Some(record.ticker)),
        ("price", Some(decimal(record.price))),
        ("event_time", Some(time(record.event_time_us))),
        ("ingest_time", Some(time(record.ingest_time_us))),
        ("source", Some(record.source)),
        ("currency", Some(record.currency)),
        ("volume", record.volume.map(decimal)),
        ("trade_side", Some(trade_side)),
        ("restate_time", record.restate_time_us.map(time)),
    ]
}

fn alert(record: v1::AlertRecord) -> Fields {
    let side = v1::Side::try_from(record.side)
        .map_or_else(|_| record.side.to_string(), |side| side.as_str_name().to_owned());
    vec![
        ("rule_id", Some(record.rule_id)),
        ("user_id", Some(record.user_id)),
        ("ticker", Some(record.ticker)),
        ("rule_version", Some(record.rule_version.to_string())),
        ("side", Some(side)),
        ("price", Some(decimal(record.price))),
        ("threshold", Some(decimal(record.threshold))),
        ("quote_time", Some(time(record.quote_time_us))),
        ("quote_offset", Some(record.quote_offset.to_string())),
        ("log_generation", Some(record.log_generation.to_string())),
        ("quote_ingest_time", Some(time(record.quote_ingest_time_us))),
        ("raise_time", Some(time(record.raise_time_us))),
        ("already_outside", Some(record.already_outside.to_string())),
        ("currency", Some(record.currency)),
        ("test", Some(record.test.to_string())),
    ]
}

fn ticker(record: v1::TickerRecord) -> Fields {
    vec![
        ("ticker", Some(record.ticker)),
        ("price", Some(decimal(record.price))),
        ("event_time", Some(time(record.event_time_us))),
        ("quote_offset", Some(record.quote_offset.to_string())),
        ("quote_ingest_time", Some(time(record.quote_ingest_time_us))),
        ("restate_time", record.restate_time_us.map(time)),
    ]
}

fn feed(record: v1::FeedRecord) -> Fields {
    match record.about {
        Some(About::Provider(feed)) => {
            let breaker = v1::BreakerState::try_from(feed.breaker).map_or_else(
                |_| feed.breaker.to_string(),
                |state| state.as_str_name().to_owned(),
            );
            vec![
                ("provider", Some(feed.provider)),
                ("instance", Some(feed.instance)),
                ("breaker", Some(breaker)),
                ("reason", Some(feed.reason).filter(|reason| !reason.is_empty())),
                ("tickers", Some(feed.tickers.to_string())),
                ("last_success_time", feed.last_success_time_us.map(time)),
                ("update_time", Some(time(feed.update_time_us))),
            ]
        }
        Some(About::Ticker(feed)) => vec![
            ("ticker", Some(feed.ticker)),
            ("stale_since", feed.stale_since_us.map(time)),
            ("update_time", Some(time(feed.update_time_us))),
        ],
        Some(About::Restated(restated)) => vec![
            ("ticker", Some(restated.ticker)),
            ("from_price", Some(decimal(restated.from_price))),
            ("to_price", Some(decimal(restated.to_price))),
            ("new_shares", restated.new_shares.map(|shares| shares.to_string())),
            ("old_shares", restated.old_shares.map(|shares| shares.to_string())),
            ("event_time", Some(time(restated.event_time_us))),
            ("update_time", Some(time(restated.update_time_us))),
        ],
        None => Vec::new(),
    }
}

fn time(micros: i64) -> String {
    Timestamp::from_micros(micros).to_string()
}

/// Units of 1e-8 as a decimal. Unlike a `Price`, it may be zero or negative: that is what may be wrong with it.
fn decimal(units: i64) -> String {
    const ONE: u64 = 100_000_000;
    let sign = if units < 0 { "-" } else { "" };
    let (whole, rest) = (units.unsigned_abs() / ONE, units.unsigned_abs() % ONE);
    let text = format!("{sign}{whole}.{rest:08}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_that_make_no_sense_are_shown_all_the_same() {
        for (units, text) in [
            (0, "0"),
            (-1, "-0.00000001"),
            (4_887_000_000, "48.87"),
            (-100_000_000, "-1"),
            (i64::MIN, "-92233720368.54775808"),
        ] {
            assert_eq!(decimal(units), text);
        }
    }
}

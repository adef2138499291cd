//! What came of a day, beside what the oracle says.

use std::collections::{BTreeSet, HashMap};

use e2e::log;
use e2e::oracle::{Expected, OracleQuote, OracleRule, transitions};
use service::codec::{decode_alert, decode_quote};
use service::topics::{ALERTS, QUOTES};

use super::System;

impl System {
    pub(crate) fn compare_with_the_oracle(&self, run: &str) {
        let quotes = self.oracle_quotes();
        let rules: Vec<OracleRule> = self.users.iter().map(|user| user.rule.clone()).collect();
        let expected = transitions(&rules, &quotes);
        let records = log::read_all(&self.servers.bootstrap_servers, ALERTS).unwrap();
        let alerts: Vec<Expected> = records
            .iter()
            .map(|record| decode_alert(record.payload.as_ref().unwrap()).unwrap())
            .map(|alert| {
                (
                    alert.rule_id.to_string(),
                    alert.position.offset,
                    side_name(alert.side),
                )
            })
            .collect();
        let distinct: BTreeSet<Expected> = alerts.iter().cloned().collect();
        let recorded = self.servers.sql("select count(*) from quotes").unwrap();
        let ambiguous = self
            .servers
            .sql("select coalesce(sum(ambiguous_sends), 0) from deliveries")
            .unwrap();
        let ambiguous: usize = ambiguous.trim().parse().unwrap();
        let Messages {
            messages,
            copies,
            held,
        } = self.compare_messages(&expected);
        println!(
            "{run}: {} quotes, {} users; oracle {} alerts, topic {} ({} repeated); Telegram {messages} messages of {} \
             alerts, {held} held while the rule flaps ({copies} copies, {ambiguous} ambiguous sends)",
            quotes.len(),
            self.users.len(),
            expected.len(),
            alerts.len(),
            alerts.len() - distinct.len(),
            expected.len() - held,
        );
        assert!(!expected.is_empty());
        assert_eq!(distinct, expected);
        assert_eq!(alerts.len(), distinct.len(), "an alert was written twice");
        assert_eq!(
            recorded.trim(),
            self.trades.to_string(),
            "the history has each quote once"
        );
        assert!(
            copies <= ambiguous,
            "{copies} copies, but only {ambiguous} ambiguous sends"
        );
        assert!(messages > copies, "nothing was told");
    }

    fn oracle_quotes(&self) -> Vec<OracleQuote> {
        let records = log::read_all(&self.servers.bootstrap_servers, QUOTES).unwrap();
        assert_eq!(i64::try_from(records.len()).unwrap(), self.trades);
        records
            .iter()
            .map(|record| {
                let quote = decode_quote(record.payload.as_ref().unwrap()).unwrap();
                OracleQuote {
                    ticker: quote.ticker.to_string(),
                    price: quote.price.units(),
                    event_time_us: quote.event_time.as_micros(),
                    offset: record.offset,
                }
            })
            .collect()
    }

    /// Every alert has one delivery in the ledger, in its order: told in a message that came, alone or with others, or held
    /// with all that follow. The message says the side that its last alert says.
    fn compare_messages(&self, expected: &BTreeSet<Expected>) -> Messages {
        let mut by_rule: HashMap<&str, Vec<(i64, &str)>> = HashMap::new();
        for (rule, offset, side) in expected {
            by_rule.entry(rule).or_default().push((*offset, side));
        }
        let deliveries = self.deliveries();
        let mut found = Messages::default();
        for user in &self.users {
            let of_rule = deliveries
                .get(&user.rule.id)
                .map(Vec::as_slice)
                .unwrap_or_default();
            let wanted = by_rule.get(user.rule.id.as_str()).cloned().unwrap_or_default();
            let planned: Vec<(i64, &str)> = of_rule
                .iter()
                .map(|delivery| (delivery.offset, delivery.side.as_str()))
                .collect();
            assert_eq!(planned, wanted, "chat {}", user.chat);
            let told = of_rule
                .iter()
                .take_while(|delivery| delivery.status == "sent")
                .count();
            let rest = &of_rule[told..];
            assert!(
                rest.iter()
                    .all(|delivery| delivery.status == "planned" && delivery.held == "flapping"),
                "chat {}: {of_rule:#?}",
                user.chat
            );
            found.held += rest.len();
            let mut recorded: Vec<(i64, &str)> = Vec::new();
            for delivery in &of_rule[..told] {
                match recorded.last_mut() {
                    Some((message, side)) if *message == delivery.message => *side = &delivery.side,
                    _ => recorded.push((delivery.message, &delivery.side)),
                }
            }
            assert!(
                recorded.is_sorted_by(|one, next| one.0 < next.0),
                "chat {}: messages came in another order: {recorded:?}",
                user.chat
            );
            let came: Vec<(i64, &str)> = self
                .telegram
                .messages_to(user.chat)
                .iter()
                .filter_map(|message| Some((message.message_id, side_told(&message.text)?)))
                .collect();
            for message in &recorded {
                assert!(
                    came.contains(message),
                    "chat {}: {message:?} is not among {came:?}",
                    user.chat
                );
            }
            found.messages += came.len();
            found.copies += came.len() - recorded.len();
        }
        found
    }

    /// Of changes of side, by rule, in the order in which they were planned.
    fn deliveries(&self) -> HashMap<String, Vec<Delivery>> {
        let rows = self.servers.sql(
            "select rule_id, quote_offset, side, status, coalesce(message_id, 0), coalesce(held, '') from deliveries \
             where kind in ('breach', 'jump', 'back') order by rule_id, planned_at, id",
        );
        let mut found: HashMap<String, Vec<Delivery>> = HashMap::new();
        for row in rows.unwrap().lines() {
            let fields: Vec<&str> = row.split('\t').collect();
            let delivery = Delivery {
                offset: fields[1].parse().unwrap(),
                side: fields[2].to_owned(),
                status: fields[3].to_owned(),
                message: fields[4].parse().unwrap(),
                held: fields[5].to_owned(),
            };
            found.entry(fields[0].to_owned()).or_default().push(delivery);
        }
        found
    }
}

/// What chats got of alerts.
#[derive(Debug, Default)]
struct Messages {
    messages: usize,
    /// Messages that the ledger does not know of: the same was sent again.
    copies: usize,
    /// Alerts that wait because too many messages told of their rule lately.
    held: usize,
}

/// What became of one alert.
#[derive(Debug)]
struct Delivery {
    offset: i64,
    side: String,
    status: String,
    message: i64,
    held: String,
}

fn side_name(side: cqrs::domain::Side) -> &'static str {
    match side {
        cqrs::domain::Side::In => "in",
        cqrs::domain::Side::Above => "above",
        cqrs::domain::Side::Below => "below",
    }
}

/// The side that an alert's message tells; none for other messages.
fn side_told(text: &str) -> Option<&'static str> {
    let headline = text.lines().next()?;
    assert!(
        !headline.contains("Reminder"),
        "no reminder is due within minutes: {text}"
    );
    match headline.chars().next()? {
        '●' => Some("in"),
        '▲' => Some("above"),
        '▼' => Some("below"),
        _ => None,
    }
}

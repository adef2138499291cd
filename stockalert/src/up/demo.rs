//! A user whose rules lie so near to the made-up prices that messages come within seconds.

use std::time::Duration;

use cqrs::domain::{ParsePriceError, ParseTickerError, Price, ReminderInterval};
use proto::v1;

use crate::connection::{Connection, TlsFiles};
use crate::failure::{Caller, Exit, Failure};

/// Prices follow from the seed: the tests below show what this one does.
pub(super) const SEED: u64 = 520;
pub(super) const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The shortest there is.
const REMINDER_SECONDS: i64 = 10;
/// How long the server may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(60);
const START_POLL: Duration = Duration::from_millis(100);

/// A rule of the demo. Thresholds are distances from the start price, in thousandths.
#[derive(Debug, Clone, Copy)]
struct DemoRule {
    ticker: &'static str,
    low: Option<i64>,
    high: Option<i64>,
}

const RULES: [DemoRule; 3] = [
    DemoRule {
        ticker: "AAPL",
        low: Some(-10),
        high: Some(10),
    },
    DemoRule {
        ticker: "MSFT",
        low: None,
        high: Some(5),
    },
    DemoRule {
        ticker: "NVDA",
        low: Some(-15),
        high: None,
    },
];

/// The demo's user.
#[derive(Debug)]
pub(super) struct DemoUser {
    pub api_token: String,
    pub rules: Vec<v1::Rule>,
}

/// Registers the user as soon as the server answers.
pub(super) async fn register(server: &str) -> Result<DemoUser, Failure> {
    let connection = connect(server).await?;
    let request = v1::RegisterUserRequest {
        email: "demo@example.org".to_owned(),
        rules: rules()?,
        request_id: uuid::Uuid::new_v4().to_string(),
    };
    let answer = connection.idempotent(|| {
        let (mut users, request) = (connection.users(), request.clone());
        async move { users.register_user(request).await }
    });
    let answer = answer.await?;
    let connection = open(server, Some(&answer.api_token)).await?;
    let request = v1::UpdateUserRequest {
        user: Some(v1::User {
            reminder_interval_seconds: Some(REMINDER_SECONDS),
            ..Default::default()
        }),
        update_mask: Some(prost_types::FieldMask {
            paths: vec!["reminder_interval_seconds".to_owned()],
        }),
        request_id: uuid::Uuid::new_v4().to_string(),
        validate_only: false,
    };
    let updated = connection.idempotent(|| {
        let (mut users, request) = (connection.users(), request.clone());
        async move { users.update_user(request).await }
    });
    updated.await?;
    Ok(DemoUser {
        api_token: answer.api_token,
        rules: answer.rules,
    })
}

async fn open(server: &str, token: Option<&str>) -> Result<Connection, Failure> {
    Connection::open(server, token, Caller::User, &TlsFiles::default()).await
}

async fn connect(server: &str) -> Result<Connection, Failure> {
    let connecting = async {
        loop {
            match open(server, None).await {
                Err(failure) if failure.exit == Exit::Unavailable => tokio::time::sleep(START_POLL).await,
                other => return other,
            }
        }
    };
    tokio::time::timeout(START_TIMEOUT, connecting)
        .await
        .unwrap_or_else(|_| {
            let message = format!(
                "the server at {server} did not start within {} s",
                START_TIMEOUT.as_secs()
            );
            Err(Failure::new(Exit::Unavailable, message)
                .remedy("look at the messages above, or set RUST_LOG=info"))
        })
}

fn rules() -> Result<Vec<v1::NewRule>, Failure> {
    let internal = |error: String| Failure::new(Exit::Internal, error);
    RULES
        .iter()
        .map(|rule| {
            let ticker = rule
                .ticker
                .parse()
                .map_err(|error: ParseTickerError| internal(error.to_string()))?;
            let start = data_collector::start_price(SEED, &ticker);
            let threshold =
                |distance: Option<i64>| distance.map(|distance| threshold(start, distance)).transpose();
            let threshold = |distance| threshold(distance).map_err(|error| internal(error.to_string()));
            Ok(v1::NewRule {
                ticker: ticker.to_string(),
                low: threshold(rule.low)?.map(|low| low.to_string()),
                high: threshold(rule.high)?.map(|high| high.to_string()),
                ..Default::default()
            })
        })
        .collect()
}

/// The price `permille` thousandths away from `start`, in whole cents.
fn threshold(start: Price, permille: i64) -> Result<Price, ParsePriceError> {
    const CENT: i64 = Price::SCALE / 100;
    let cents = start.units() / CENT;
    Price::from_units((cents + cents * permille / 1_000) * CENT)
}

/// How often messages repeat, for people.
pub(super) fn reminder_text() -> String {
    ReminderInterval::from_secs(REMINDER_SECONDS)
        .map(|interval| interval.to_string())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use cqrs::domain::{Side, Ticker, Timestamp};
    use data_collector::provider::synthetic::Synthetic;

    use super::*;

    /// The seconds after its first price at which a rule's side changes.
    fn changes(rule: DemoRule, seed: u64) -> Vec<(u32, Side)> {
        let ticker: Ticker = rule.ticker.parse().unwrap();
        let start = data_collector::start_price(seed, &ticker);
        let units = |distance: i64| threshold(start, distance).unwrap().units();
        let (low, high) = (rule.low.map(units), rule.high.map(units));
        let market = Synthetic::new(seed);
        let mut side = Side::In;
        let mut changes = Vec::new();
        for second in 0..90 {
            let price = market.trade(&ticker, Timestamp::EPOCH).unwrap().price.units();
            // The default re-arm margin; these rules are wide enough for it.
            let margin = |threshold: i64| threshold * 2 / 1_000;
            let next = match (side, low, high) {
                (_, _, Some(high)) if price >= high => Side::Above,
                (_, Some(low), _) if price <= low => Side::Below,
                (Side::Above, _, Some(high)) if price <= high - margin(high) => Side::In,
                (Side::Below, Some(low), _) if price >= low + margin(low) => Side::In,
                _ => side,
            };
            if next != side {
                side = next;
                changes.push((second, side));
            }
        }
        changes
    }

    #[test]
    fn within_90_seconds_prices_leave_their_ranges_stay_out_for_two_reminders_and_come_back() {
        let all = RULES.map(|rule| changes(rule, SEED));
        assert!(shows_all(&all), "{all:?}");
    }

    fn shows_all(all: &[Vec<(u32, Side)>]) -> bool {
        let first_breach = all.iter().flatten().map(|(second, _)| *second).min();
        let episode = |pair: &[(u32, Side)]| pair[0].1 != Side::In && pair[1].1 == Side::In;
        let long = |pair: &[(u32, Side)]| {
            episode(pair) && (22..40).contains(&(pair[1].0 - pair[0].0)) && pair[1].0 <= 50
        };
        let messages: usize = all.iter().map(Vec::len).sum();
        first_breach.is_some_and(|second| second <= 6)
            && all.iter().any(|changes| changes.windows(2).any(long))
            && all.iter().all(|changes| changes.windows(2).any(episode))
            && messages <= 14
    }

    #[test]
    fn thresholds_are_whole_cents() {
        let start = "123.45".parse().unwrap();
        let texts = [-8, 8].map(|permille| threshold(start, permille).unwrap().to_string());
        assert_eq!(texts, ["122.47", "124.43"]);
    }
}

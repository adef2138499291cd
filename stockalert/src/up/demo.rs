//! A user whose rules lie so near to the made-up prices that messages come within seconds.

use std::time::Duration;

use cqrs::domain::{Price, ReminderInterval, Ticker};
use proto::v1;

use crate::connection::Connection;
use crate::failure::{Exit, Failure};

/// Prices follow from the seed: the tests below show what this one does.
pub(super) const SEED: u64 = 7;
pub(super) const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The shortest there is.
const REMINDER_SECONDS: i64 = 10;
/// How long the server may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(60);
const START_POLL: Duration = Duration::from_millis(100);

/// Which stocks, and how far from the start price the thresholds lie, in thousandths.
const STOCKS: [(&str, i64); 3] = [("AAPL", 8), ("MSFT", 15), ("NVDA", 25)];

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
    let connection = Connection::open(server, Some(&answer.api_token)).await?;
    let request = v1::UpdateUserRequest {
        user: Some(v1::User {
            reminder_interval_seconds: Some(REMINDER_SECONDS),
            ..Default::default()
        }),
        update_mask: Some(prost_types::FieldMask {
            paths: vec!["reminder_interval_seconds".to_owned()],
        }),
        request_id: uuid::Uuid::new_v4().to_string(),
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

async fn connect(server: &str) -> Result<Connection, Failure> {
    let connecting = async {
        loop {
            match Connection::open(server, None).await {
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
    let rule = |(name, permille): (&str, i64)| {
        let ticker: Ticker = name.parse().map_err(|error| internal(format!("{error}")))?;
        let (low, high) = thresholds(data_collector::start_price(SEED, &ticker), permille)
            .map_err(|error| internal(error.to_string()))?;
        Ok(v1::NewRule {
            ticker: ticker.to_string(),
            low: Some(low.to_string()),
            high: Some(high.to_string()),
            ..Default::default()
        })
    };
    STOCKS.into_iter().map(rule).collect()
}

/// Whole cents either side of `start`.
fn thresholds(start: Price, permille: i64) -> Result<(Price, Price), cqrs::domain::ParsePriceError> {
    const CENT: i64 = Price::SCALE / 100;
    let distance = (start.units() / 1_000 * permille / CENT).max(1) * CENT;
    Ok((
        Price::from_units(start.units() - distance)?,
        Price::from_units(start.units() + distance)?,
    ))
}

/// How often messages repeat, for people.
pub(super) fn reminder_text() -> String {
    ReminderInterval::from_secs(REMINDER_SECONDS)
        .map(|interval| interval.to_string())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use cqrs::domain::{Range, Side, Timestamp};
    use data_collector::provider::synthetic::Synthetic;

    use super::*;

    /// The seconds after the first price at which each stock's side changes, without the re-arm margin's delay.
    fn changes(name: &str, permille: i64) -> Vec<(u32, Side)> {
        let ticker: Ticker = name.parse().unwrap();
        let (low, high) = thresholds(data_collector::start_price(SEED, &ticker), permille).unwrap();
        let range = Range::new(Some(low), Some(high)).unwrap();
        let market = Synthetic::new(SEED);
        let mut side = Side::In;
        let mut changes = Vec::new();
        for second in 0..120 {
            let price = market.trade(&ticker, Timestamp::EPOCH).unwrap().price;
            if range.side_of(price) != side {
                side = range.side_of(price);
                changes.push((second, side));
            }
        }
        changes
    }

    #[test]
    fn a_price_leaves_its_range_within_seconds_stays_out_for_a_reminder_and_comes_back() {
        let all = STOCKS.map(|(name, permille)| changes(name, permille));
        let first_breach = all.iter().flatten().map(|(second, _)| *second).min();
        assert!(first_breach.is_some_and(|second| second <= 12), "{all:?}");
        let stays_out = all.iter().any(|changes| {
            changes.windows(2).any(|pair| {
                pair[0].1 != Side::In && pair[1].1 == Side::In && pair[1].0 - pair[0].0 > 15 && pair[1].0 < 90
            })
        });
        assert!(stays_out, "{all:?}");
    }

    #[test]
    fn thresholds_lie_either_side_of_the_start_price_in_whole_cents() {
        let (low, high) = thresholds("123.45".parse().unwrap(), 8).unwrap();
        assert_eq!(
            (low.to_string(), high.to_string()),
            ("122.47".to_owned(), "124.43".to_owned())
        );
    }
}

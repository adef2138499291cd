//! Ordinary clients.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use proto::v1;
use proto::v1::quote_service_client::QuoteServiceClient;
use proto::v1::rule_service_client::RuleServiceClient;
use tokio::task::JoinSet;
use tonic::Status;
use tonic::transport::Channel;

use crate::api_run::{ApiRun, User, channel, some_rule};

/// Between two calls of one client.
const PAUSE: Duration = Duration::from_millis(10);

pub(super) struct Load {
    clients: JoinSet<()>,
    times: Arc<Mutex<Times>>,
}

/// How long calls took, and what was said of those that failed.
#[derive(Debug, Default)]
pub(super) struct Times {
    pub(super) quotes: Vec<Duration>,
    pub(super) creations: Vec<Duration>,
    pub(super) failures: Vec<String>,
}

impl Load {
    /// Each user has a connection, and calls all the time: four times for a price, then to create a rule.
    pub(super) fn start(run: &ApiRun, users: Vec<User>) -> Self {
        let times = Arc::default();
        let mut clients = JoinSet::new();
        for user in users {
            clients.spawn(call_without_end(
                channel(&run.addresses[0]),
                user,
                Arc::clone(&times),
            ));
        }
        Self { clients, times }
    }

    /// What there is since the last time.
    pub(super) fn take(&self) -> Times {
        std::mem::take(&mut self.times.lock().unwrap())
    }

    pub(super) async fn end(mut self) {
        self.clients.shutdown().await;
    }
}

async fn call_without_end(channel: Channel, user: User, times: Arc<Mutex<Times>>) {
    let mut quotes = QuoteServiceClient::new(channel.clone());
    let mut rules = RuleServiceClient::new(channel);
    for number in 1_u64.. {
        let start = Instant::now();
        let creates = number.is_multiple_of(5);
        let failure = if creates {
            let message = v1::CreateRuleRequest {
                rule: Some(some_rule(number, "")),
                request_id: number.to_string(),
                validate_only: false,
            };
            rules.create_rule(user.request(message)).await.err()
        } else {
            let message = v1::GetLatestQuoteRequest {
                ticker: "AAPL".to_owned(),
            };
            quotes.get_latest_quote(user.request(message)).await.err()
        };
        let took = start.elapsed();
        times.lock().unwrap().add(creates, took, failure);
        tokio::time::sleep(PAUSE).await;
    }
}

impl Times {
    fn add(&mut self, creates: bool, took: Duration, failure: Option<Status>) {
        match failure {
            Some(status) => self.failures.push(format!("{status:?}")),
            None if creates => self.creations.push(took),
            None => self.quotes.push(took),
        }
    }

    /// Of GetLatestQuote and CreateRule, in milliseconds.
    pub(super) fn p99s(&self) -> (f64, f64) {
        (percentile(&self.quotes, 99), percentile(&self.creations, 99))
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, times) in [("GetLatestQuote", &self.quotes), ("CreateRule", &self.creations)] {
            write!(
                f,
                "{} {name} p50 {:.1} ms p99 {:.1} ms, ",
                times.len(),
                percentile(times, 50),
                percentile(times, 99)
            )?;
        }
        write!(f, "{} failures", self.failures.len())
    }
}

fn percentile(times: &[Duration], percent: usize) -> f64 {
    let mut times = times.to_vec();
    times.sort_unstable();
    let time = times.get((times.len() * percent / 100).min(times.len().saturating_sub(1)));
    time.copied().unwrap_or_default().as_secs_f64() * 1_000.0
}

/// So that there are prices to ask for.
pub(super) fn record_prices(run: &ApiRun) {
    run.servers
        .sql(
            "insert ignore into latest_quotes (ticker, event_time, quote_offset, price, currency, ingest_time, source) \
             values ('AAPL', 1700000000000000, 1, 15000000000, 'USD', 1700000000000000, 'e2e'), \
                    ('MSFT', 1700000000000000, 1, 25000000000, 'USD', 1700000000000000, 'e2e')",
        )
        .unwrap();
}

//! Alerts that users ask for, to see that messages arrive and how long they take.

use std::time::Duration;

use crate::codec::encode_test_alert;
use crate::kafka::{Kafka, KafkaError, Outgoing, Producer};
use crate::topics;
use cqrs::domain::{
    Alert, AlertPosition, ParsePriceError, ParseTickerError, RuleId, RuleVersion, Side, Timestamp, UserId,
};

/// How long Kafka may take to accept one: a user is waiting.
const PATIENCE: Duration = Duration::from_secs(5);

/// Writes made-up breaches into the alerts topic.
#[derive(Debug, Clone)]
pub struct TestAlerts {
    producer: Producer,
}

/// The alert was not written.
#[derive(Debug, thiserror::Error)]
pub enum TestAlertError {
    /// Kafka did not take it.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// The ticker of tests is none.
    #[error(transparent)]
    Ticker(#[from] ParseTickerError),
    /// A price of tests is none.
    #[error(transparent)]
    Price(#[from] ParsePriceError),
}

impl TestAlerts {
    /// # Errors
    /// If the client refuses a setting.
    pub fn new(kafka: &Kafka) -> Result<Self, KafkaError> {
        Ok(Self {
            producer: kafka.producer(PATIENCE, Duration::ZERO)?,
        })
    }

    /// A breach of a rule that there is none of: the user is told of it the way of all alerts. Returns it once the brokers
    /// have it.
    ///
    /// # Errors
    /// If they do not take it in time.
    pub async fn raise(&self, user: UserId) -> Result<Alert, TestAlertError> {
        let now = Timestamp::now();
        let alert = Alert {
            rule_id: RuleId::generate(),
            user_id: user,
            ticker: "TEST".parse()?,
            position: AlertPosition {
                version: RuleVersion::FIRST,
                generation: 1,
                offset: 0,
            },
            side: Side::Above,
            price: "101".parse()?,
            threshold: "100".parse()?,
            currency: String::new(),
            quote_time: now,
            quote_ingest_time: now,
            raised_at: now,
            already_outside: false,
        };
        self.write(&alert, Some(&encode_test_alert(&alert))).await?;
        // The topic keeps the last record of each key for good: nothing shall be kept of this one. Its readers get both, in
        // this order.
        self.write(&alert, None).await?;
        Ok(alert)
    }

    async fn write(&self, alert: &Alert, payload: Option<&[u8]>) -> Result<(), TestAlertError> {
        let key = alert.rule_id.to_string();
        let record = Outgoing {
            topic: topics::ALERTS,
            ticker: &alert.ticker,
            key: key.as_bytes(),
            payload,
            trace: None,
        };
        Ok(self.producer.send(record).await?.wait().await?)
    }
}

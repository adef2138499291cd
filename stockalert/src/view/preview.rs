use proto::v1;
use serde::Serialize;

use super::{Quote, Rule, Side, time};
use crate::failure::Violation;

#[derive(Debug, Serialize)]
pub(crate) struct Preview {
    pub alert_count: i64,
    pub alerts: Vec<PreviewedAlert>,
    pub quote_count: i64,
    /// Null: there is no recorded price.
    pub first_time: Option<jiff::Timestamp>,
    pub latest_quote: Option<Quote>,
    /// Null: there is no recorded price.
    pub side: Option<Side>,
    pub low_distance_percent: Option<String>,
    pub high_distance_percent: Option<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct PreviewedAlert {
    pub side: Side,
    pub price: String,
    pub quote_time: Option<jiff::Timestamp>,
}

/// What became of one rule of a batch: one of the two is not null.
#[derive(Debug, Serialize)]
pub(crate) struct BatchResult {
    pub rule: Option<Rule>,
    pub error: Option<BatchError>,
}

#[derive(Debug, Serialize)]
pub(crate) struct BatchError {
    pub code: i32,
    pub reason: String,
    pub message: String,
    pub fields: Vec<Violation>,
}

impl From<v1::PreviewRuleResponse> for Preview {
    fn from(answer: v1::PreviewRuleResponse) -> Self {
        let side = answer.side().into();
        Self {
            side: (side != Side::Unknown).then_some(side),
            alert_count: answer.alert_count,
            alerts: answer.alerts.into_iter().map(Into::into).collect(),
            quote_count: answer.quote_count,
            first_time: time(answer.first_time),
            latest_quote: answer.latest_quote.map(Into::into),
            low_distance_percent: answer.low_distance_percent,
            high_distance_percent: answer.high_distance_percent,
        }
    }
}

impl From<v1::PreviewedAlert> for PreviewedAlert {
    fn from(alert: v1::PreviewedAlert) -> Self {
        Self {
            side: alert.side().into(),
            quote_time: time(alert.quote_time),
            price: alert.price,
        }
    }
}

impl From<v1::BatchCreateRulesResult> for BatchResult {
    fn from(result: v1::BatchCreateRulesResult) -> Self {
        use v1::batch_create_rules_result::Outcome;
        let (rule, error) = match result.outcome {
            Some(Outcome::Rule(rule)) => (Some(rule.into()), None),
            Some(Outcome::Error(error)) => (None, Some(error.into())),
            None => (None, None),
        };
        Self { rule, error }
    }
}

impl From<v1::RuleError> for BatchError {
    fn from(error: v1::RuleError) -> Self {
        let violation = |field: v1::FieldError| Violation {
            field: field.field,
            description: field.description,
        };
        Self {
            code: error.code,
            reason: error.reason,
            message: error.message,
            fields: error.fields.into_iter().map(violation).collect(),
        }
    }
}

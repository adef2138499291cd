//! What `--json` prints. The field names are those of the API, and part of the command line's contract: prices are
//! decimal strings, times RFC 3339 in UTC, what is absent is null.

mod admin;
mod history;
mod preview;
mod system;

use proto::v1;
use serde::{Serialize, Serializer};

use crate::screen::{Screen, Style};

pub(crate) use admin::{Lag, Republished, UserSummary};
pub(crate) use history::{Candle, Delivery, TickerSummary};
pub(crate) use preview::{BatchError, BatchResult, Preview};
pub(crate) use system::{Breaker, Feed, Restating, StaleTicker, Status, TickerRestatement};

#[derive(Debug, Serialize)]
pub(crate) struct User {
    pub id: String,
    pub email: String,
    pub telegram_linked: bool,
    pub reminder_interval_seconds: Option<i64>,
    pub create_time: Option<jiff::Timestamp>,
    pub etag: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct TelegramLink {
    pub token: String,
    /// Null while no bot is running.
    pub url: Option<String>,
    pub expire_time: Option<jiff::Timestamp>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Rule {
    /// Null: a dry run's.
    #[serde(serialize_with = "null_if_empty")]
    pub id: String,
    pub ticker: String,
    pub low: Option<String>,
    pub high: Option<String>,
    pub note: String,
    pub paused: bool,
    pub expire_time: Option<jiff::Timestamp>,
    pub version: i64,
    pub create_time: Option<jiff::Timestamp>,
    pub update_time: Option<jiff::Timestamp>,
    /// Not null: the rule is on hold.
    pub hold: Option<Restating>,
    #[serde(serialize_with = "null_if_empty")]
    pub etag: String,
    pub state: RuleState,
    /// Not null: its messages are held back.
    pub snooze: Option<Snooze>,
    /// Not null: the price is out of range.
    pub episode: Option<Episode>,
}

/// Whether a rule is evaluated, as the server says: its clock counts, not this machine's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RuleState {
    Active,
    Paused,
    OnHold,
    Expired,
    /// A state that this version of the program does not know.
    Unknown,
}

impl RuleState {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::OnHold => "on hold",
            Self::Expired => "expired",
            Self::Unknown => "unknown",
        }
    }

    pub(crate) const fn style(self) -> Style {
        match self {
            Self::Active => Style::Green,
            Self::OnHold => Style::Red,
            Self::Paused | Self::Expired | Self::Unknown => Style::Faint,
        }
    }
}

impl From<v1::rule::State> for RuleState {
    fn from(state: v1::rule::State) -> Self {
        match state {
            v1::rule::State::Active => Self::Active,
            v1::rule::State::Paused => Self::Paused,
            v1::rule::State::OnHold => Self::OnHold,
            v1::rule::State::Expired => Self::Expired,
            v1::rule::State::Unspecified => Self::Unknown,
        }
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct Snooze {
    /// Null: until the price is back.
    pub until_time: Option<jiff::Timestamp>,
    pub until_back: bool,
}

impl Snooze {
    /// Its end, for people.
    pub(crate) fn text(&self, screen: &Screen) -> String {
        match self.until_time {
            Some(time) => format!("until {}", screen.time(time)),
            None => "until back".to_owned(),
        }
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct Episode {
    pub side: Side,
    pub start_time: Option<jiff::Timestamp>,
    pub price: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct Quote {
    pub ticker: String,
    pub price: String,
    pub currency: Option<String>,
    pub event_time: Option<jiff::Timestamp>,
    pub ingest_time: Option<jiff::Timestamp>,
    pub source: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct Average {
    pub ticker: String,
    pub average: String,
    pub quote_count: i64,
    pub first_time: Option<jiff::Timestamp>,
    pub last_time: Option<jiff::Timestamp>,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Alert {
    pub id: String,
    pub rule_id: String,
    pub rule_version: i64,
    pub ticker: String,
    pub side: Side,
    pub price: String,
    pub threshold: String,
    pub quote_time: Option<jiff::Timestamp>,
    pub raise_time: Option<jiff::Timestamp>,
    pub already_outside: bool,
    pub currency: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Side {
    In,
    Above,
    Below,
    /// A side that this version of the program does not know.
    Unknown,
}

impl Side {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::In => "in range",
            Self::Above => "above",
            Self::Below => "below",
            Self::Unknown => "unknown",
        }
    }

    pub(crate) const fn style(self) -> Style {
        match self {
            Self::In => Style::Cyan,
            Self::Above => Style::Green,
            Self::Below => Style::Red,
            Self::Unknown => Style::Plain,
        }
    }
}

impl From<v1::Side> for Side {
    fn from(side: v1::Side) -> Self {
        match side {
            v1::Side::In => Self::In,
            v1::Side::Above => Self::Above,
            v1::Side::Below => Self::Below,
            v1::Side::Unspecified => Self::Unknown,
        }
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct Registration {
    pub user: User,
    pub api_token: String,
    pub telegram_link: TelegramLink,
    pub rules: Vec<Rule>,
    /// The file that keeps the token; null with `--no-save`.
    pub profile: Option<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct NewToken {
    pub api_token: String,
    /// The file that keeps the token; null where the old one came from elsewhere.
    pub profile: Option<String>,
}

/// What was deleted.
#[derive(Debug, Serialize)]
pub(crate) struct Deleted {
    pub id: String,
    pub deleted: bool,
}

/// A token that works no more.
#[derive(Debug, Serialize)]
pub(crate) struct Revoked {
    pub revoked: bool,
}

/// A line of `watch`.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum Event {
    Alert(Alert),
    Quote(Quote),
}

fn time(timestamp: Option<prost_types::Timestamp>) -> Option<jiff::Timestamp> {
    let timestamp = timestamp?;
    jiff::Timestamp::new(timestamp.seconds, timestamp.nanos).ok()
}

fn null_if_empty<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    Some(text).filter(|text| !text.is_empty()).serialize(serializer)
}

fn not_empty(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

impl From<v1::User> for User {
    fn from(user: v1::User) -> Self {
        Self {
            id: user.id,
            email: user.email,
            telegram_linked: user.telegram_linked,
            reminder_interval_seconds: user.reminder_interval_seconds,
            create_time: time(user.create_time),
            etag: user.etag,
        }
    }
}

impl From<v1::TelegramLink> for TelegramLink {
    fn from(link: v1::TelegramLink) -> Self {
        Self {
            token: link.token,
            url: not_empty(link.url),
            expire_time: time(link.expire_time),
        }
    }
}

impl From<v1::Rule> for Rule {
    fn from(rule: v1::Rule) -> Self {
        Self {
            state: rule.state().into(),
            id: rule.id,
            ticker: rule.ticker,
            low: rule.low,
            high: rule.high,
            note: rule.note,
            paused: rule.paused,
            expire_time: time(rule.expire_time),
            version: rule.version,
            create_time: time(rule.create_time),
            update_time: time(rule.update_time),
            hold: rule.hold.map(Into::into),
            etag: rule.etag,
            snooze: rule.snooze.map(Into::into),
            episode: rule.episode.map(Into::into),
        }
    }
}

impl From<v1::Snooze> for Snooze {
    fn from(snooze: v1::Snooze) -> Self {
        match snooze.end {
            Some(v1::snooze::End::UntilTime(until)) => Self {
                until_time: time(Some(until)),
                until_back: false,
            },
            Some(v1::snooze::End::UntilBack(_)) | None => Self {
                until_time: None,
                until_back: true,
            },
        }
    }
}

impl From<v1::Episode> for Episode {
    fn from(episode: v1::Episode) -> Self {
        Self {
            side: episode.side().into(),
            start_time: time(episode.start_time),
            price: episode.price,
        }
    }
}

impl From<v1::Quote> for Quote {
    fn from(quote: v1::Quote) -> Self {
        Self {
            ticker: quote.ticker,
            price: quote.price,
            currency: not_empty(quote.currency),
            event_time: time(quote.event_time),
            ingest_time: time(quote.ingest_time),
            source: quote.source,
        }
    }
}

impl Average {
    pub(crate) fn new(ticker: String, average: v1::GetAverageResponse) -> Self {
        Self {
            ticker,
            average: average.average,
            quote_count: average.quote_count,
            first_time: time(average.first_time),
            last_time: time(average.last_time),
        }
    }
}

impl From<v1::Alert> for Alert {
    fn from(alert: v1::Alert) -> Self {
        let side = alert.side().into();
        Self {
            id: alert.id,
            rule_id: alert.rule_id,
            rule_version: alert.rule_version,
            ticker: alert.ticker,
            side,
            price: alert.price,
            threshold: alert.threshold,
            quote_time: time(alert.quote_time),
            raise_time: time(alert.raise_time),
            already_outside: alert.already_outside,
            currency: not_empty(alert.currency),
        }
    }
}

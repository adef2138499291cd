//! What the system is about, without I/O: each type can only hold a value that makes sense, and is made through
//! `FromStr` or `TryFrom` with an error that names the value, the reason and the remedy.

mod alert;
mod chat;
mod email;
mod etag;
mod evaluate;
mod feed;
mod ids;
mod language;
mod note;
mod price;
mod quiet_hours;
mod quote;
mod range;
mod reminder_interval;
mod restatement;
mod rule;
mod snooze;
mod ticker;
mod time_zone;
mod timestamp;
mod token;
mod user;

pub use alert::{Alert, AlertPosition, ParseAlertPositionError, Side};
pub use chat::ChatId;
pub use email::{Email, ParseEmailError};
pub use etag::{Etag, ParseEtagError};
pub use evaluate::{RearmMargin, side_after};
pub use feed::{BreakerState, FeedChange, FeedState, ParseBreakerStateError, TickerFeed};
pub use ids::{DeliveryId, ParseIdError, RuleId, UserId};
pub use language::{Language, ParseLanguageError};
pub use note::{Note, ParseNoteError};
pub use price::{ParsePriceError, Price};
pub use quiet_hours::{ParseQuietHoursError, QuietHours};
pub use quote::{Quote, TickerMark, TradeSide};
pub use range::{Range, RangeError};
pub use reminder_interval::{ParseReminderIntervalError, ReminderInterval};
pub use restatement::{Restatement, Split};
pub use rule::{NewRule, Rule, RuleChange, RuleSnapshot, RuleState, RuleVersion};
pub use snooze::Snooze;
pub use ticker::{ParseTickerError, Ticker};
pub use time_zone::{ParseTimeZoneError, TimeZone};
pub use timestamp::{ParseTimestampError, Timestamp};
pub use token::{Token, TokenHash};
pub use user::User;

use std::time::Duration;

use cqrs::domain::{Email, NewRule, Price, Range, ReminderInterval, Timestamp};
use cqrs::{AverageRange, Idempotency, StoreError};
use proto::v1;
use proto::v1::get_average_request::Range as AverageOver;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::Fields;

/// Sizes of pages: what 0 means, and the most.
const PAGE: (u32, u32) = (50, 200);

/// The first rules of a registration: as many as a user may have unless the operator says otherwise.
const MOST_FIRST_RULES: usize = 200;

const LONGEST_REQUEST_ID: usize = 64;

/// Page tokens are short; longer ones are not ours.
const LONGEST_PAGE_TOKEN: usize = 512;

const LONGEST_AVERAGE_WINDOW: Duration = Duration::from_secs(30 * 24 * 60 * 60);
const MOST_AVERAGED_QUOTES: u32 = 10_000;

/// The last moment that a protobuf timestamp can name: 9999-12-31T23:59:59Z.
const LAST_SECOND: i64 = 253_402_300_799;

/// Which page of a list.
#[derive(Debug)]
pub(crate) struct Page {
    /// From the page before.
    pub(crate) token: Option<String>,
    /// How many items.
    pub(crate) size: u32,
}

/// `page_size` and `page_token` of a list request. A size above the most is lowered to it.
pub(crate) fn page(fields: &mut Fields, size: i32, token: String) -> Option<Page> {
    let (default, most) = PAGE;
    let size = match u32::try_from(size) {
        Ok(0) => Some(default),
        Ok(size) => Some(size.min(most)),
        Err(_) => {
            fields.refuse(
                "page_size",
                format!("{size} is negative; give 1 to {most}, or 0 for {default}"),
            );
            None
        }
    };
    // Whether a list made it, the list says.
    if token.len() > LONGEST_PAGE_TOKEN || !is_visible_ascii(&token) {
        let value = token.chars().take(64).collect();
        fields.refuse("page_token", StoreError::PageToken { value });
        return None;
    }
    Some(Page {
        token: (!token.is_empty()).then_some(token),
        size: size?,
    })
}

/// An e-mail address. The text says nothing of the address itself, so that no log of a caller's shows it.
pub(crate) fn email(fields: &mut Fields, path: &str, text: &str) -> Option<Email> {
    fields.take(path, text.parse())
}

/// Seconds between reminders; absent: none.
pub(crate) fn reminder_interval(
    fields: &mut Fields,
    path: &str,
    seconds: Option<i64>,
) -> Option<Option<ReminderInterval>> {
    seconds
        .map(|seconds| fields.take(path, ReminderInterval::from_secs(seconds)))
        .map_or(Some(None), |it| it.map(Some))
}

/// The first rules of a registration.
pub(crate) fn new_rules(fields: &mut Fields, rules: &[v1::NewRule], now: Timestamp) -> Option<Vec<NewRule>> {
    if rules.len() > MOST_FIRST_RULES {
        fields.refuse(
            "rules",
            format!(
                "{} rules are too many; give at most {MOST_FIRST_RULES}",
                rules.len()
            ),
        );
        return None;
    }
    let rules: Vec<_> = rules
        .iter()
        .enumerate()
        .map(|(index, rule)| new_rule(fields, &format!("rules[{index}]"), rule, now))
        .collect();
    rules.into_iter().collect()
}

/// A rule to create, found at `path`.
pub(crate) fn new_rule(
    fields: &mut Fields,
    path: &str,
    rule: &v1::NewRule,
    now: Timestamp,
) -> Option<NewRule> {
    let ticker = fields.take(format!("{path}.ticker"), rule.ticker.parse());
    let low = optional_price(fields, &format!("{path}.low"), rule.low.as_deref());
    let high = optional_price(fields, &format!("{path}.high"), rule.high.as_deref());
    let range = match (low, high) {
        (Some(low), Some(high)) => range(fields, &format!("{path}.low"), low, high),
        _ => None,
    };
    let note = fields.take(format!("{path}.note"), rule.note.parse());
    let expires_at = expire_time(
        fields,
        &format!("{path}.expire_time"),
        rule.expire_time.as_ref(),
        now,
    );
    Some(NewRule {
        ticker: ticker?,
        range: range?,
        note: note?,
        paused: rule.paused,
        expires_at: expires_at?,
    })
}

/// A threshold; absent: none. The outer `None` is a violation.
pub(crate) fn optional_price(fields: &mut Fields, path: &str, text: Option<&str>) -> Option<Option<Price>> {
    match text {
        None => Some(None),
        Some(text) => fields.take(path, text.parse()).map(Some),
    }
}

/// Both thresholds together.
pub(crate) fn range(
    fields: &mut Fields,
    path: &str,
    low: Option<Price>,
    high: Option<Price>,
) -> Option<Range> {
    fields.take(path, Range::new(low, high))
}

/// When a rule stops by itself; absent: never. The outer `None` is a violation.
pub(crate) fn expire_time(
    fields: &mut Fields,
    path: &str,
    time: Option<&prost_types::Timestamp>,
    now: Timestamp,
) -> Option<Option<Timestamp>> {
    let Some(time) = time else { return Some(None) };
    let time = timestamp(fields, path, time)?;
    if time <= now {
        fields.refuse(
            path,
            format!("{time} has passed; give a time in the future, or none for a rule that stays"),
        );
        return None;
    }
    Some(Some(time))
}

/// A moment; none is a violation.
pub(crate) fn timestamp(fields: &mut Fields, path: &str, time: &prost_types::Timestamp) -> Option<Timestamp> {
    match (time.seconds, time.nanos) {
        (-62_135_596_800..=LAST_SECOND, 0..=999_999_999) => Some(Timestamp::from_micros(
            time.seconds * 1_000_000 + i64::from(time.nanos / 1_000),
        )),
        (seconds, nanos) => {
            fields.refuse(
                path,
                format!("{seconds} s and {nanos} ns is not a time; give 0001-01-01 to 9999-12-31 and 0 to 999999999 ns"),
            );
            None
        }
    }
}

/// Which quotes to average. The window must be there.
pub(crate) fn average_range(fields: &mut Fields, range: Option<AverageOver>) -> Option<AverageRange> {
    match range {
        Some(AverageOver::Last(last)) => match u32::try_from(last) {
            Ok(last @ 1..=MOST_AVERAGED_QUOTES) => Some(AverageRange::Last(last)),
            _ => {
                fields.refuse(
                    "last",
                    format!("{last} quotes can't be averaged; give 1 to {MOST_AVERAGED_QUOTES}"),
                );
                None
            }
        },
        Some(AverageOver::Window(window)) => match duration(window) {
            Some(span) if (Duration::from_secs(1)..=LONGEST_AVERAGE_WINDOW).contains(&span) => {
                Some(AverageRange::Window(span))
            }
            _ => {
                let (seconds, nanos) = (window.seconds, window.nanos);
                fields.refuse(
                    "window",
                    format!("{seconds} s and {nanos} ns is out of range; give 1 s to 30 days"),
                );
                None
            }
        },
        None => {
            fields.refuse(
                "range",
                "it is missing; give either last (a number of quotes) or window (a duration)",
            );
            None
        }
    }
}

/// A duration that is not negative. (The conversion in prost-types panics on some values in debug builds.)
pub(super) fn duration(duration: prost_types::Duration) -> Option<Duration> {
    match (u64::try_from(duration.seconds), u32::try_from(duration.nanos)) {
        (Ok(seconds), Ok(nanos @ 0..=999_999_999)) => Some(Duration::new(seconds, nanos)),
        _ => None,
    }
}

/// The paths of a field mask, each one of `known`.
pub(crate) fn mask<'a>(
    fields: &mut Fields,
    mask: Option<&'a prost_types::FieldMask>,
    known: &[&str],
) -> Vec<&'a str> {
    let paths: Vec<&str> = mask
        .map(|mask| mask.paths.iter().map(String::as_str).collect())
        .unwrap_or_default();
    if paths.is_empty() {
        fields.refuse(
            "update_mask",
            format!("it names no field; give at least one of {}", known.join(", ")),
        );
    }
    for path in paths.iter().filter(|path| !known.contains(path)) {
        let shown: String = path.chars().take(64).collect();
        fields.refuse(
            "update_mask",
            format!(
                "\"{shown}\" is not a field that can change; give some of {}",
                known.join(", ")
            ),
        );
    }
    paths
}

/// The caller's `request_id`, 1 to 64 visible ASCII characters; empty: none. The outer `None` is a violation.
pub(crate) fn request_id(fields: &mut Fields, id: String) -> Option<Option<String>> {
    if id.len() > LONGEST_REQUEST_ID || !is_visible_ascii(&id) {
        let shown: String = id.chars().take(LONGEST_REQUEST_ID).collect();
        fields.refuse(
            "request_id",
            format!(
                "{shown:?} is not a request id; give at most {LONGEST_REQUEST_ID} visible ASCII characters, such as a UUID"
            ),
        );
        return None;
    }
    Some((!id.is_empty()).then_some(id))
}

/// The `request_id` of a registration: a random UUID. Whoever repeats a registration gets a token for its user, so the
/// id must be one that nobody guesses.
pub(crate) fn random_request_id(fields: &mut Fields, id: String) -> Option<Option<String>> {
    if id.is_empty() {
        return Some(None);
    }
    match Uuid::try_parse(&id) {
        Ok(uuid) if uuid.get_version_num() == 4 => Some(Some(uuid.as_hyphenated().to_string())),
        _ => {
            fields.refuse(
                "request_id",
                "this is not a random UUID; give a new one of version 4, or none",
            );
            None
        }
    }
}

/// Tells the same request from another one under the same id: `request` is the message without its id.
pub(crate) fn idempotency<M: prost::Message>(
    method: &str,
    id: Option<String>,
    request: &M,
) -> Option<Idempotency> {
    let request_id = id?;
    let mut hash = Sha256::new();
    hash.update(method.as_bytes());
    hash.update([0]);
    hash.update(request.encode_to_vec());
    Some(Idempotency {
        request_id,
        fingerprint: hex::encode(hash.finalize()),
    })
}

fn is_visible_ascii(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

//! What callers are told when something is refused or fails: the right code, exactly one `ErrorInfo`, and for input a
//! violation per field. Internal detail is logged here, once, and never sent.

use std::collections::HashMap;
use std::time::Duration;

use cqrs::domain::RuleId;
use cqrs::{CommandError, StoreError};
use tonic::codegen::http;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

/// The domain of every `ErrorInfo`.
pub const ERROR_DOMAIN: &str = "stockalert.v1";

/// Most violations in one answer. They travel in the trailers, of which some clients take no more than 8 KiB.
const MOST_VIOLATIONS: usize = 12;

/// Most bytes of one violation's text, for the same reason.
const LONGEST_DESCRIPTION: usize = 240;

/// When a caller may try again after the store was away.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// An error that is not about one field.
pub(crate) fn refusal(code: Code, reason: &'static str, message: impl Into<String>) -> Status {
    with_details(code, reason, message.into(), ErrorDetails::new())
}

/// An error that is about one field of the request.
pub(crate) fn field_refusal(
    code: Code,
    reason: &'static str,
    field: &'static str,
    message: String,
) -> Status {
    let mut details = ErrorDetails::new();
    details.add_bad_request_violation(field, message.clone());
    with_details(code, reason, message, details)
}

fn retriable(reason: &'static str, message: &str) -> Status {
    retry_refusal(Code::Unavailable, reason, message, RETRY_AFTER)
}

/// A refusal that goes away by itself: with when to try again.
pub(crate) fn retry_refusal(code: Code, reason: &'static str, message: &str, after: Duration) -> Status {
    with_details(
        code,
        reason,
        message.into(),
        ErrorDetails::with_retry_info(Some(after)),
    )
}

fn with_details(code: Code, reason: &'static str, message: String, mut details: ErrorDetails) -> Status {
    details.set_error_info(reason, ERROR_DOMAIN, HashMap::new());
    Status::with_error_details(code, message, details)
}

/// Fields of the request that can't be, all of them at once.
pub(crate) fn invalid(violations: Vec<FieldViolation>) -> Status {
    let count = violations.len();
    let mut shown: Vec<_> = violations
        .into_iter()
        .take(MOST_VIOLATIONS)
        .map(|violation| FieldViolation {
            description: cut(&violation.description),
            ..violation
        })
        .collect();
    if let Some(last) = shown.last_mut()
        && count > MOST_VIOLATIONS
    {
        last.description = format!(
            "{} (and {} more invalid fields)",
            last.description,
            count - MOST_VIOLATIONS
        );
    }
    let message = match shown.as_slice() {
        [only] => format!("{}: {}", only.field, only.description),
        [first, ..] => format!(
            "{count} invalid fields; the first is {}: {}",
            first.field, first.description
        ),
        [] => "invalid request".into(),
    };
    let mut details = ErrorDetails::new();
    details.set_bad_request(shown);
    with_details(Code::InvalidArgument, "INVALID_FIELDS", message, details)
}

fn cut(description: &str) -> String {
    if description.len() <= LONGEST_DESCRIPTION {
        return description.to_owned();
    }
    format!(
        "{}…",
        &description[..description.floor_char_boundary(LONGEST_DESCRIPTION)]
    )
}

/// Where a request carries what a command may refuse after the request itself was found well-formed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FieldNames {
    /// Path of the rule's id.
    pub(crate) rule_id: &'static str,
    /// Path of the etag.
    pub(crate) etag: &'static str,
    /// Path of the end of a snooze.
    pub(crate) snooze: &'static str,
    /// Path of the low threshold.
    pub(crate) low: &'static str,
    /// Path of the expiry time.
    pub(crate) expire_time: &'static str,
}

impl FieldNames {
    /// Of most requests.
    pub(crate) const PLAIN: Self = Self {
        rule_id: "rule_id",
        etag: "etag",
        snooze: "snooze",
        low: "rule.low",
        expire_time: "rule.expire_time",
    };
}

/// The rule that a query named does not exist, or is another's, which is the same to a caller.
pub(crate) fn rule_not_found(id: RuleId) -> Status {
    of_command(CommandError::RuleNotFound(id), FieldNames::PLAIN)
}

/// One text for a missing and a wrong token, and for all that can be wrong with one: which of them it was is nobody's
/// business.
pub(crate) fn unauthenticated() -> Status {
    refusal(
        Code::Unauthenticated,
        "UNAUTHENTICATED",
        "this call needs the header \"authorization: Bearer TOKEN\" with the token that RegisterUser or RotateToken \
         answered last",
    )
}

/// What a caller is told of a command that failed.
pub(crate) fn of_command(error: CommandError, fields: FieldNames) -> Status {
    let message = error.to_string();
    match error {
        CommandError::RuleNotFound(_) => {
            field_refusal(Code::NotFound, "RULE_NOT_FOUND", fields.rule_id, message)
        }
        CommandError::UserNotFound => refusal(Code::NotFound, "USER_NOT_FOUND", message),
        CommandError::TokenInvalid => unauthenticated(),
        CommandError::Range(_) => field_refusal(Code::InvalidArgument, "INVALID_FIELDS", fields.low, message),
        CommandError::ExpiryInPast { .. } => field_refusal(
            Code::InvalidArgument,
            "INVALID_FIELDS",
            fields.expire_time,
            message,
        ),
        CommandError::TooManyRules { .. } => refusal(Code::ResourceExhausted, "TOO_MANY_RULES", message),
        CommandError::EmbeddedLogFull { .. } => {
            refusal(Code::ResourceExhausted, "EMBEDDED_LOG_FULL", message)
        }
        CommandError::RequestIdReused => {
            field_refusal(Code::AlreadyExists, "REQUEST_ID_REUSED", "request_id", message)
        }
        CommandError::Changed { .. } => field_refusal(Code::Aborted, "CHANGED", fields.etag, message),
        CommandError::LinkInvalid => refusal(Code::NotFound, "LINK_INVALID", message),
        CommandError::PrivateChatsOnly => refusal(Code::InvalidArgument, "PRIVATE_CHATS_ONLY", message),
        CommandError::RuleInRange { .. } => {
            field_refusal(Code::FailedPrecondition, "RULE_IN_RANGE", fields.snooze, message)
        }
        CommandError::RestatedAgain { .. } => refusal(Code::FailedPrecondition, "RESTATED_AGAIN", message),
        CommandError::SnoozeInPast { .. } => {
            field_refusal(Code::InvalidArgument, "INVALID_FIELDS", fields.snooze, message)
        }
        CommandError::UnknownTicker(_) => refusal(Code::NotFound, "UNKNOWN_TICKER", message),
        CommandError::Store(error) => of_store(&error),
    }
}

/// What a caller is told when the store failed: nothing of how. A page token that is none is the caller's doing.
pub(crate) fn of_store(error: &StoreError) -> Status {
    if let StoreError::PageToken { .. } = error {
        return field_refusal(
            Code::InvalidArgument,
            "INVALID_FIELDS",
            "page_token",
            error.to_string(),
        );
    }
    if let StoreError::Shared(error) = error {
        return of_store(error);
    }
    tracing::error!(%error, "a request failed");
    match error {
        StoreError::Database(_) => retriable(
            "DATABASE_UNAVAILABLE",
            "the database is not available; try again, with the same request_id if there was one",
        ),
        StoreError::Overtaken | StoreError::Interrupted => retriable(
            "INTERRUPTED",
            "the work was interrupted and may or may not be done; try again with the same request_id",
        ),
        StoreError::Shared(_)
        | StoreError::Setting(_)
        | StoreError::PageToken { .. }
        | StoreError::RowRefused { .. }
        | StoreError::Migration(_)
        | StoreError::Corrupt { .. } => refusal(
            Code::Internal,
            "INTERNAL",
            "the server failed; its operator finds the reason in its log",
        ),
    }
}

/// Gives the refusals that the transport made by itself (no such method, a message too large or not readable) the same
/// shape as all others.
pub(crate) fn complete<B: Default>(response: http::Response<B>) -> http::Response<B> {
    let Some(status) = Status::from_header_map(response.headers()) else {
        return response;
    };
    if status.code() == Code::Ok || !status.details().is_empty() {
        return response;
    }
    transport_refusal(&status).into_http()
}

fn transport_refusal(status: &Status) -> Status {
    match status.code() {
        // The codec's only use of this code: the length prefix is above the limit.
        Code::OutOfRange => refusal(
            Code::ResourceExhausted,
            "MESSAGE_TOO_LARGE",
            format!(
                "the request is larger than {} bytes; send less at once",
                crate::MAX_REQUEST_BYTES
            ),
        ),
        // Nothing of ours fails without details, so this is the codec: wrong field types, text that is not UTF-8.
        Code::Internal | Code::Unknown => refusal(
            Code::InvalidArgument,
            "MALFORMED_REQUEST",
            "the request is not a message of this method; check it against the .proto files or reflection",
        ),
        Code::Unimplemented => refusal(
            Code::Unimplemented,
            "UNIMPLEMENTED",
            "there is no such method or encoding; ask reflection",
        ),
        code @ (Code::Ok
        | Code::Cancelled
        | Code::InvalidArgument
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::Unavailable
        | Code::DataLoss
        | Code::Unauthenticated) => refusal(code, "REFUSED", status.message()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trailers_of_the_worst_request_fit_into_eight_kibibytes() {
        let violations = (0..5_000)
            .map(|n| FieldViolation::new(format!("rules[{n}].low"), "😀".repeat(1_000)))
            .collect();
        let response = invalid(violations).into_http::<tonic::body::Body>();
        let size: usize = response
            .headers()
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + 32)
            .sum();
        assert!(size < 8 * 1024, "{size}");
    }
}

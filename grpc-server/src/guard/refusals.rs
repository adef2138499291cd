//! What the guard says to those whom it doesn't let in.

use std::time::Duration;

use tonic::{Code, Status};

use crate::REQUEST_TIMEOUT;
use crate::slots::Full;
use crate::status::{refusal, retry_refusal};

pub(super) fn busy(full: Full) -> Status {
    let message = match full {
        Full::All => "the server has as many such requests in hand as it can; try again in a moment",
        Full::OfOne => "as many requests of yours are in hand as may be; wait for one of them to end",
    };
    retry_refusal(
        Code::ResourceExhausted,
        "SERVER_BUSY",
        message,
        Duration::from_millis(200),
    )
}

pub(crate) fn too_often(what: &str, wait: Duration) -> Status {
    // In whole milliseconds, and not too soon.
    let wait = Duration::from_millis(
        u64::try_from(wait.as_millis())
            .unwrap_or(u64::MAX)
            .saturating_add(1),
    );
    retry_refusal(
        Code::ResourceExhausted,
        "TOO_MANY_CALLS",
        &format!("too many {what}; try again in {} s", wait.as_secs().max(1)),
        wait,
    )
}

pub(super) fn ended(why: &str) -> Status {
    retry_refusal(
        Code::Unavailable,
        "STREAM_ENDED",
        &format!("{why}; open the stream again, with the last cursor if it has one"),
        Duration::from_secs(1),
    )
}

pub(crate) fn too_many_streams(full: Full) -> Status {
    match full {
        Full::All => busy(full),
        Full::OfOne => retry_refusal(
            Code::ResourceExhausted,
            "TOO_MANY_STREAMS",
            "as many streams of yours are open as one user may have; end one first",
            Duration::from_secs(10),
        ),
    }
}

pub(super) fn users_only() -> Status {
    refusal(
        Code::PermissionDenied,
        "USERS_ONLY",
        "this call acts on a user's own things, and the operator's token is no user's; use a user's token",
    )
}

pub(super) fn operator_only() -> Status {
    refusal(
        Code::PermissionDenied,
        "OPERATOR_ONLY",
        "this call is the operator's; use the token that the server's setting OPERATOR_TOKEN says",
    )
}

/// Who has no token has to say at once what they want.
pub(crate) fn unread() -> Status {
    refusal(
        Code::DeadlineExceeded,
        "REQUEST_UNREAD",
        "the request did not arrive in time; send it again, whole",
    )
}

pub(super) fn late() -> Status {
    refusal(
        Code::DeadlineExceeded,
        "REQUEST_TIMEOUT",
        format!(
            "the request took longer than {} s and may or may not have had its effect; try again with the same \
             request_id",
            REQUEST_TIMEOUT.as_secs()
        ),
    )
}

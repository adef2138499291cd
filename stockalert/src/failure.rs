use std::io;
use std::time::Duration;

use serde::Serialize;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// How the program ends, by the numbers of BSD's `sysexits.h`. Part of the command line's contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The command line makes no sense.
    Misuse = 64,
    /// The server refused what was given.
    Refused = 65,
    /// There is no such thing, or it is not the caller's.
    NotFound = 66,
    /// The server does not answer, or not in time.
    Unavailable = 69,
    /// The server or this program failed.
    Internal = 70,
    /// A file or the output could not be read or written.
    Io = 74,
    /// No token, or not a valid one.
    Denied = 77,
}

/// Why a command did not do what was asked: what people read, what programs read (`--json`), and the exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// How the program ends.
    pub exit: Exit,
    /// One sentence: value, reason.
    pub message: String,
    /// What to do about it.
    pub remedy: Option<String>,
    /// What the server said of single fields.
    pub violations: Vec<Violation>,
    /// The server's machine-readable reason (`ErrorInfo.reason`).
    pub reason: Option<String>,
    /// The reader of the output has gone away (`| head`): nothing to complain about.
    pub silent: bool,
}

/// One field of a request that the server refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Path of the field in the request.
    pub field: String,
    /// Value, reason and remedy.
    pub description: String,
}

/// What `--json` writes to standard error.
#[derive(Serialize)]
struct ErrorDocument<'a> {
    error: ErrorBody<'a>,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    exit_code: u8,
    message: &'a str,
    remedy: Option<&'a str>,
    reason: Option<&'a str>,
    violations: &'a [Violation],
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            remedy: None,
            violations: Vec::new(),
            reason: None,
            silent: false,
        }
    }

    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Standard output could not be written.
    pub(crate) fn output(error: &io::Error) -> Self {
        let mut failure = Self::new(Exit::Io, format!("the output could not be written: {error}"));
        failure.silent = error.kind() == io::ErrorKind::BrokenPipe;
        failure
    }

    /// What the server answered to this caller, or why there was no answer.
    pub(crate) fn from_status(status: &Status, server: &str, caller: Caller) -> Self {
        let (exit, message, remedy) = match status.code() {
            Code::Unauthenticated | Code::PermissionDenied => (
                Exit::Denied,
                status.message().to_owned(),
                Some(caller.how_to_authenticate().to_owned()),
            ),
            Code::NotFound => (Exit::NotFound, status.message().to_owned(), None),
            Code::Aborted => (
                Exit::Refused,
                status.message().to_owned(),
                Some("`rule show ID --json` and `settings --json` say its present etag".to_owned()),
            ),
            Code::InvalidArgument | Code::OutOfRange | Code::FailedPrecondition | Code::AlreadyExists => {
                (Exit::Refused, status.message().to_owned(), None)
            }
            Code::ResourceExhausted => (
                Exit::Refused,
                status.message().to_owned(),
                // A server may say it in its message already.
                retry_delay(status)
                    .filter(|_| !status.message().contains("try again"))
                    .map(|delay| format!("try again in {} s", delay.as_secs().max(1))),
            ),
            Code::Unimplemented => (
                Exit::Internal,
                format!("the server at {server} does not know this call"),
                Some(
                    "it is of an older version than this program, or no stockalert server at all".to_owned(),
                ),
            ),
            _ if no_answer(status) => (
                Exit::Unavailable,
                format!("the server at {server} gave no answer: {}", status.message()),
                Some("try again; if it stays so, look at the server's log".to_owned()),
            ),
            Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::DeadlineExceeded
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss => (
                Exit::Internal,
                format!(
                    "the server at {server} failed ({:?}): {}",
                    status.code(),
                    status.message()
                ),
                Some("look at the server's log".to_owned()),
            ),
        };
        let details = status.get_error_details();
        let reason = details.error_info().map(|info| info.reason.clone());
        let (message, remedy) = match reason.as_deref() {
            // The server speaks of calls and headers, to programs.
            Some("UNAUTHENTICATED") => (format!("the server at {server} does not take this token"), remedy),
            Some("NO_CHAT") => (
                "no Telegram chat is connected, so no message can be sent".to_owned(),
                Some("connect one with `stockalert link` first".to_owned()),
            ),
            _ => (message, remedy),
        };
        let violations = details
            .bad_request()
            .map(|bad| &bad.field_violations[..])
            .unwrap_or_default()
            .iter()
            .map(|v| Violation {
                field: v.field.clone(),
                description: v.description.clone(),
            })
            .collect();
        Self {
            exit,
            message,
            remedy,
            violations,
            reason,
            silent: false,
        }
    }

    /// For standard error: lines for people, or one JSON object.
    #[must_use]
    pub fn render(&self, json: bool) -> String {
        if json {
            return self.render_json();
        }
        let mut text = format!("error: {}\n", self.message);
        for violation in &self.violations {
            // A server that has one violation may say it in its message already.
            if !self.message.contains(&violation.description) {
                text.push_str(&format!("  {}: {}\n", violation.field, violation.description));
            }
        }
        if let Some(remedy) = &self.remedy {
            text.push_str(&format!("  {remedy}\n"));
        }
        crate::screen::printable(&text)
    }

    fn render_json(&self) -> String {
        let document = ErrorDocument {
            error: ErrorBody {
                exit_code: self.exit as u8,
                message: &self.message,
                remedy: self.remedy.as_deref(),
                reason: self.reason.as_deref(),
                violations: &self.violations,
            },
        };
        // Strings and numbers always serialise.
        serde_json::to_string(&document).unwrap_or_default() + "\n"
    }
}

/// On whose behalf a command calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    User,
    Operator,
}

impl Caller {
    /// What to do where the server does not take the token.
    pub(crate) const fn how_to_authenticate(self) -> &'static str {
        match self {
            Self::User => {
                "give your newest token with --token or STOCKALERT_TOKEN, or register with `stockalert register EMAIL`"
            }
            Self::Operator => {
                "give the token that the server was started with (its OPERATOR_TOKEN), by --operator-token-file or \
                 STOCKALERT_OPERATOR_TOKEN"
            }
        }
    }
}

/// How long the server wants its caller to wait, where it says so.
pub(crate) fn retry_delay(status: &Status) -> Option<Duration> {
    status.get_error_details().retry_info()?.retry_delay
}

/// Whether the request may or may not have been carried out: the connection broke, or the time was up.
pub(crate) fn no_answer(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => true,
        // The client library's own errors come as Unknown with a source; a server's have none.
        Code::Unknown => std::error::Error::source(status).is_some(),
        Code::Ok
        | Code::InvalidArgument
        | Code::NotFound
        | Code::Aborted
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Internal
        | Code::DataLoss
        | Code::Unauthenticated => false,
    }
}

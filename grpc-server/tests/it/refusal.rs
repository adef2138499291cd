//! What a refusal looks like to a caller.

use grpc_server::ERROR_DOMAIN;
use tonic::{Code, Response, Status};
use tonic_types::{ErrorDetail, StatusExt as _};

/// A refused call.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) reason: String,
    /// Paths of the fields found invalid.
    pub(crate) fields: Vec<String>,
}

/// Takes the refusal apart; fails the test if the call was not refused, or not in the form that every refusal has.
pub(crate) fn refused<T: std::fmt::Debug>(result: Result<Response<T>, Status>) -> Refusal {
    refusal_of(&result.expect_err("the call is refused"))
}

pub(crate) fn refusal_of(status: &Status) -> Refusal {
    let mut infos = Vec::new();
    let mut fields = Vec::new();
    for detail in status.get_error_details_vec() {
        if let ErrorDetail::ErrorInfo(info) = detail {
            infos.push(info);
        } else if let ErrorDetail::BadRequest(bad_request) = detail {
            for violation in bad_request.field_violations {
                assert!(!violation.description.is_empty(), "{status:?}");
                fields.push(violation.field);
            }
        }
    }
    let [info] = infos.as_slice() else {
        panic!("not exactly one ErrorInfo: {status:?}")
    };
    assert_eq!(info.domain, ERROR_DOMAIN);
    assert!(
        info.reason
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte == b'_'),
        "{}",
        info.reason
    );
    assert!(!status.message().is_empty());
    Refusal {
        code: status.code(),
        reason: info.reason.clone(),
        fields,
    }
}

/// Asserts that the call was refused for exactly these fields.
#[track_caller]
pub(crate) fn assert_invalid<T: std::fmt::Debug>(
    result: Result<Response<T>, Status>,
    fields: &[&str],
    case: &str,
) {
    let refusal = refused(result);
    assert_eq!(
        (refusal.code, refusal.reason.as_str()),
        (Code::InvalidArgument, "INVALID_FIELDS"),
        "{case}"
    );
    assert_eq!(refusal.fields, fields, "{case}");
}

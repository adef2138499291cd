//! What the guard reads of a request's headers, and records of its answer.

use std::time::Instant;

use cqrs::domain::Token;
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, Response, header};
use tonic::{Code, Status};

pub(super) fn bearer_token(headers: &HeaderMap) -> Option<Token> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| Token::presented(token))
}

pub(super) fn record(method: String, response: &Response<Body>, started: Instant) {
    // A success carries its status in the trailers, a refusal in the headers.
    let code = Status::from_header_map(response.headers()).map_or(Code::Ok, |status| status.code());
    metrics::counter!("stockalert_grpc_requests_total", "method" => method.clone(), "code" => format!("{code:?}"))
        .increment(1);
    metrics::histogram!("stockalert_grpc_request_duration_seconds", "method" => method)
        .record(started.elapsed().as_secs_f64());
}

//! What every request passes before a service sees it: a place among the requests in hand, a deadline, and a caller.

use std::collections::HashSet;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use cqrs::domain::Token;
use cqrs::{Caller, Queries};
use prost::Message as _;
use tokio::sync::Semaphore;
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, Request, Response, header};
use tonic::{Code, Status};
use tower::{Layer, Service};

use crate::status::{complete, of_store, refusal};
use crate::{MAX_REQUESTS_IN_HAND, REQUEST_TIMEOUT};

/// The methods that need no token. Everything else does, methods not yet written included.
const OPEN_METHODS: [&str; 1] = ["/stockalert.v1.UserService/RegisterUser"];

/// The services that need no token: they tell nothing of any user.
const OPEN_SERVICES: [&str; 3] = [
    "/grpc.health.v1.Health/",
    "/grpc.reflection.v1.ServerReflection/",
    "/grpc.reflection.v1alpha.ServerReflection/",
];

/// The one way a method learns on whose behalf it runs.
///
/// # Errors
/// UNAUTHENTICATED if the guard let nobody in, which no method but an open one ever sees.
pub(crate) fn caller_of<T>(request: &tonic::Request<T>) -> Result<Caller, Status> {
    request
        .extensions()
        .get::<Caller>()
        .copied()
        .ok_or_else(unauthenticated)
}

/// Puts the guard around all services.
#[derive(Debug, Clone)]
pub(crate) struct GuardLayer(Arc<Guard>);

#[derive(Debug)]
struct Guard {
    queries: Queries,
    in_hand: Semaphore,
    methods: HashSet<String>,
}

impl GuardLayer {
    pub(crate) fn new(queries: Queries) -> Self {
        let in_hand = Semaphore::new(MAX_REQUESTS_IN_HAND);
        Self(Arc::new(Guard {
            queries,
            in_hand,
            methods: known_methods(),
        }))
    }
}

impl<S> Layer<S> for GuardLayer {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded {
            guard: Arc::clone(&self.0),
            inner,
        }
    }
}

/// A service behind the guard.
#[derive(Debug, Clone)]
pub(crate) struct Guarded<S> {
    guard: Arc<Guard>,
    inner: S,
}

impl<S> Service<Request<Body>> for Guarded<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // The clone is the one that becomes ready later; the one that is ready now handles this request.
        let next = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, next);
        let guard = Arc::clone(&self.guard);
        Box::pin(async move { Ok(guard.handle(inner, request).await) })
    }
}

impl Guard {
    async fn handle<S>(&self, mut inner: S, mut request: Request<Body>) -> Response<Body>
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    {
        let started = Instant::now();
        let method = self.label_of(request.uri().path());
        let answer = async {
            let Ok(_place) = self.in_hand.try_acquire() else {
                return busy().into_http();
            };
            if !is_open(request.uri().path()) {
                match self.authenticate(request.headers()).await {
                    Ok(caller) => request.extensions_mut().insert(caller),
                    Err(status) => return status.into_http(),
                };
            }
            match inner.call(request).await {
                Ok(response) => complete(response),
            }
        };
        let response = tokio::time::timeout(REQUEST_TIMEOUT, answer)
            .await
            .unwrap_or_else(|_| late().into_http());
        record(method, &response, started);
        response
    }

    async fn authenticate(&self, headers: &HeaderMap) -> Result<Caller, Status> {
        let token = bearer_token(headers).ok_or_else(unauthenticated)?;
        let caller = self
            .queries
            .authenticate(&token.hash())
            .await
            .map_err(|error| of_store(&error))?;
        caller.ok_or_else(unauthenticated)
    }

    /// The path, if it is one of ours: anything else would let callers make up metrics.
    fn label_of(&self, path: &str) -> String {
        if self.methods.contains(path) {
            path.to_owned()
        } else {
            "other".to_owned()
        }
    }
}

fn is_open(path: &str) -> bool {
    OPEN_METHODS.contains(&path) || OPEN_SERVICES.iter().any(|service| path.starts_with(service))
}

fn bearer_token(headers: &HeaderMap) -> Option<Token> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| Token::presented(token))
}

/// One text for a missing and a wrong token: which of them it was is nobody's business.
fn unauthenticated() -> Status {
    refusal(
        Code::Unauthenticated,
        "UNAUTHENTICATED",
        "this call needs the header \"authorization: Bearer TOKEN\" with the token that RegisterUser or RotateToken \
         answered last",
    )
}

fn busy() -> Status {
    refusal(
        Code::ResourceExhausted,
        "SERVER_BUSY",
        format!("the server has {MAX_REQUESTS_IN_HAND} requests in hand; try again in a moment"),
    )
}

fn late() -> Status {
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

fn record(method: String, response: &Response<Body>, started: Instant) {
    // A success carries its status in the trailers, a refusal in the headers.
    let code = Status::from_header_map(response.headers()).map_or(Code::Ok, |status| status.code());
    metrics::counter!("stockalert_grpc_requests_total", "method" => method.clone(), "code" => format!("{code:?}"))
        .increment(1);
    metrics::histogram!("stockalert_grpc_request_duration_seconds", "method" => method)
        .record(started.elapsed().as_secs_f64());
}

fn known_methods() -> HashSet<String> {
    let Ok(files) = prost_types::FileDescriptorSet::decode(proto::FILE_DESCRIPTOR_SET) else {
        return HashSet::new();
    };
    let mut methods = HashSet::new();
    for file in &files.file {
        for service in &file.service {
            for method in &service.method {
                methods.insert(format!(
                    "/{}.{}/{}",
                    file.package(),
                    service.name(),
                    method.name()
                ));
            }
        }
    }
    methods
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token_in(values: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, value.parse().unwrap());
        }
        bearer_token(&headers).map(|token| token.expose().to_owned())
    }

    #[test]
    fn only_one_bearer_token_is_taken() {
        assert_eq!(token_in(&["Bearer abc"]).as_deref(), Some("abc"));
        assert_eq!(token_in(&["bearer  abc "]).as_deref(), Some("abc"));
        for values in [
            &[][..],
            &["abc"],
            &["Basic abc"],
            &["Bearer"],
            &["Bearer "],
            &["Bearer a", "Bearer b"],
        ] {
            assert_eq!(token_in(values), None, "{values:?}");
        }
    }

    #[test]
    fn only_the_methods_named_are_open() {
        assert!(is_open("/stockalert.v1.UserService/RegisterUser"));
        assert!(is_open("/grpc.health.v1.Health/Check"));
        for path in [
            "/stockalert.v1.UserService/RegisterUserX",
            "/stockalert.v1.UserService/",
            "/",
            "",
            "/grpc.health.v1.Health",
        ] {
            assert!(!is_open(path), "{path}");
        }
    }

    #[test]
    fn the_open_method_exists() {
        assert!(
            OPEN_METHODS
                .iter()
                .all(|method| known_methods().contains(*method))
        );
    }
}

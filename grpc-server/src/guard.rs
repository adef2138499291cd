//! What every request passes before a service sees it: a caller, a share of what there is, and a deadline.

mod refusals;

use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use cqrs::domain::{Token, UserId};
use cqrs::{Caller, Queries};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, Request, Response, header};
use tonic::{Code, Status};
use tower::{Layer, Service};
use tracing::Instrument as _;

use crate::access::{AccessError, Credential, Method, Methods};
use crate::connections::Peer;
use crate::held::{Ending, Held};
use crate::proxies::counted_as;
use crate::rates::Rates;
use crate::slots::Slots;
use crate::status::{complete, of_store};
use crate::{MAX_REQUESTS_IN_HAND, MAX_REQUESTS_OF_ONE, REQUEST_TIMEOUT, SecurityArgs};

use refusals::{busy, ended, late, operator_only, too_many_streams, too_often, unauthenticated, users_only};

/// Most streams of health and reflection that are open, in all and from one address: they need no token.
const MOST_OPEN_STREAMS: usize = 512;
const MOST_OPEN_STREAMS_OF_ONE: usize = 16;

/// How long one of those stays open: longer than any client asks questions, and one that watches can come again.
const OPEN_STREAM_AGE: Duration = Duration::from_secs(60 * 60);

/// The one way a method learns on whose behalf it runs.
///
/// # Errors
/// UNAUTHENTICATED if the guard let no user in, which no method of users' ever sees.
pub(crate) fn caller_of<T>(request: &tonic::Request<T>) -> Result<Caller, Status> {
    request
        .extensions()
        .get::<Caller>()
        .copied()
        .ok_or_else(unauthenticated)
}

/// Who makes a call.
#[derive(Debug, Clone)]
enum Who {
    /// Nobody known, from this address.
    Stranger(u128),
    User(Caller),
    Operator,
}

/// Whose share of the server a call is counted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Share {
    Address(u128),
    User(UserId),
    Operator,
}

/// Puts the guard around all services.
#[derive(Debug, Clone)]
pub(crate) struct GuardLayer(Arc<Guard>);

#[derive(Debug)]
struct Guard {
    queries: Queries,
    methods: Methods,
    security: SecurityArgs,
    in_hand: Slots<Share>,
    open_streams: Slots<u128>,
    calls: Rates<Share>,
    registrations: Rates<u128>,
    shutdown: CancellationToken,
}

impl GuardLayer {
    /// # Errors
    /// If it is not known of some method who may call it.
    pub(crate) fn new(
        queries: Queries,
        security: SecurityArgs,
        shutdown: CancellationToken,
    ) -> Result<Self, AccessError> {
        let calls = security.calls_per_second;
        let registrations = security.registrations_per_hour;
        Ok(Self(Arc::new(Guard {
            queries,
            methods: Methods::of_the_api()?,
            in_hand: Slots::new(MAX_REQUESTS_IN_HAND, MAX_REQUESTS_OF_ONE),
            open_streams: Slots::new(MOST_OPEN_STREAMS, MOST_OPEN_STREAMS_OF_ONE),
            calls: Rates::new(calls, Duration::from_secs(1), calls * 2),
            registrations: Rates::new(
                registrations,
                Duration::from_secs(60 * 60),
                registrations.div_ceil(3),
            ),
            security,
            shutdown,
        })))
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
    S::Future: Send + 'static,
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
        Box::pin(async move { Ok(handle(guard, inner, request).await) })
    }
}

/// Answers one request. What it does goes on when the caller goes away, and keeps its place until it is done: else a caller
/// could have any number of commands in hand by cancelling each.
async fn handle<S>(guard: Arc<Guard>, inner: S, request: Request<Body>) -> Response<Body>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Send + 'static,
    S::Future: Send + 'static,
{
    let started = Instant::now();
    let method = guard.methods.of(request.uri().path());
    // The path, if it is one of ours: anything else would let callers make up metrics.
    let label = if method.own { request.uri().path() } else { "other" }.to_owned();
    let work = async move {
        let answer = guard.answer(method, inner, request);
        match tokio::time::timeout(REQUEST_TIMEOUT, answer).await {
            Ok(Ok(response)) => response,
            Ok(Err(status)) => status.into_http(),
            Err(_) => late().into_http(),
        }
    };
    let response = tokio::spawn(work.in_current_span())
        .await
        .unwrap_or_else(|_| of_store(&cqrs::StoreError::Interrupted).into_http());
    record(label, &response, started);
    response
}

impl Guard {
    async fn answer<S>(
        &self,
        method: Method,
        mut inner: S,
        mut request: Request<Body>,
    ) -> Result<Response<Body>, Status>
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    {
        let peer = Peer::of(request.extensions()).cloned();
        let call = peer.as_ref().map(Peer::begins_call);
        let address = self.address_of(peer.as_ref(), request.headers());
        // Before the database is asked who it is: a crowd of strangers doesn't get so far.
        let place = self.in_hand.take(Share::Address(address)).map_err(busy)?;
        let who = self
            .authorise(method.credential, address, request.headers())
            .await?;
        let share = who.share();
        // From here on it is the user's own share.
        drop(place);
        let place = self.in_hand.take(share).map_err(busy)?;
        if let Who::User(caller) = &who {
            self.calls
                .take(share, Instant::now())
                .map_err(|wait| too_often("calls", wait))?;
            request.extensions_mut().insert(*caller);
        }
        // Those of users are counted where they are served.
        let stream = match (method.streams, &who) {
            (true, Who::Stranger(address)) => {
                Some(self.open_streams.take(*address).map_err(too_many_streams)?)
            }
            _ => None,
        };
        let response = match inner.call(request).await {
            Ok(response) => complete(response),
        };
        drop(place);
        if !method.streams {
            return Ok(response);
        }
        let ending = self.ending(stream.is_some());
        Ok(response.map(|body| Body::new(Held::new(body, ending, (stream, call)))))
    }

    /// The only place that decides whether a call is let in, and for whom.
    async fn authorise(&self, needed: Credential, address: u128, headers: &HeaderMap) -> Result<Who, Status> {
        match needed {
            Credential::Open => return Ok(Who::Stranger(address)),
            Credential::Registration => {
                self.registrations
                    .take(address, Instant::now())
                    .map_err(|wait| too_often("registrations from this address", wait))?;
                return Ok(Who::Stranger(address));
            }
            Credential::User | Credential::Operator | Credential::UserOrOperator => {}
        }
        let who = self.authenticate(headers).await?;
        match (needed, &who) {
            (Credential::User, Who::Operator) => Err(users_only()),
            (Credential::Operator, Who::User(_)) => Err(operator_only()),
            _ => Ok(who),
        }
    }

    async fn authenticate(&self, headers: &HeaderMap) -> Result<Who, Status> {
        let token = bearer_token(headers).ok_or_else(unauthenticated)?;
        if let Some(operator) = &self.security.operator_token
            && operator.is(token.expose())
        {
            return Ok(Who::Operator);
        }
        let caller = self
            .queries
            .authenticate(&token.hash())
            .await
            .map_err(|error| of_store(&error))?;
        caller.map(Who::User).ok_or_else(unauthenticated)
    }

    /// Where a call comes from, as it is counted. Tests may serve without connections of ours.
    fn address_of(&self, peer: Option<&Peer>, headers: &HeaderMap) -> u128 {
        let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.address);
        counted_as(self.security.trusted_proxies.caller_of(peer, headers))
    }

    /// When a stream ends by itself. Users' streams see to that themselves.
    fn ending(&self, open: bool) -> Ending {
        if !open {
            return Box::pin(std::future::pending());
        }
        let shutdown = self.shutdown.clone();
        Box::pin(async move {
            tokio::select! {
                () = shutdown.cancelled() => ended("the server ends"),
                () = tokio::time::sleep(OPEN_STREAM_AGE) => ended("the stream was open for an hour"),
            }
        })
    }
}

impl Who {
    fn share(&self) -> Share {
        match self {
            Self::Stranger(address) => Share::Address(*address),
            Self::User(caller) => Share::User(caller.0),
            Self::Operator => Share::Operator,
        }
    }
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

fn record(method: String, response: &Response<Body>, started: Instant) {
    // A success carries its status in the trailers, a refusal in the headers.
    let code = Status::from_header_map(response.headers()).map_or(Code::Ok, |status| status.code());
    metrics::counter!("stockalert_grpc_requests_total", "method" => method.clone(), "code" => format!("{code:?}"))
        .increment(1);
    metrics::histogram!("stockalert_grpc_request_duration_seconds", "method" => method)
        .record(started.elapsed().as_secs_f64());
}

#[cfg(test)]
mod tests;

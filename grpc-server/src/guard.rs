//! What every request passes before a service sees it: a caller, a share of what there is, and a deadline.

mod edges;
mod refusals;

use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use cqrs::domain::UserId;
use cqrs::{Caller, Holder, LateToken, Queries};
use futures::FutureExt as _;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tower::{Layer, Service};
use tracing::Instrument as _;

use crate::access::{AccessError, Credential, Method, Methods};
use crate::addresses::{RatesOfSources, SlotOfSource, SlotsOfSources, Source};
use crate::connections::Peer;
use crate::held::{Ending, Held};
use crate::rates::Rates;
use crate::slots::{Slot, Slots};
use crate::status::{complete, of_store, unauthenticated};
use crate::timely::Timely;
use crate::{MAX_REQUESTS_IN_HAND, MAX_REQUESTS_OF_ONE, REQUEST_TIMEOUT, SecurityArgs};

use edges::{bearer_token, record};
use refusals::{busy, ended, late, operator_only, users_only};
pub(crate) use refusals::{too_many_streams, too_often, unread};

/// Most requests in hand of callers without a token that is good, in all and from one address. They never take the places of
/// users.
const MAX_STRANGERS: usize = 128;
const MAX_STRANGERS_OF_ONE: usize = 32;

/// How long such a request may take to arrive, and to be answered where nothing is written for it.
const PATIENCE_WITH_STRANGERS: Duration = Duration::from_secs(2);

/// Most tokens that were looked for and not found, from one address in a minute; a fifth of them at once. They are not
/// guessed, but each is a question to the database.
const WRONG_TOKENS_PER_MINUTE: u32 = 600;

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
    holder_of(request).map(|holder| holder.caller)
}

/// As [`caller_of`], with the token that let them in: it may be none any more when the request has been read.
///
/// # Errors
/// As [`caller_of`].
pub(crate) fn holder_of<T>(request: &tonic::Request<T>) -> Result<Holder, Status> {
    request
        .extensions()
        .get::<Holder>()
        .cloned()
        .ok_or_else(unauthenticated)
}

/// Who makes a call.
#[derive(Debug, Clone)]
enum Who {
    /// Nobody known.
    Stranger,
    /// Somebody whose token is good for this one call, and who is otherwise treated as a stranger.
    Late(Holder),
    User(Holder),
    Operator,
}

/// Whose share of the server a call is counted to, of those who are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Share {
    User(UserId),
    Operator,
}

/// A call's place among those in hand, until dropped.
#[derive(Debug)]
struct Place {
    _of_stranger: Option<SlotOfSource>,
    _of_known: Option<Slot<Share>>,
}

/// Puts the guard around all services.
#[derive(Debug, Clone)]
pub(crate) struct GuardLayer(Arc<Guard>);

#[derive(Debug)]
struct Guard {
    queries: Queries,
    methods: Methods,
    security: SecurityArgs,
    /// Calls whose tokens are looked for.
    arriving: SlotsOfSources,
    strangers: SlotsOfSources,
    in_hand: Slots<Share>,
    open_streams: SlotsOfSources,
    calls: Rates<Share>,
    registrations: RatesOfSources,
    wrong_tokens: RatesOfSources,
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
            arriving: SlotsOfSources::new(MAX_REQUESTS_IN_HAND, MAX_REQUESTS_OF_ONE),
            strangers: SlotsOfSources::new(MAX_STRANGERS, MAX_STRANGERS_OF_ONE),
            in_hand: Slots::new(MAX_REQUESTS_IN_HAND, MAX_REQUESTS_OF_ONE),
            open_streams: SlotsOfSources::new(MOST_OPEN_STREAMS, MOST_OPEN_STREAMS_OF_ONE),
            calls: Rates::new(calls, Duration::from_secs(1), calls * 2),
            registrations: RatesOfSources::new(
                registrations,
                Duration::from_secs(60 * 60),
                registrations.div_ceil(3),
            ),
            wrong_tokens: RatesOfSources::new(
                WRONG_TOKENS_PER_MINUTE,
                Duration::from_secs(60),
                WRONG_TOKENS_PER_MINUTE / 5,
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
    let of_work = label.clone();
    let work = async move {
        let answer = guard.answer(method, inner, request);
        let response = match tokio::time::timeout(REQUEST_TIMEOUT, answer).await {
            Ok(Ok(response)) => response,
            Ok(Err(status)) => status.into_http(),
            Err(_) => late().into_http(),
        };
        // Here, so that what nobody waits for any more is counted, too.
        record(of_work, &response, started);
        response
    };
    let mut work = Box::pin(AssertUnwindSafe(work.in_current_span()).catch_unwind());
    let done = match futures::poll!(&mut work) {
        // Much of what is asked for is known already, and a task of its own would cost as much as to answer it.
        Poll::Ready(done) => done.ok(),
        Poll::Pending => tokio::spawn(work).await.ok().and_then(Result::ok),
    };
    done.unwrap_or_else(|| {
        let response = of_store(&cqrs::StoreError::Interrupted).into_http();
        record(label, &response, started);
        response
    })
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
        let source = self.source_of(peer.as_ref(), request.headers());
        let (who, place) = self.let_in(method.credential, source, request.headers()).await?;
        let known = matches!(who, Who::User(_) | Who::Operator);
        if let Some(peer) = peer.filter(|_| known) {
            peer.is_known();
        }
        // Those of users are counted where they are served.
        let stream = if method.streams && !known {
            Some(self.open_streams.take(source).map_err(too_many_streams)?)
        } else {
            None
        };
        if !known && method.credential != Credential::Open {
            request = request.map(|body| Body::new(Timely::new(body, PATIENCE_WITH_STRANGERS)));
        }
        if let Who::User(holder) | Who::Late(holder) = who {
            request.extensions_mut().insert(holder);
        }
        let answer = async {
            match inner.call(request).await {
                Ok(response) => complete(response),
            }
        };
        let response = if method.credential == Credential::Open {
            // It reads what it is asked, and that is all. What reflection is asked comes while the stream is open.
            let answer = tokio::time::timeout(PATIENCE_WITH_STRANGERS, answer);
            answer.await.map_err(|_| unread())?
        } else {
            answer.await
        };
        drop(place);
        if !method.streams {
            return Ok(response);
        }
        let ending = self.ending(stream.is_some());
        Ok(response.map(|body| Body::new(Held::new(body, ending, (stream, call)))))
    }

    /// A place for the call, once it is known whose it is: nobody draws on the places of users who is none.
    async fn let_in(
        &self,
        needed: Credential,
        source: Source,
        headers: &HeaderMap,
    ) -> Result<(Who, Place), Status> {
        let who = if matches!(needed, Credential::Open | Credential::Registration) {
            Who::Stranger
        } else {
            // Held while the database is asked, which the caller can't draw out.
            let _arriving = self.arriving.take(source).map_err(busy)?;
            self.authorise(needed, source, headers).await?
        };
        let share = match &who {
            Who::Stranger | Who::Late(_) => {
                let place = self.strangers.take(source).map_err(busy)?;
                if needed == Credential::Registration {
                    self.registrations
                        .take(source, Instant::now())
                        .map_err(|wait| too_often("registrations from this address", wait))?;
                }
                let place = Place {
                    _of_stranger: Some(place),
                    _of_known: None,
                };
                return Ok((who, place));
            }
            Who::User(holder) => Share::User(holder.caller.0),
            Who::Operator => Share::Operator,
        };
        let place = Place {
            _of_stranger: None,
            _of_known: Some(self.in_hand.take(share).map_err(busy)?),
        };
        if let Share::User(_) = share {
            let counted = self.calls.take(share, Instant::now());
            counted.map_err(|wait| too_often("calls", wait))?;
        }
        Ok((who, place))
    }

    /// The only place that decides whether a call that needs a token is let in, and for whom.
    async fn authorise(
        &self,
        needed: Credential,
        source: Source,
        headers: &HeaderMap,
    ) -> Result<Who, Status> {
        let who = self.authenticate(needed, source, headers).await?;
        match (needed, &who) {
            (Credential::User | Credential::LateUser | Credential::ReplacedUser, Who::Operator) => {
                Err(users_only())
            }
            (Credential::Operator, Who::User(_)) => Err(operator_only()),
            _ => Ok(who),
        }
    }

    async fn authenticate(
        &self,
        needed: Credential,
        source: Source,
        headers: &HeaderMap,
    ) -> Result<Who, Status> {
        let token = bearer_token(headers).ok_or_else(unauthenticated)?;
        if let Some(operator) = &self.security.operator_token
            && operator.is(token.expose())
        {
            return Ok(Who::Operator);
        }
        if !token.is_shaped_like_api() {
            return Err(unauthenticated());
        }
        let too_often = |wait| too_often("wrong tokens from this address", wait);
        self.wrong_tokens
            .look(source, Instant::now())
            .map_err(too_often)?;
        let hash = token.hash();
        let holder = |caller| Holder {
            caller,
            token: Some(hash.clone()),
        };
        let caller = self.queries.authenticate(&hash).await;
        if let Some(caller) = caller.map_err(|error| of_store(&error))? {
            return Ok(Who::User(holder(caller)));
        }
        self.wrong_tokens
            .take(source, Instant::now())
            .map_err(too_often)?;
        if !matches!(needed, Credential::LateUser | Credential::ReplacedUser) {
            return Err(unauthenticated());
        }
        let late = self.queries.late_token(&hash).await;
        match (late.map_err(|error| of_store(&error))?, needed) {
            (Some(LateToken::TooOld(caller)), _)
            | (Some(LateToken::Replaced(caller)), Credential::ReplacedUser) => Ok(Who::Late(holder(caller))),
            _ => Err(unauthenticated()),
        }
    }

    /// Where a call comes from, as it is counted. Tests may serve without connections of ours.
    fn source_of(&self, peer: Option<&Peer>, headers: &HeaderMap) -> Source {
        let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.address);
        Source::of(self.security.trusted_proxies.caller_of(peer, headers))
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

#[cfg(test)]
mod tests;

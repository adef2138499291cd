use std::sync::Mutex;

use cqrs::{Store, StoreSettings};
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, SharedString, Unit};
use tokio::sync::Notify;
use tonic::Code;
use tonic::codegen::http::header;
use tower::service_fn;

use super::*;

async fn guard(folder: &std::path::Path) -> Arc<Guard> {
    guard_of(&store(folder).await)
}

async fn store(folder: &std::path::Path) -> Store {
    let settings = StoreSettings {
        url: format!("sqlite://{}", folder.join("x.db").display()),
        read_url: None,
        max_connections: 1,
        connect_timeout: Duration::from_secs(10),
    };
    Store::open(&settings).await.unwrap()
}

fn guard_of(store: &Store) -> Arc<Guard> {
    let security = SecurityArgs {
        calls_per_second: 1_000_000,
        registrations_per_hour: 1_000_000_000,
        ..SecurityArgs::default()
    };
    GuardLayer::new(store.queries(), security, CancellationToken::new())
        .unwrap()
        .0
}

/// One that needs no token.
fn request() -> Request<Body> {
    Request::builder()
        .uri("/stockalert.v1.UserService/RegisterUser")
        .body(Body::empty())
        .unwrap()
}

#[tokio::test]
async fn a_strangers_call_keeps_its_place_until_its_work_is_done_though_they_go_away() {
    let folder = tempfile::tempdir().unwrap();
    places_are_kept(&guard(folder.path()).await, MAX_STRANGERS_OF_ONE, request).await;
}

#[tokio::test]
async fn a_users_call_keeps_its_place_until_its_work_is_done_though_they_go_away() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    let email = "ada@example.org".parse().unwrap();
    let commands = store.commands(cqrs::Limits::default());
    let ada = commands.register_user(email, vec![], None).await.unwrap();
    let of_ada = || {
        Request::builder()
            .uri("/stockalert.v1.UserService/GetUser")
            .header(
                header::AUTHORIZATION,
                format!("Bearer {}", ada.api_token.expose()),
            )
            .body(Body::empty())
            .unwrap()
    };
    places_are_kept(&guard_of(&store), MAX_REQUESTS_OF_ONE, of_ada).await;
}

/// So many calls may be in hand, whether anybody waits for them or not.
async fn places_are_kept(guard: &Arc<Guard>, most: usize, request: impl Fn() -> Request<Body>) {
    let may_end = Arc::new(Notify::new());
    let begun = Arc::new(Notify::new());
    for _ in 0..most {
        let (may_end, has_begun) = (Arc::clone(&may_end), Arc::clone(&begun));
        let work = service_fn(move |_: Request<Body>| {
            let (may_end, has_begun) = (Arc::clone(&may_end), Arc::clone(&has_begun));
            async move {
                has_begun.notify_one();
                may_end.notified().await;
                Ok::<_, Infallible>(Response::new(Body::empty()))
            }
        });
        // Dropped as soon as the work has begun.
        tokio::select! {
            _ = handle(Arc::clone(guard), work, request()) => panic!("it waits"),
            () = begun.notified() => {}
        }
    }
    let nothing =
        || service_fn(|_: Request<Body>| async { Ok::<_, Infallible>(Response::new(Body::empty())) });
    let code = async || {
        let response = handle(Arc::clone(guard), nothing(), request()).await;
        Status::from_header_map(response.headers()).map_or(Code::Ok, |status| status.code())
    };
    assert_eq!(code().await, Code::ResourceExhausted);
    may_end.notify_waiters();
    let again = async {
        while code().await != Code::Ok {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), again)
        .await
        .unwrap();
}

/// Remembers which counters were counted up.
#[derive(Default)]
struct Counted(Mutex<Vec<String>>);

impl Counted {
    fn count(&self, label: &str) -> usize {
        let counted = self.0.lock().unwrap();
        counted.iter().filter(|key| key.contains(label)).count()
    }
}

impl metrics::Recorder for Counted {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        self.0.lock().unwrap().push(format!("{key:?}"));
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[tokio::test]
async fn a_call_whose_caller_goes_away_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let guard = guard(folder.path()).await;
    // Of this thread, on which all of this test runs.
    let counted = Counted::default();
    let _recording = metrics::set_default_local_recorder(&counted);
    let (begun, may_end) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let work = {
        let (begun, may_end) = (Arc::clone(&begun), Arc::clone(&may_end));
        service_fn(move |_: Request<Body>| {
            let (begun, may_end) = (Arc::clone(&begun), Arc::clone(&may_end));
            async move {
                begun.notify_one();
                may_end.notified().await;
                Ok::<_, Infallible>(Response::new(Body::empty()))
            }
        })
    };
    tokio::select! {
        _ = handle(guard, work, request()) => panic!("it waits"),
        () = begun.notified() => {}
    }
    assert_eq!(counted.count("RegisterUser"), 0);
    may_end.notify_one();
    let is_counted = async {
        while counted.count("RegisterUser") == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), is_counted)
        .await
        .unwrap();
    assert_eq!(counted.count("RegisterUser"), 1);
}

#[tokio::test]
async fn work_that_fails_for_good_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let guard = guard(folder.path()).await;
    for waits in [false, true] {
        #[expect(unreachable_code, reason = "the type of the answer")]
        let work = service_fn(move |_: Request<Body>| async move {
            if waits {
                tokio::task::yield_now().await;
            }
            panic!("as a bug would");
            Ok::<_, Infallible>(Response::new(Body::empty()))
        });
        let response = handle(Arc::clone(&guard), work, request()).await;
        let status = Status::from_header_map(response.headers()).unwrap();
        assert_eq!(status.code(), Code::Unavailable, "{waits}");
    }
}

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

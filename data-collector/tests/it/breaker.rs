//! The circuit breaker: exact numbers of calls, over many tasks. failsafe's clock is frozen on the test's one thread
//! and moved by hand; tokio's is paused.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use data_collector::breaker::{Breaker, CallError, HALF_OPEN_PROBES, Settings, State};
use data_collector::provider::ProviderError;
use tokio::task::LocalSet;

const TASKS: usize = 64;

fn settings() -> Settings {
    Settings {
        failures: 3,
        open_for: (Duration::from_secs(5), Duration::from_secs(20)),
        rate_limited_for: (Duration::from_secs(60), Duration::from_secs(200)),
        call_timeout: Duration::from_secs(10),
    }
}

/// A breaker with a provider behind it that counts its calls.
struct Trial {
    breaker: Rc<Breaker>,
    calls: Rc<Cell<usize>>,
    runtime: tokio::runtime::Runtime,
}

impl Trial {
    fn new() -> Self {
        Self {
            breaker: Rc::new(Breaker::new("test", &settings())),
            calls: Rc::default(),
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .unwrap(),
        }
    }

    /// 64 tasks call at once, each call takes a second. How many calls were made.
    fn storm(&self, answer: &Result<(), ProviderError>) -> usize {
        let before = self.calls.get();
        let local = LocalSet::new();
        for _ in 0..TASKS {
            let (breaker, calls, answer) = (Rc::clone(&self.breaker), Rc::clone(&self.calls), answer.clone());
            local.spawn_local(async move {
                let call = async {
                    calls.set(calls.get() + 1);
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    answer
                };
                breaker.call(call).await
            });
        }
        self.runtime.block_on(local);
        self.calls.get() - before
    }

    fn call(&self, answer: Result<(), ProviderError>) -> Result<(), CallError> {
        self.runtime.block_on(self.breaker.call(async {
            self.calls.set(self.calls.get() + 1);
            answer
        }))
    }
}

fn down() -> ProviderError {
    ProviderError::Unavailable {
        reason: "HTTP 503".into(),
    }
}

fn limited(seconds: Option<u64>) -> ProviderError {
    ProviderError::RateLimited {
        retry_after: seconds.map(Duration::from_secs),
    }
}

#[test]
fn failures_in_a_row_open_it_and_an_open_one_makes_no_call() {
    failsafe::clock::freeze(|_| {
        let trial = Trial::new();
        for _ in 0..2 {
            assert_eq!(trial.call(Err(down())), Err(CallError::Provider(down())));
        }
        assert_eq!(trial.call(Ok(())), Ok(()), "a success starts the count anew");
        for _ in 0..3 {
            assert_eq!(trial.breaker.state(), State::Closed);
            assert_eq!(trial.call(Err(down())), Err(CallError::Provider(down())));
        }
        assert_eq!(trial.breaker.state(), State::Open);
        assert_eq!(trial.storm(&Ok(())), 0);
        assert_eq!(trial.call(Ok(())), Err(CallError::Rejected));
    });
}

#[test]
fn half_open_lets_one_probe_through_over_64_tasks_and_its_success_closes_it() {
    failsafe::clock::freeze(|clock| {
        let trial = Trial::new();
        assert_eq!(
            trial.storm(&Err(down())),
            TASKS,
            "closed: all are let through, and admitted before it opened"
        );
        assert_eq!(trial.breaker.state(), State::Open);
        clock.advance(Duration::from_millis(5_001));
        assert_eq!(trial.storm(&Ok(())), HALF_OPEN_PROBES);
        assert_eq!(trial.breaker.state(), State::Closed);
        assert_eq!(trial.storm(&Ok(())), TASKS);
    });
}

#[test]
fn failed_probes_open_it_for_twice_as_long_up_to_the_longest() {
    failsafe::clock::freeze(|clock| {
        let trial = Trial::new();
        trial.storm(&Err(down()));
        for seconds in [5, 10, 20, 20] {
            clock.advance(Duration::from_secs(seconds));
            assert_eq!(trial.storm(&Err(down())), 0, "{seconds} s are not over yet");
            clock.advance(Duration::from_millis(1));
            assert_eq!(
                trial.storm(&Err(down())),
                HALF_OPEN_PROBES,
                "{seconds} s are over"
            );
            assert_eq!(trial.breaker.state(), State::Open);
        }
        clock.advance(Duration::from_millis(20_001));
        assert_eq!(trial.call(Ok(())), Ok(()));
        trial.storm(&Err(down()));
        clock.advance(Duration::from_millis(5_001));
        assert_eq!(
            trial.storm(&Ok(())),
            HALF_OPEN_PROBES,
            "after a success the back-off starts anew"
        );
    });
}

#[test]
fn a_symbol_without_price_counts_for_the_provider_not_against_it() {
    failsafe::clock::freeze(|clock| {
        let trial = Trial::new();
        for error in [
            ProviderError::UnknownSymbol,
            ProviderError::NoPrice {
                reason: "closed".into(),
            },
        ] {
            assert_eq!(trial.storm(&Err(error)), TASKS);
            assert_eq!(trial.breaker.state(), State::Closed);
        }
        trial.storm(&Err(down()));
        clock.advance(Duration::from_millis(5_001));
        assert_eq!(
            trial.call(Err(ProviderError::UnknownSymbol)),
            Err(ProviderError::UnknownSymbol.into())
        );
        assert_eq!(trial.breaker.state(), State::Closed, "it answered");
    });
}

#[test]
fn too_many_requests_open_it_at_once_for_as_long_as_the_provider_asks() {
    failsafe::clock::freeze(|clock| {
        let trial = Trial::new();
        assert_eq!(
            trial.call(Err(limited(Some(300)))),
            Err(limited(Some(300)).into())
        );
        assert_eq!(trial.breaker.state(), State::Open);
        clock.advance(Duration::from_secs(300));
        assert_eq!(trial.storm(&Ok(())), 0);
        clock.advance(Duration::from_millis(1));
        assert_eq!(trial.storm(&Ok(())), HALF_OPEN_PROBES);
        // No header for centuries, and none for no time at all.
        for (asked, honoured) in [(u64::MAX, 3_600), (0, 1)] {
            trial.call(Err(limited(Some(asked)))).unwrap_err();
            clock.advance(Duration::from_secs(honoured));
            assert_eq!(trial.storm(&Ok(())), 0, "{asked}");
            clock.advance(Duration::from_millis(1));
            assert_eq!(trial.storm(&Ok(())), HALF_OPEN_PROBES, "{asked}");
        }
    });
}

#[test]
fn too_many_requests_without_a_time_open_it_for_longer_and_longer() {
    failsafe::clock::freeze(|clock| {
        let trial = Trial::new();
        trial.call(Err(limited(None))).unwrap_err();
        for seconds in [60, 120, 200, 200] {
            clock.advance(Duration::from_secs(seconds));
            assert_eq!(
                trial.storm(&Err(limited(None))),
                0,
                "{seconds} s are not over yet"
            );
            clock.advance(Duration::from_millis(1));
            assert_eq!(
                trial.storm(&Err(limited(None))),
                HALF_OPEN_PROBES,
                "{seconds} s are over"
            );
        }
    });
}

#[test]
fn a_call_that_hangs_counts_as_failed() {
    failsafe::clock::freeze(|_| {
        let trial = Trial::new();
        for _ in 0..3 {
            let result = trial
                .runtime
                .block_on(trial.breaker.call(std::future::pending::<Result<(), _>>()));
            assert!(matches!(
                result,
                Err(CallError::Provider(ProviderError::Unavailable { .. }))
            ));
        }
        assert_eq!(trial.breaker.state(), State::Open);
    });
}

#[test]
fn a_cancelled_probe_gives_its_place_back() {
    failsafe::clock::freeze(|clock| {
        let trial = Trial::new();
        trial.storm(&Err(down()));
        clock.advance(Duration::from_millis(5_001));
        for _ in 0..3 {
            trial.runtime.block_on(async {
                let probe = trial.breaker.call(std::future::pending::<Result<(), _>>());
                assert!(tokio::time::timeout(Duration::from_secs(1), probe).await.is_err());
            });
        }
        assert_eq!(trial.breaker.state(), State::HalfOpen);
        assert_eq!(trial.storm(&Ok(())), HALF_OPEN_PROBES);
        assert_eq!(trial.breaker.state(), State::Closed);
    });
}

#[test]
fn a_late_answer_from_before_it_opened_does_not_close_it() {
    failsafe::clock::freeze(|clock| {
        let trial = Trial::new();
        let local = LocalSet::new();
        let late = Rc::clone(&trial.breaker);
        let (answer, answered) = tokio::sync::oneshot::channel::<()>();
        let call = local.spawn_local(async move {
            late.call(async {
                answered.await.unwrap();
                Ok(())
            })
            .await
        });
        // Let the late call be admitted.
        trial.runtime.block_on(local.run_until(tokio::task::yield_now()));
        for _ in 0..3 {
            trial.call(Err(down())).unwrap_err();
        }
        clock.advance(Duration::from_millis(5_001));
        let breaker = Rc::clone(&trial.breaker);
        let probe =
            local.spawn_local(async move { breaker.call(std::future::pending::<Result<(), _>>()).await });
        trial.runtime.block_on(local.run_until(async {
            tokio::task::yield_now().await;
            answer.send(()).unwrap();
            assert_eq!(call.await.unwrap(), Ok(()));
        }));
        assert_eq!(trial.breaker.state(), State::HalfOpen, "only the probe decides");
        trial
            .runtime
            .block_on(local.run_until(async { assert!(probe.await.unwrap().is_err()) }));
        assert_eq!(trial.breaker.state(), State::Open);
    });
}

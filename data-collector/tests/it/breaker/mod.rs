//! The circuit breaker: exact numbers of calls, over many tasks. failsafe's clock is frozen on the test's one thread
//! and moved by hand; tokio's is paused.

mod rate_limit;
mod threads;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use data_collector::breaker::{Breaker, CallError, Settings, State};
use data_collector::provider::ProviderError;
use tokio::task::LocalSet;

const TASKS: usize = 64;
const PROBES: usize = 3;

/// Opens when two of the last four calls failed, or three of them took two seconds.
fn settings() -> Settings {
    Settings {
        window: 4,
        minimum_calls: 3,
        failure_rate: 50,
        slow_call_rate: 75,
        slow_after: Duration::from_secs(2),
        probes: PROBES,
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
            breaker: Rc::new(Breaker::new("test", "quotes", &settings())),
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

    fn slow_call(&self, milliseconds: u64) -> Result<(), CallError> {
        self.runtime.block_on(self.breaker.call(async {
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            Ok(())
        }))
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
fn too_many_failures_among_the_last_calls_open_it_and_an_open_one_makes_no_call() {
    failsafe::clock::freeze(|_| {
        let trial = Trial::new();
        for answer in [Err(down()), Ok(())] {
            trial.call(answer).ok();
            assert_eq!(trial.breaker.state(), State::Closed, "too few calls to tell");
        }
        // One of three, one of four, one of the last four, none of the last four.
        for answer in [Ok(()), Ok(()), Err(down()), Ok(()), Ok(()), Ok(()), Ok(())] {
            trial.call(answer).ok();
            assert_eq!(trial.breaker.state(), State::Closed);
        }
        for answer in [Err(down()), Ok(())] {
            trial.call(answer).ok();
            assert_eq!(
                (trial.breaker.state(), trial.breaker.reason()),
                (State::Closed, None)
            );
        }
        assert_eq!(trial.call(Err(down())), Err(CallError::Provider(down())));
        assert_eq!(trial.breaker.state(), State::Open);
        assert_eq!(
            trial.breaker.reason().unwrap(),
            "2 of 4 calls failed, at last: the provider is not available: HTTP 503; it is tried again"
        );
        assert_eq!(trial.storm(&Ok(())), 0);
        assert_eq!(trial.call(Ok(())), Err(CallError::Rejected));
    });
}

#[test]
fn a_success_that_completes_the_minimum_opens_it_if_the_calls_before_it_failed() {
    failsafe::clock::freeze(|_| {
        let trial = Trial::new();
        for answer in [Err(down()), Err(down()), Ok(())] {
            assert_eq!(trial.breaker.state(), State::Closed);
            trial.call(answer).ok();
        }
        assert_eq!(trial.breaker.state(), State::Open);
        assert!(
            trial
                .breaker
                .reason()
                .unwrap()
                .starts_with("2 of 3 calls failed, at last:")
        );
    });
}

#[test]
fn calls_that_answer_slowly_open_it_and_slow_probes_keep_it_open() {
    failsafe::clock::freeze(|clock| {
        let trial = Trial::new();
        for (milliseconds, state) in [
            (2_000, State::Closed),
            (1_900, State::Closed),
            (2_000, State::Closed),
            (9_000, State::Open),
        ] {
            trial.slow_call(milliseconds).unwrap();
            assert_eq!(trial.breaker.state(), state, "{milliseconds}");
        }
        assert_eq!(trial.breaker.reason().unwrap(), "3 of 4 calls were slow");
        clock.advance(Duration::from_millis(5_001));
        for _ in 0..PROBES {
            assert_ne!(trial.breaker.state(), State::Closed);
            trial.slow_call(2_000).unwrap();
        }
        assert_eq!(trial.breaker.state(), State::Open);
    });
}

#[test]
fn trouble_in_an_answer_that_came_counts_as_a_failure() {
    failsafe::clock::freeze(|_| {
        let trial = Trial::new();
        let answer =
            || async { Ok::<_, ProviderError>(vec![ProviderError::UnknownSymbol, limited(Some(30))]) };
        let given = trial
            .runtime
            .block_on(trial.breaker.call_with(answer(), |errors| errors.last()));
        assert_eq!(given.unwrap().len(), 2, "the answer is given all the same");
        assert_eq!(trial.breaker.state(), State::Open);
    });
}

#[test]
fn half_open_lets_three_probes_through_over_64_tasks_and_their_success_closes_it() {
    failsafe::clock::freeze(|clock| {
        let trial = Trial::new();
        assert_eq!(
            trial.storm(&Err(down())),
            TASKS,
            "closed: all are let through, and admitted before it opened"
        );
        assert_eq!(trial.breaker.state(), State::Open);
        clock.advance(Duration::from_millis(5_001));
        assert_eq!(trial.storm(&Ok(())), PROBES);
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
            assert_eq!(trial.storm(&Err(down())), PROBES, "{seconds} s are over");
            assert_eq!(trial.breaker.state(), State::Open);
        }
        clock.advance(Duration::from_millis(20_001));
        assert_eq!(trial.storm(&Ok(())), PROBES);
        trial.storm(&Err(down()));
        clock.advance(Duration::from_millis(5_001));
        assert_eq!(
            trial.storm(&Ok(())),
            PROBES,
            "after a success the back-off starts anew"
        );
    });
}

#[test]
fn one_failed_probe_of_three_does_not_keep_it_open_and_two_do() {
    failsafe::clock::freeze(|clock| {
        let trial = Trial::new();
        for (answers, state) in [
            ([Err(down()), Ok(()), Ok(())], State::Closed),
            ([Ok(()), Err(down()), Err(down())], State::Open),
        ] {
            trial.storm(&Err(down()));
            assert_eq!(trial.breaker.state(), State::Open);
            clock.advance(Duration::from_millis(5_001));
            for answer in answers {
                assert_ne!(trial.breaker.state(), State::Closed);
                assert_ne!(trial.call(answer), Err(CallError::Rejected));
            }
            assert_eq!(trial.breaker.state(), state);
        }
        assert!(
            trial
                .breaker
                .reason()
                .unwrap()
                .starts_with("2 of 3 calls failed, at last:"),
            "{:?}",
            trial.breaker.reason()
        );
    });
}

#[test]
fn what_concerns_one_symbol_does_not_count_unless_it_is_a_probe() {
    failsafe::clock::freeze(|clock| {
        let trial = Trial::new();
        let no_price = || ProviderError::NoPrice {
            reason: "closed".into(),
        };
        for error in [ProviderError::UnknownSymbol, no_price()] {
            assert_eq!(trial.storm(&Err(error)), TASKS);
            assert_eq!(trial.breaker.state(), State::Closed);
        }
        // They do not make the failures among them fewer.
        for error in [down(), ProviderError::UnknownSymbol, down(), no_price(), down()] {
            assert_eq!(trial.breaker.state(), State::Closed);
            trial.call(Err(error)).unwrap_err();
        }
        assert_eq!(trial.breaker.state(), State::Open);
        clock.advance(Duration::from_millis(5_001));
        assert_eq!(trial.storm(&Err(ProviderError::UnknownSymbol)), PROBES);
        assert_eq!(trial.breaker.state(), State::Closed, "it answered");
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
        assert_eq!(trial.storm(&Ok(())), PROBES);
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
        assert_eq!(trial.breaker.state(), State::HalfOpen, "only probes decide");
        trial
            .runtime
            .block_on(local.run_until(async { assert!(probe.await.unwrap().is_err()) }));
        trial.call(Ok(())).unwrap();
        assert_eq!(trial.breaker.state(), State::HalfOpen, "once all have ended");
        trial.call(Err(down())).unwrap_err();
        assert_eq!(trial.breaker.state(), State::Open);
    });
}

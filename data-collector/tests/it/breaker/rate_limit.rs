//! Providers that want fewer requests.

use super::*;

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
        assert_eq!(trial.storm(&Ok(())), PROBES);
        // No header for centuries, and none for no time at all.
        for (asked, honoured) in [(u64::MAX, 3_600), (0, 1)] {
            trial.call(Err(limited(Some(asked)))).unwrap_err();
            assert_eq!(trial.breaker.state(), State::Open, "one is enough");
            clock.advance(Duration::from_secs(honoured));
            assert_eq!(trial.storm(&Ok(())), 0, "{asked}");
            clock.advance(Duration::from_millis(1));
            assert_eq!(trial.storm(&Ok(())), PROBES, "{asked}");
        }
    });
}

#[test]
fn too_many_requests_without_a_time_open_it_for_longer_and_longer() {
    failsafe::clock::freeze(|clock| {
        let trial = Trial::new();
        assert_eq!(trial.storm(&Err(limited(None))), TASKS, "64 refusals count once");
        for seconds in [60, 120, 200, 200] {
            clock.advance(Duration::from_secs(seconds));
            assert_eq!(
                trial.storm(&Err(limited(None))),
                0,
                "{seconds} s are not over yet"
            );
            clock.advance(Duration::from_millis(1));
            assert_eq!(trial.storm(&Err(limited(None))), PROBES, "{seconds} s are over");
        }
    });
}

#[test]
fn a_refusal_that_comes_when_it_is_open_already_is_honoured_too() {
    failsafe::clock::freeze(|clock| {
        let trial = Trial::new();
        let (refuse, refused) = tokio::sync::oneshot::channel::<()>();
        let local = LocalSet::new();
        let breaker = Rc::clone(&trial.breaker);
        let late = local.spawn_local(async move {
            breaker
                .call(async {
                    refused.await.unwrap();
                    Err::<(), _>(limited(Some(300)))
                })
                .await
        });
        trial.runtime.block_on(local.run_until(tokio::task::yield_now()));
        for _ in 0..3 {
            trial.call(Err(down())).unwrap_err();
        }
        assert_eq!(trial.breaker.state(), State::Open);
        clock.advance(Duration::from_secs(2));
        trial.runtime.block_on(local.run_until(async {
            refuse.send(()).unwrap();
            late.await.unwrap().unwrap_err();
        }));
        clock.advance(Duration::from_secs(300));
        assert_eq!(
            trial.storm(&Ok(())),
            0,
            "not after 5 s: 300 s from the refusal on"
        );
        clock.advance(Duration::from_millis(1));
        assert_eq!(trial.storm(&Ok(())), PROBES);
        assert_eq!(trial.breaker.state(), State::Closed);
    });
}

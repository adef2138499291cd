//! Threads that run at the same time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

#[test]
fn threads_that_call_at_once_get_no_more_than_the_probes() {
    // failsafe's clock can only be frozen on one thread: a real second has to pass.
    const ROUNDS: usize = 50;
    let settings = Settings {
        open_for: (Duration::from_secs(1), Duration::from_secs(1)),
        ..settings()
    };
    let breaker = Arc::new(Breaker::new("test", "quotes", &settings));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_time()
        .build()
        .unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let rejected = Arc::new(AtomicUsize::new(0));
    runtime.block_on(async {
        for _ in 0..3 {
            breaker.call(async { Err::<(), _>(down()) }).await.unwrap_err();
        }
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        let (answer, answered) = tokio::sync::watch::channel(false);
        let tasks: Vec<_> = (0..TASKS)
            .map(|_| {
                let (breaker, calls) = (Arc::clone(&breaker), Arc::clone(&calls));
                let rejected = Arc::clone(&rejected);
                let mut answered = answered.clone();
                tokio::spawn(async move {
                    for _ in 0..ROUNDS {
                        let call = async {
                            calls.fetch_add(1, Ordering::Relaxed);
                            answered.wait_for(|answered| *answered).await.unwrap();
                            Ok(())
                        };
                        if breaker.call(call).await.is_ok() {
                            return 1;
                        }
                        tokio::task::yield_now().await;
                    }
                    rejected.fetch_add(1, Ordering::Relaxed);
                    0
                })
            })
            .collect();
        while rejected.load(Ordering::Relaxed) < TASKS - PROBES {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        answer.send(true).unwrap();
        let mut answered = 0;
        for task in tasks {
            answered += task.await.unwrap();
        }
        assert_eq!((calls.load(Ordering::Relaxed), answered), (PROBES, PROBES));
        assert_eq!(breaker.state(), State::Closed);
    });
}

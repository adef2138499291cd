//! Work that costs little more for many than for one: what comes while a batch is being worked on is the next batch.
//!
//! Nobody waits for company: who comes first begins at once. Under load the batches grow by themselves, up to a limit.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

/// How long a batch may keep the next one waiting. Far longer than one takes, and a connection that hangs does not hold up
/// everybody.
const PATIENCE: Duration = Duration::from_secs(2);

/// What does a batch: an outcome for each item, in the order given.
type Work<I, O> = Box<dyn Fn(Vec<I>) -> Pin<Box<dyn Future<Output = Vec<O>> + Send>> + Send + Sync>;

/// Collects items into batches. Clones share them. How many wait is bounded by who calls: each waits for its own.
pub(crate) struct Batches<I, O>(Arc<Shared<I, O>>);

struct Shared<I, O> {
    most: usize,
    work: Work<I, O>,
    queue: Mutex<Queue<I, O>>,
}

struct Queue<I, O> {
    waiting: VecDeque<(I, oneshot::Sender<O>)>,
    /// Whether a task takes batches from it.
    at_work: bool,
}

impl<I, O> Clone for Batches<I, O> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<I, O> fmt::Debug for Batches<I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batches")
            .field("most", &self.0.most)
            .finish_non_exhaustive()
    }
}

impl<I: Send + 'static, O: Send + 'static> Batches<I, O> {
    /// Batches of at most `most` items, a power of two, each done by `work`.
    pub(crate) fn new<W, F>(most: usize, work: W) -> Self
    where
        W: Fn(Vec<I>) -> F + Send + Sync + 'static,
        F: Future<Output = Vec<O>> + Send + 'static,
    {
        Self(Arc::new(Shared {
            most,
            work: Box::new(move |items| Box::pin(work(items))),
            queue: Mutex::new(Queue {
                waiting: VecDeque::new(),
                at_work: false,
            }),
        }))
    }

    /// The outcome of one item. It is worked on to its end although the caller may go away. `None`: the work died.
    pub(crate) async fn put(&self, item: I) -> Option<O> {
        let (answer, outcome) = oneshot::channel();
        let begins = {
            let mut queue = self.0.queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.waiting.push_back((item, answer));
            !std::mem::replace(&mut queue.at_work, true)
        };
        if begins {
            tokio::spawn(Arc::clone(&self.0).work_off());
        }
        outcome.await.ok()
    }
}

impl<I: Send + 'static, O: Send + 'static> Shared<I, O> {
    async fn work_off(self: Arc<Self>) {
        loop {
            // Whoever is ready to ask gets the chance to: a busy process makes larger batches, an idle one loses nothing.
            tokio::task::yield_now().await;
            let Some((items, answers)) = self.next() else {
                return;
            };
            let shared = Arc::clone(&self);
            let batch = tokio::spawn(async move {
                let outcomes = (shared.work)(items).await;
                for (answer, outcome) in answers.into_iter().zip(outcomes) {
                    // Who went away does not want it.
                    let _ = answer.send(outcome);
                }
            });
            // A batch that died dropped its answers, which tells its callers; one that takes too long goes on beside the next.
            let _ = tokio::time::timeout(PATIENCE, batch).await;
        }
    }

    fn next(&self) -> Option<(Vec<I>, Vec<oneshot::Sender<O>>)> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.waiting.is_empty() {
            queue.at_work = false;
            return None;
        }
        // A power of two: statements of few different sizes, each of them for the whole batch.
        let size = 1 << queue.waiting.len().min(self.most).ilog2();
        Some(queue.waiting.drain(..size).unzip())
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;

    type Sizes = Arc<Mutex<Vec<usize>>>;

    /// Batches that wait for a permit each, and the sizes they had.
    fn gated(most: usize) -> (Batches<u32, u32>, Arc<Semaphore>, Sizes) {
        let (gate, sizes) = (Arc::new(Semaphore::new(0)), Arc::new(Mutex::new(Vec::new())));
        let (permits, seen) = (Arc::clone(&gate), Arc::clone(&sizes));
        let batches = Batches::new(most, move |items: Vec<u32>| {
            let (permits, seen) = (Arc::clone(&permits), Arc::clone(&seen));
            async move {
                seen.lock().unwrap().push(items.len());
                permits.acquire().await.unwrap().forget();
                assert!(!items.contains(&13), "13 kills its batch");
                items.iter().map(|item| item * 2).collect()
            }
        });
        (batches, gate, sizes)
    }

    async fn put_all(
        batches: &Batches<u32, u32>,
        items: impl Iterator<Item = u32>,
    ) -> Vec<tokio::task::JoinHandle<Option<u32>>> {
        let mut tasks = Vec::new();
        for item in items {
            let batches = batches.clone();
            tasks.push(tokio::spawn(async move { batches.put(item).await }));
            // In this order.
            tokio::task::yield_now().await;
        }
        tasks
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_begins_at_once_and_what_comes_meanwhile_is_the_next_batch() {
        let (batches, gate, sizes) = gated(4);
        let tasks = put_all(&batches, 0..8).await;
        assert_eq!(*sizes.lock().unwrap(), [1]);
        gate.add_permits(4);
        for (item, task) in (0..).zip(tasks) {
            assert_eq!(task.await.unwrap(), Some(item * 2));
        }
        assert_eq!(*sizes.lock().unwrap(), [1, 4, 2, 1]);
        gate.add_permits(1);
        assert_eq!(batches.put(9).await, Some(18), "it begins anew after a pause");
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_that_hangs_does_not_hold_up_the_next_for_long() {
        let (batches, gate, sizes) = gated(4);
        let mut tasks = put_all(&batches, 0..2).await;
        tokio::time::sleep(PATIENCE + Duration::from_millis(1)).await;
        assert_eq!(*sizes.lock().unwrap(), [1, 1]);
        gate.add_permits(2);
        assert_eq!(tasks.pop().unwrap().await.unwrap(), Some(2));
        assert_eq!(tasks.pop().unwrap().await.unwrap(), Some(0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_that_dies_tells_its_callers_and_the_next_is_worked_on() {
        let (batches, gate, _) = gated(1);
        let tasks = put_all(&batches, [13, 1].into_iter()).await;
        gate.add_permits(2);
        let mut outcomes = Vec::new();
        for task in tasks {
            outcomes.push(task.await.unwrap());
        }
        assert_eq!(outcomes, [None, Some(2)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_who_goes_away_takes_nothing_back() {
        let (batches, gate, sizes) = gated(4);
        let tasks = put_all(&batches, 0..2).await;
        tasks[1].abort();
        gate.add_permits(2);
        while sizes.lock().unwrap().len() < 2 || gate.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
    }
}

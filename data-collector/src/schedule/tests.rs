use std::sync::Mutex;

use super::*;

type Polls = Arc<Mutex<Vec<(Ticker, Instant, usize)>>>;

const INTERVAL: Duration = Duration::from_secs(10);
/// Paused time moves in whole milliseconds.
const GRAIN: Duration = Duration::from_millis(2);

struct Trial {
    changes: mpsc::Sender<WatchChange>,
    shutdown: CancellationToken,
    /// Ticker, time, and the state that was given.
    polls: Polls,
    /// Polls running now, and the most so far.
    most_at_once: Arc<Mutex<(usize, usize)>>,
    task: tokio::task::JoinHandle<anyhow::Result<()>>,
}

/// A poll that runs, until it has ended or is dropped.
struct Running(Arc<Mutex<(usize, usize)>>);

impl Running {
    fn start(load: Arc<Mutex<(usize, usize)>>) -> Self {
        let (now, most) = *load.lock().unwrap();
        *load.lock().unwrap() = (now + 1, most.max(now + 1));
        Self(load)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.lock().unwrap().0 -= 1;
    }
}

/// Polls take `takes`; the state counts a ticker's polls.
fn start(limit: usize, takes: Duration) -> Trial {
    let (changes, receiver) = mpsc::channel(100_000);
    let shutdown = CancellationToken::new();
    let polls = Polls::default();
    let most_at_once = Arc::new(Mutex::new((0, 0)));
    let (seen, load) = (Arc::clone(&polls), Arc::clone(&most_at_once));
    let poll = move |ticker: Ticker, state: usize| {
        let (seen, load) = (Arc::clone(&seen), Arc::clone(&load));
        async move {
            seen.lock().unwrap().push((ticker, Instant::now(), state));
            let _running = Running::start(load);
            tokio::time::sleep(takes).await;
            state + 1
        }
    };
    let task = tokio::spawn(run(
        INTERVAL,
        limit,
        receiver,
        shutdown.clone(),
        Arc::default(),
        poll,
    ));
    Trial {
        changes,
        shutdown,
        polls,
        most_at_once,
        task,
    }
}

fn ticker(number: usize) -> Ticker {
    format!("T{number}").parse().unwrap()
}

impl Trial {
    async fn watch(&self, number: usize) {
        self.changes
            .send(WatchChange::Watch(ticker(number)))
            .await
            .unwrap();
    }

    async fn unwatch(&self, number: usize) {
        self.changes
            .send(WatchChange::Unwatch(ticker(number)))
            .await
            .unwrap();
    }

    fn times_of(&self, number: usize) -> Vec<Instant> {
        let polls = self.polls.lock().unwrap();
        polls
            .iter()
            .filter(|(polled, ..)| *polled == ticker(number))
            .map(|(_, at, _)| *at)
            .collect()
    }

    async fn end(self) -> usize {
        self.shutdown.cancel();
        self.task.await.unwrap().unwrap();
        self.most_at_once.lock().unwrap().1
    }
}

#[tokio::test(start_paused = true)]
async fn five_thousand_tickers_near_the_limit_are_each_polled_once_per_interval_without_drift() {
    const TICKERS: usize = 5_000;
    // 64 polls of 120 ms at a time: 533 a second, where 500 are wanted.
    let trial = start(64, Duration::from_millis(120));
    for number in 0..TICKERS {
        trial.watch(number).await;
    }
    // What is made up for at the start has passed.
    tokio::time::sleep(INTERVAL * 4).await;
    let start = Instant::now();
    trial.polls.lock().unwrap().clear();
    tokio::time::sleep(INTERVAL * 10).await;
    let mut times: HashMap<Ticker, Vec<Instant>> = HashMap::new();
    let mut seconds = [0_usize; 100];
    for (ticker, at, _) in trial.polls.lock().unwrap().iter() {
        times.entry(ticker.clone()).or_default().push(*at);
        if let Some(count) = seconds.get_mut(usize::try_from((*at - start).as_secs()).unwrap()) {
            *count += 1;
        }
    }
    assert_eq!(times.len(), TICKERS);
    for (ticker, times) in &times {
        // A beat within the time that a poll may wait for its turn may fall on either side of the end.
        assert!((9..=11).contains(&times.len()), "{ticker}: {}", times.len());
        let last = u32::try_from(times.len() - 1).unwrap();
        let drift = (times[times.len() - 1] - times[0]).abs_diff(INTERVAL * last);
        // Its turn may come a little earlier or later than in another round, but not later and later.
        assert!(drift <= GRAIN * 25, "{ticker}: {drift:?}");
    }
    for count in seconds {
        assert!(
            (350..=600).contains(&count),
            "spread over the interval: {seconds:?}"
        );
    }
    assert!(trial.end().await <= 64);
}

#[tokio::test(start_paused = true)]
async fn a_slow_poll_leaves_beats_out_and_never_overlaps() {
    let trial = start(100, Duration::from_secs(25));
    trial.watch(1).await;
    tokio::time::sleep(INTERVAL * 31).await;
    let times = trial.times_of(1);
    assert!(times.len() >= 10, "each third beat: {}", times.len());
    for pair in times[1..].windows(2) {
        assert!((pair[1] - pair[0]).abs_diff(INTERVAL * 3) <= GRAIN);
    }
    let states: Vec<usize> = trial
        .polls
        .lock()
        .unwrap()
        .iter()
        .map(|(_, _, state)| *state)
        .collect();
    let expected: Vec<usize> = (0..states.len()).collect();
    assert_eq!(states, expected, "what a poll returns, the next is given");
    assert_eq!(trial.end().await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_ticker_watched_again_while_its_poll_runs_is_not_polled_twice_at_a_time() {
    let trial = start(100, Duration::from_secs(25));
    trial.watch(1).await;
    for _ in 0..30 {
        tokio::time::sleep(Duration::from_secs(4)).await;
        trial.unwatch(1).await;
        trial.watch(1).await;
    }
    assert!(trial.times_of(1).len() > 1);
    assert_eq!(trial.end().await, 1);
}

#[tokio::test(start_paused = true)]
async fn no_more_polls_than_the_limit_run_at_once_and_every_ticker_gets_its_turn() {
    let trial = start(4, Duration::from_secs(1));
    for number in 0..40 {
        trial.watch(number).await;
    }
    tokio::time::sleep(INTERVAL * 4).await;
    for number in 0..40 {
        assert!(trial.times_of(number).len() >= 2, "{number}");
    }
    assert_eq!(trial.end().await, 4);
}

#[tokio::test(start_paused = true)]
async fn an_unwatched_ticker_is_polled_no_more() {
    let trial = start(4, Duration::ZERO);
    trial.watch(1).await;
    tokio::time::sleep(INTERVAL * 3).await;
    trial.unwatch(1).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    let before = trial.times_of(1).len();
    assert!(before >= 2, "{before}");
    tokio::time::sleep(INTERVAL * 5).await;
    assert_eq!(trial.times_of(1).len(), before);
    trial.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_waits_for_its_provider_is_dropped_when_its_ticker_is_unwatched() {
    let trial = start(4, Duration::from_secs(1_000));
    for number in 0..4 {
        trial.watch(number).await;
    }
    tokio::time::sleep(INTERVAL).await;
    assert_eq!(*trial.most_at_once.lock().unwrap(), (4, 4));
    for number in 0..4 {
        trial.unwatch(number).await;
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(trial.most_at_once.lock().unwrap().0, 0);
    trial.watch(9).await;
    tokio::time::sleep(INTERVAL).await;
    assert_eq!(trial.times_of(9).len(), 1, "there is room for others");
    trial.unwatch(9).await;
    trial.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_ticker_that_is_wanted_for_a_moment_while_rules_are_read_is_not_polled() {
    let trial = start(4, Duration::ZERO);
    // Those whose beat comes at that very moment are.
    for number in 0..100 {
        trial.watch(number).await;
    }
    tokio::time::sleep(Duration::from_millis(10)).await;
    for number in 0..100 {
        trial.unwatch(number).await;
    }
    tokio::time::sleep(INTERVAL).await;
    assert!(trial.polls.lock().unwrap().len() <= 2);
    trial.end().await;
}

/// Beats as another instance has them that starts at this moment.
fn beats(interval: Duration, wall: Timestamp) -> Beats<()> {
    Beats::new(interval, wall, Arc::default())
}

/// Lets `beats` run until `end` and returns when the ticker was polled.
async fn polls_until(beats: &mut Beats<()>, end: Instant) -> Vec<Instant> {
    let mut polls = Vec::new();
    while let Some(due) = beats.next().filter(|due| *due <= end) {
        tokio::time::sleep_until(due).await;
        if let Some((ticker, (), _)) = beats.start() {
            polls.push(Instant::now());
            beats.ended(&ticker, Some(()));
        }
    }
    tokio::time::sleep_until(end).await;
    polls
}

#[tokio::test(start_paused = true)]
async fn whoever_takes_a_ticker_over_keeps_its_rhythm_and_makes_up_for_a_beat_that_may_have_been_missed() {
    // Session timeout and heartbeat.
    const WITHOUT_HOLDER: Duration = Duration::from_secs(10);
    for (seconds, number) in [2, 7, 9, 15, 20, 60, 600]
        .into_iter()
        .flat_map(|seconds| (0..40).map(move |number| (seconds, number)))
    {
        let interval = Duration::from_secs(seconds);
        let (began, wall) = (Instant::now(), Timestamp::from_micros(1_800_000_000_123_456));
        let mut killed = beats(interval, wall);
        killed.watch(ticker(number));
        let death = began + interval * 3 + interval * u32::try_from(number).unwrap() / 40;
        let mut polls = polls_until(&mut killed, death).await;
        let of_killed = polls.len();
        tokio::time::sleep(WITHOUT_HOLDER).await;
        let mut heir = beats(interval, wall.plus(Instant::now() - began));
        heir.watch(ticker(number));
        polls.extend(polls_until(&mut heir, Instant::now() + interval * 4).await);

        let case = format!("{interval:?}, {}", ticker(number));
        let longest = WITHOUT_HOLDER + MADE_UP_AFTER + MADE_UP_WITHIN + interval + GRAIN;
        for pair in polls.windows(2) {
            assert!(pair[1] - pair[0] <= longest, "{case}: {:?}", pair[1] - pair[0]);
        }
        for own in [&polls[..of_killed], &polls[of_killed..]] {
            for pair in own.windows(2) {
                let apart = pair[1] - pair[0];
                assert!(apart + GRAIN >= HANDOVER.min(interval / 2), "{case}: {apart:?}");
            }
            // Once the first is past.
            for pair in own[1..].windows(2) {
                assert!((pair[1] - pair[0]).abs_diff(interval) <= GRAIN, "{case}");
            }
        }
        let (last, first) = (polls[of_killed - 1], polls[polls.len() - 1]);
        let off = (first - last).as_nanos() % interval.as_nanos();
        let off = off.min(interval.as_nanos() - off);
        assert!(off <= GRAIN.as_nanos(), "{case}: the rhythm changed by {off} ns");
    }
}

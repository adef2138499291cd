//! The circuit breaker against a model: whatever 64 tasks do, in whatever order, it makes the calls that the model makes,
//! and no other.
//!
//! The model is the rule written down as plainly as possible: all results since the breaker closed are kept, and looked at
//! anew each time.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use data_collector::breaker::{Breaker, CallError, Settings, State};
use data_collector::provider::ProviderError;
use proptest::prelude::*;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, LocalSet};

const TASKS: usize = 64;
/// Seconds.
const TIMEOUT: u64 = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Good,
    Down,
    Unknown,
    Limited(Option<u64>),
}

impl Answer {
    fn result(self) -> Result<(), ProviderError> {
        match self {
            Self::Good => Ok(()),
            Self::Down => Err(ProviderError::Unavailable {
                reason: "down".into(),
            }),
            Self::Unknown => Err(ProviderError::UnknownSymbol),
            Self::Limited(seconds) => Err(ProviderError::RateLimited {
                retry_after: seconds.map(Duration::from_secs),
            }),
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// Task number so much calls, unless its last call still runs.
    Call(usize),
    /// All idle tasks call.
    Storm,
    /// Its call ends.
    Answer(usize, Answer),
    /// All calls end.
    AnswerAll(Answer),
    /// Its call is given up.
    Cancel(usize),
    /// Seconds pass.
    Wait(u64),
}

#[derive(Debug, Clone)]
struct Rules {
    window: usize,
    minimum: usize,
    failure_rate: u8,
    slow_rate: u8,
    slow_after: u64,
    probes: usize,
    open_for: (u64, u64),
    limited_for: (u64, u64),
}

impl Rules {
    fn settings(&self) -> Settings {
        let seconds = |(first, longest)| (Duration::from_secs(first), Duration::from_secs(longest));
        Settings {
            window: self.window,
            minimum_calls: self.minimum,
            failure_rate: self.failure_rate,
            slow_call_rate: self.slow_rate,
            slow_after: Duration::from_secs(self.slow_after),
            probes: self.probes,
            open_for: seconds(self.open_for),
            rate_limited_for: seconds(self.limited_for),
            call_timeout: Duration::from_secs(TIMEOUT),
        }
    }

    /// Whether so many results are too bad.
    fn too_bad(&self, results: &[(bool, bool)]) -> bool {
        let part = |count: usize, rate: u8| {
            count > 0 && count as f64 / results.len() as f64 >= f64::from(rate) / 100.0
        };
        part(
            results.iter().filter(|(failed, _)| *failed).count(),
            self.failure_rate,
        ) || part(results.iter().filter(|(_, slow)| *slow).count(), self.slow_rate)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ticket {
    /// Which state admitted it, counted from the start.
    era: u32,
    probe: bool,
    since: u64,
}

struct Model {
    rules: Rules,
    now: u64,
    era: u32,
    state: State,
    /// (failed, slow) since it closed, or of the probes.
    results: Vec<(bool, bool)>,
    probes: usize,
    open_until: u64,
    opened_by_failure: u32,
    opened_by_limit: u32,
}

impl Model {
    fn new(rules: Rules) -> Self {
        Self {
            rules,
            now: 0,
            era: 0,
            state: State::Closed,
            results: Vec::new(),
            probes: 0,
            open_until: 0,
            opened_by_failure: 0,
            opened_by_limit: 0,
        }
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.era += 1;
        self.results.clear();
        self.probes = 0;
    }

    fn open(&mut self, seconds: u64) {
        self.enter(State::Open);
        self.open_until = self.now + seconds;
    }

    fn open_after_failure(&mut self) {
        let (first, longest) = self.rules.open_for;
        self.open((first << self.opened_by_failure.min(30)).min(longest));
        self.opened_by_failure += 1;
    }

    fn call(&mut self) -> Option<Ticket> {
        if self.state == State::Open && self.now > self.open_until {
            self.enter(State::HalfOpen);
        }
        let probe = self.state == State::HalfOpen;
        if self.state == State::Open || probe && self.probes == self.rules.probes {
            return None;
        }
        self.probes += usize::from(probe);
        Some(Ticket {
            era: self.era,
            probe,
            since: self.now,
        })
    }

    fn end(&mut self, ticket: Ticket, answer: Answer) {
        if let Answer::Limited(asked) = answer {
            match (self.state, asked) {
                (State::Open, Some(asked)) => {
                    self.open_until = self.open_until.max(self.now + asked.clamp(1, 3_600));
                }
                (State::Open, None) => {}
                (_, Some(asked)) => self.open(asked.clamp(1, 3_600)),
                (_, None) => {
                    let (first, longest) = self.rules.limited_for;
                    self.open((first << self.opened_by_limit.min(30)).min(longest));
                    self.opened_by_limit += 1;
                }
            }
            return;
        }
        let is_symbol = answer == Answer::Unknown;
        if ticket.era != self.era || is_symbol && self.state == State::Closed {
            return;
        }
        let slow = self.now - ticket.since >= self.rules.slow_after;
        self.results.push((answer == Answer::Down, slow));
        if self.state == State::Closed {
            let first = self.results.len().saturating_sub(self.rules.window);
            let last = &self.results[first..];
            if last.len() >= self.rules.minimum.min(self.rules.window) && self.rules.too_bad(last) {
                self.open_after_failure();
            }
        } else if self.results.len() == self.rules.probes {
            if self.rules.too_bad(&self.results) {
                self.open_after_failure();
            } else {
                self.enter(State::Closed);
                (self.opened_by_failure, self.opened_by_limit) = (0, 0);
            }
        }
    }

    fn cancel(&mut self, ticket: Ticket) {
        if ticket.probe && ticket.era == self.era {
            self.probes -= 1;
        }
    }
}

/// A task's call that runs: what the model knows of it, and the real one.
struct Running {
    ticket: Ticket,
    answer: oneshot::Sender<Answer>,
    task: JoinHandle<Result<(), CallError>>,
}

struct Trial {
    model: Model,
    breaker: Rc<Breaker>,
    /// Calls that reached the provider.
    made: Rc<Cell<usize>>,
    expected: usize,
    running: Vec<Option<Running>>,
}

/// Long enough for every task to do what it can.
async fn let_all_run() {
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
}

impl Trial {
    fn new(rules: Rules) -> Self {
        Self {
            breaker: Rc::new(Breaker::new("test", "quotes", &rules.settings())),
            model: Model::new(rules),
            made: Rc::default(),
            expected: 0,
            running: (0..TASKS).map(|_| None).collect(),
        }
    }

    /// The tasks all call at once; the model says how many of them get through, and those are the first.
    async fn call(&mut self, tasks: &[usize]) {
        let mut started = Vec::new();
        for &number in tasks {
            let (answer, answered) = oneshot::channel();
            let (breaker, made) = (Rc::clone(&self.breaker), Rc::clone(&self.made));
            let task = tokio::task::spawn_local(async move {
                let call = async {
                    made.set(made.get() + 1);
                    answered.await.unwrap().result()
                };
                breaker.call(call).await
            });
            started.push((number, self.model.call(), answer, task));
        }
        let_all_run().await;
        for (number, ticket, answer, task) in started {
            assert_eq!(task.is_finished(), ticket.is_none(), "task {number} {ticket:?}");
            if let Some(ticket) = ticket {
                self.expected += 1;
                self.running[number] = Some(Running { ticket, answer, task });
            } else {
                assert_eq!(task.await.unwrap(), Err(CallError::Rejected));
            }
        }
    }

    async fn answer(&mut self, number: usize, answer: Answer) {
        if let Some(running) = self.running[number].take() {
            running.answer.send(answer).unwrap();
            let result = running.task.await.unwrap();
            assert_eq!(result, answer.result().map_err(CallError::Provider));
            self.model.end(running.ticket, answer);
        }
    }

    async fn cancel(&mut self, number: usize) {
        if let Some(running) = self.running[number].take() {
            running.task.abort();
            assert!(running.task.await.unwrap_err().is_cancelled());
            self.model.cancel(running.ticket);
        }
    }

    async fn wait(&mut self, seconds: u64, clock: &mut failsafe::clock::MockClock) {
        clock.advance(Duration::from_secs(seconds));
        tokio::time::advance(Duration::from_secs(seconds)).await;
        let_all_run().await;
        self.model.now += seconds;
        for number in 0..TASKS {
            let Some(running) =
                self.running[number].take_if(|running| self.model.now - running.ticket.since >= TIMEOUT)
            else {
                continue;
            };
            assert!(running.task.is_finished(), "a call ended in time");
            assert!(matches!(
                running.task.await.unwrap(),
                Err(CallError::Provider(ProviderError::Unavailable { .. }))
            ));
            self.model.end(running.ticket, Answer::Down);
        }
    }

    async fn take(&mut self, step: &Step, clock: &mut failsafe::clock::MockClock) {
        match *step {
            Step::Call(number) if self.running[number].is_none() => self.call(&[number]).await,
            Step::Call(_) => {}
            Step::Storm => {
                let idle: Vec<usize> = (0..TASKS).filter(|n| self.running[*n].is_none()).collect();
                self.call(&idle).await;
            }
            Step::Answer(number, answer) => self.answer(number, answer).await,
            Step::AnswerAll(answer) => {
                for number in 0..TASKS {
                    self.answer(number, answer).await;
                }
            }
            Step::Cancel(number) => self.cancel(number).await,
            Step::Wait(seconds) => self.wait(seconds, clock).await,
        }
        assert_eq!(self.breaker.state(), self.model.state, "{step:?}");
        assert_eq!(self.made.get(), self.expected, "{step:?}");
        assert_eq!(
            self.breaker.reason().is_none(),
            self.model.state == State::Closed,
            "{step:?}"
        );
    }
}

/// Plays the steps. How often each state was entered.
fn play(rules: Rules, steps: &[Step]) -> [usize; 3] {
    failsafe::clock::freeze(|clock| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        LocalSet::new().block_on(&runtime, async {
            let mut trial = Trial::new(rules);
            let mut entered = [0; 3];
            for step in steps {
                let era = trial.model.era;
                trial.take(step, clock).await;
                if trial.model.era != era {
                    entered[trial.model.state as usize] += 1;
                }
            }
            for number in 0..TASKS {
                trial.cancel(number).await;
            }
            entered
        })
    })
}

fn rules() -> impl Strategy<Value = Rules> {
    (
        (1_usize..30, 1_usize..20),
        (1_u8..=100, 1_u8..=100),
        1..=TIMEOUT,
        1_usize..8,
        (1_u64..10, 0_u64..60),
        (1_u64..100, 0_u64..600),
    )
        .prop_map(
            |((window, minimum), (failure_rate, slow_rate), slow_after, probes, open_for, limited_for)| {
                Rules {
                    window,
                    minimum,
                    failure_rate,
                    slow_rate,
                    slow_after,
                    probes,
                    open_for: (open_for.0, open_for.0 + open_for.1),
                    limited_for: (limited_for.0, limited_for.0 + limited_for.1),
                }
            },
        )
}

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        12 => Just(Answer::Good),
        8 => Just(Answer::Down),
        3 => Just(Answer::Unknown),
        1 => prop::option::of(prop_oneof![0_u64..100, Just(u64::MAX)]).prop_map(Answer::Limited),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..TASKS).prop_map(Step::Call),
        2 => Just(Step::Storm),
        24 => (0..TASKS, answer()).prop_map(|(number, answer)| Step::Answer(number, answer)),
        2 => answer().prop_map(Step::AnswerAll),
        2 => (0..TASKS).prop_map(Step::Cancel),
        6 => prop_oneof![4 => 1_u64..8, 1 => 8_u64..700].prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_breaker_makes_the_calls_that_the_model_makes(
        rules in rules(),
        steps in prop::collection::vec(step(), 1..120),
    ) {
        play(rules, &steps);
    }
}

#[test]
fn closed_open_half_open_closed_with_64_tasks_makes_exactly_these_calls() {
    let rules = Rules {
        window: 20,
        minimum: 10,
        failure_rate: 50,
        slow_rate: 80,
        slow_after: 5,
        probes: 3,
        open_for: (5, 120),
        limited_for: (60, 900),
    };
    let steps = [
        Step::Storm, // 64
        Step::AnswerAll(Answer::Good),
        Step::Storm,                   // 64
        Step::AnswerAll(Answer::Down), // open with the tenth
        Step::Storm,
        Step::Wait(5),
        Step::Storm,
        Step::Wait(1),
        Step::Storm, // 3
        Step::Storm,
        Step::AnswerAll(Answer::Down), // open, for 10 s
        Step::Wait(10),
        Step::Storm,
        Step::Wait(1),
        Step::Storm,                                // 3
        Step::AnswerAll(Answer::Good),              // closed
        Step::Storm,                                // 64
        Step::AnswerAll(Answer::Limited(Some(30))), // open for 30 s
        Step::Storm,
        Step::Wait(30),
        Step::Storm,
        Step::Wait(1),
        Step::Storm,                      // 3
        Step::AnswerAll(Answer::Unknown), // closed
        Step::Storm,                      // 64
    ];
    let mut calls = 0;
    failsafe::clock::freeze(|clock| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        LocalSet::new().block_on(&runtime, async {
            let mut trial = Trial::new(rules);
            for step in &steps {
                trial.take(step, clock).await;
            }
            calls = trial.made.get();
        });
    });
    assert_eq!(calls, 64 + 64 + 3 + 3 + 64 + 3 + 64);
}

//! The circuit breaker against a model: whatever 64 tasks do, in whatever order, it makes the calls that the model makes,
//! and no other.

mod model;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use data_collector::breaker::{Breaker, CallError, State};
use data_collector::provider::ProviderError;
use proptest::prelude::*;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, LocalSet};

use model::{Answer, Model, Rules, TIMEOUT, Ticket};

const TASKS: usize = 64;

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
            let (answer, answered) = oneshot::channel::<Answer>();
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

/// Plays the steps. How many calls were made.
fn play(rules: Rules, steps: &[Step]) -> usize {
    failsafe::clock::freeze(|clock| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        LocalSet::new().block_on(&runtime, async {
            let mut trial = Trial::new(rules);
            for step in steps {
                trial.take(step, clock).await;
            }
            for number in 0..TASKS {
                trial.cancel(number).await;
            }
            trial.made.get()
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
    assert_eq!(play(rules, &steps), 64 + 64 + 3 + 3 + 64 + 3 + 64);
}

//! Writers who repeat each command, under its id, until it is answered, and write down what they were told.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use e2e::day::SplitMix;
use e2e::rules_topic::RulesTopic;
use proto::v1;
use proto::v1::rule_service_client::RuleServiceClient;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tonic::transport::Channel;
use tonic::{Code, Response, Status};

use crate::api_run::{PATIENCE, User, channel, is_open, some_rule};

/// A paused instance takes calls and does not answer them.
const CALL_TIMEOUT: Duration = Duration::from_secs(4);
const PAUSE: Duration = Duration::from_millis(50);

pub(super) struct Writers {
    tasks: JoinSet<()>,
    shared: Arc<Shared>,
    commands: usize,
    allowed: usize,
}

struct Shared {
    users: Vec<Owner>,
    addresses: RwLock<Vec<String>>,
    /// Commands that may be begun.
    allowed: Semaphore,
    done: AtomicUsize,
    repeats: AtomicUsize,
    told: Mutex<Told>,
}

struct Owner {
    user: User,
    /// Rules that somebody may change; several writers may choose the same.
    rules: Mutex<Vec<String>>,
}

/// What the answers said.
#[derive(Default)]
struct Told {
    created: BTreeSet<String>,
    /// The versions of each rule.
    versions: BTreeMap<String, BTreeSet<i64>>,
    deleted: BTreeSet<String>,
    not_found: BTreeSet<String>,
    snoozed: usize,
}

impl Writers {
    pub(super) fn start(users: Vec<User>, count: usize, commands: usize) -> Self {
        let users = users.into_iter().map(|user| Owner {
            user,
            rules: Mutex::default(),
        });
        let shared = Arc::new(Shared {
            users: users.collect(),
            addresses: RwLock::default(),
            allowed: Semaphore::new(0),
            done: AtomicUsize::new(0),
            repeats: AtomicUsize::new(0),
            told: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        for number in 0..count {
            tasks.spawn(Writer::new(Arc::clone(&shared), number).run());
        }
        Self {
            tasks,
            shared,
            commands,
            allowed: 0,
        }
    }

    /// Where the instances are.
    pub(super) fn know(&self, addresses: &[String]) {
        *self.shared.addresses.write().unwrap() = addresses.to_vec();
    }

    pub(super) fn allow(&mut self, commands: usize) {
        self.allowed += commands;
        self.shared.allowed.add_permits(commands);
    }

    pub(super) fn done(&self) -> usize {
        self.shared.done.load(Ordering::Relaxed)
    }

    /// All commands that are left, until each is answered.
    pub(super) async fn finish(&mut self) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        self.allow(self.commands - self.allowed);
        while self.done() < self.commands {
            assert!(tokio::time::Instant::now() < deadline, "{self}");
            tokio::time::sleep(PAUSE).await;
        }
        self.shared.allowed.close();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
    }

    /// Where the topic is not what the answers said.
    pub(super) fn faults(&self, topic: &RulesTopic) -> Vec<String> {
        let told = self.shared.told.lock().unwrap();
        let mut faults = Vec::new();
        for (rule, versions) in &told.versions {
            let id = rule.parse().unwrap();
            let missing: Vec<_> = versions
                .iter()
                .filter(|version| !topic.has(id, **version))
                .collect();
            if !missing.is_empty() {
                faults.push(format!(
                    "{rule}: {missing:?} were answered and are not in the topic"
                ));
            }
            if told.deleted.contains(rule) != topic.is_deleted(id) {
                faults.push(format!("{rule}: its deletion is not as answered"));
            }
        }
        let unknown = topic
            .rules()
            .filter(|rule| !told.created.contains(&rule.to_string()));
        faults.extend(unknown.map(|rule| format!("{rule} is nobody's answer: its command made two rules")));
        let lost = told.not_found.difference(&told.deleted);
        faults.extend(lost.map(|rule| format!("{rule} was not found and never deleted")));
        faults
    }
}

impl fmt::Display for Writers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = self.shared.told.lock().unwrap();
        let versions: usize = told.versions.values().map(BTreeSet::len).sum();
        write!(
            f,
            "{} of {} commands answered by {} repeats more ({} created, {versions} versions, {} deleted, {} snoozed)",
            self.done(),
            self.commands,
            self.shared.repeats.load(Ordering::Relaxed),
            told.created.len(),
            told.deleted.len(),
            told.snoozed,
        )
    }
}

struct Writer {
    shared: Arc<Shared>,
    number: usize,
    random: SplitMix,
    clients: Vec<RuleServiceClient<Channel>>,
    commands: u32,
}

impl Writer {
    fn new(shared: Arc<Shared>, number: usize) -> Self {
        Self {
            shared,
            number,
            random: SplitMix(number as u64),
            clients: Vec::new(),
            commands: 0,
        }
    }

    async fn run(mut self) {
        loop {
            let shared = Arc::clone(&self.shared);
            let Ok(permit) = shared.allowed.acquire().await else {
                return;
            };
            permit.forget();
            self.commands += 1;
            match (self.choose(), self.random.below(100)) {
                (Some(rule), 0..50) => self.update(rule).await,
                (Some(rule), 50..60) => self.snooze(rule).await,
                (Some(rule), 60..75) => self.delete(rule).await,
                _ => self.create().await,
            }
            shared.done.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn owner(&self) -> &Owner {
        &self.shared.users[self.number % self.shared.users.len()]
    }

    fn request_id(&self) -> String {
        format!("{}-{}", self.number, self.commands)
    }

    /// One of the newest rules as often as any other: some change many times.
    fn choose(&mut self) -> Option<String> {
        let (newest, any) = (self.random.below(2) == 0, self.random.below(u64::MAX));
        let rules = self.owner().rules.lock().unwrap();
        let from = if newest { rules.len().saturating_sub(3) } else { 0 };
        let choice = usize::try_from(any % (rules.len() - from).max(1) as u64).unwrap();
        rules.get(from + choice).cloned()
    }

    async fn create(&mut self) {
        let request_id = self.request_id();
        let message = v1::CreateRuleRequest {
            rule: Some(some_rule(self.random.below(1_000), &request_id)),
            request_id,
            validate_only: false,
        };
        let call = async |mut client: RuleServiceClient<Channel>, request| client.create_rule(request).await;
        let rule = self.call(message, call).await.unwrap().rule.unwrap();
        let mut told = self.shared.told.lock().unwrap();
        told.created.insert(rule.id.clone());
        told.versions
            .entry(rule.id.clone())
            .or_default()
            .insert(rule.version);
        drop(told);
        self.owner().rules.lock().unwrap().push(rule.id);
    }

    async fn update(&mut self, id: String) {
        let (number, pauses) = (self.random.below(1_000), self.random.below(2) == 0);
        let new = some_rule(number, "");
        let paths: &[&str] = if pauses { &["paused"] } else { &["low", "high"] };
        let message = v1::UpdateRuleRequest {
            rule: Some(v1::Rule {
                id: id.clone(),
                low: new.low,
                high: new.high,
                paused: number.is_multiple_of(2),
                ..v1::Rule::default()
            }),
            update_mask: Some(prost_types::FieldMask {
                paths: paths.iter().map(|path| (*path).to_owned()).collect(),
            }),
            request_id: self.request_id(),
            validate_only: false,
        };
        let call = async |mut client: RuleServiceClient<Channel>, request| client.update_rule(request).await;
        let Some(answer) = self.call(message, call).await else {
            return self.was_not_found(id);
        };
        let mut told = self.shared.told.lock().unwrap();
        told.versions
            .entry(id)
            .or_default()
            .insert(answer.rule.unwrap().version);
    }

    async fn delete(&mut self, id: String) {
        self.owner().rules.lock().unwrap().retain(|other| *other != id);
        let message = v1::DeleteRuleRequest {
            rule_id: id.clone(),
            request_id: self.request_id(),
            etag: String::new(),
        };
        let call = async |mut client: RuleServiceClient<Channel>, request| client.delete_rule(request).await;
        if self.call(message, call).await.is_none() {
            return self.was_not_found(id);
        }
        self.shared.told.lock().unwrap().deleted.insert(id);
    }

    /// Has no request id, and needs none.
    async fn snooze(&mut self, rule_id: String) {
        let until = std::time::SystemTime::now() + Duration::from_secs(3_600);
        let message = v1::SnoozeRuleRequest {
            rule_id: rule_id.clone(),
            snooze: Some(v1::Snooze {
                end: Some(v1::snooze::End::UntilTime(until.into())),
            }),
            ..v1::SnoozeRuleRequest::default()
        };
        let call = async |mut client: RuleServiceClient<Channel>, request| client.snooze_rule(request).await;
        if self.call(message, call).await.is_none() {
            return self.was_not_found(rule_id);
        }
        self.shared.told.lock().unwrap().snoozed += 1;
    }

    fn was_not_found(&self, rule: String) {
        self.shared.told.lock().unwrap().not_found.insert(rule);
    }

    /// Until it is answered, and now and then once more: the answer must be the same. None: there is no such rule.
    async fn call<M, A, F>(
        &mut self,
        message: M,
        call: impl Fn(RuleServiceClient<Channel>, tonic::Request<M>) -> F,
    ) -> Option<A>
    where
        M: Clone + fmt::Debug,
        A: Answer,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let mut first = None;
        loop {
            let mut request = self.owner().user.request(message.clone());
            request.set_timeout(CALL_TIMEOUT);
            match call(self.client(), request).await {
                Ok(answer) => {
                    let answer = answer.into_inner();
                    let is_once_more = first.is_some();
                    let kept = answer.kept();
                    if let Some(first) = &first {
                        assert_eq!(Some(first), kept.as_ref(), "two answers to {message:?}");
                    }
                    if is_once_more || kept.is_none() || self.random.below(10) > 0 {
                        return Some(answer);
                    }
                    first = kept;
                }
                Err(status) if status.code() == Code::NotFound && first.is_none() => return None,
                Err(status) if is_open(&status) => {
                    // The next one may be there.
                    self.clients.rotate_left(1);
                    tokio::time::sleep(PAUSE).await;
                }
                Err(status) => panic!("{message:?}: {status:?}"),
            }
            self.shared.repeats.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn client(&mut self) -> RuleServiceClient<Channel> {
        let addresses = self.shared.addresses.read().unwrap();
        if self.clients.len() != addresses.len() {
            let client = |address: &String| RuleServiceClient::new(channel(address));
            self.clients = addresses.iter().map(client).collect();
            let first = self.number % self.clients.len();
            self.clients.rotate_left(first);
        }
        self.clients[0].clone()
    }
}

trait Answer {
    /// What a repeat must be told again; none: the command has no request id.
    fn kept(&self) -> Option<(String, i64)>;
}

fn of_rule(rule: Option<&v1::Rule>) -> Option<(String, i64)> {
    rule.map(|rule| (rule.id.clone(), rule.version))
}

impl Answer for v1::CreateRuleResponse {
    fn kept(&self) -> Option<(String, i64)> {
        of_rule(self.rule.as_ref())
    }
}

impl Answer for v1::UpdateRuleResponse {
    fn kept(&self) -> Option<(String, i64)> {
        of_rule(self.rule.as_ref())
    }
}

impl Answer for v1::DeleteRuleResponse {
    fn kept(&self) -> Option<(String, i64)> {
        Some((String::new(), 0))
    }
}

impl Answer for v1::SnoozeRuleResponse {
    fn kept(&self) -> Option<(String, i64)> {
        None
    }
}

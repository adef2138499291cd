//! Changes of single rules, many in one transaction: a command costs its share of a batch instead of ten round trips.
//!
//! A batch waits for nobody. What it can't do at once is left to a transaction of its own, which does it in the same way:
//! rules and users that others have locked, repeats within the batch, and all of a batch in which one row fails.

mod rows;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use sqlx::{Any, QueryBuilder};

use super::creation::{Room, created};
use super::requests::{self, Answer, Request, Stored};
use super::{Caller, Limits, RuleEdit};
use crate::batches::Batches;
use crate::domain::{Etag, NewRule, Range, Rule, RuleId, Timestamp, UserId};
use crate::ledger::release_held;
use crate::rows::RULE_COLUMNS;
use crate::sizes::{self, push_in};
use crate::transaction::{Ending, Tx};
use crate::{CommandError, Store, StoreError, outbox};

use self::rows::delete_rules;
pub(super) use self::rows::write_rules;

/// A change of one rule on behalf of its owner.
#[derive(Debug, Clone)]
pub(super) struct RuleCommand {
    pub(super) caller: Caller,
    pub(super) request: Request,
    pub(super) change: Change,
}

#[derive(Debug, Clone)]
pub(super) enum Change {
    Create(NewRule),
    Update(RuleId, Box<RuleEdit>),
    /// If the rule is still the one with this etag.
    Delete(RuleId, Option<Etag>),
}

/// The rule as it is now; none: it is gone.
type Done = Result<Option<Rule>, CommandError>;

#[derive(Debug)]
pub(super) enum Outcome {
    Done(Done),
    /// Nothing was done; it needs a transaction of its own ([`alone`]).
    NotTogether,
}

pub(super) type RuleBatches = Batches<RuleCommand, Outcome>;

pub(super) fn batches(store: Store, limits: Limits) -> RuleBatches {
    Batches::new(sizes::BATCH, move |commands: Vec<RuleCommand>| {
        let store = store.clone();
        async move { together(&store, limits, commands.into()).await }
    })
}

/// One command in a transaction of its own, which waits for what others have locked.
pub(super) async fn alone(store: &Store, limits: Limits, ending: Ending, command: RuleCommand) -> Done {
    let outcome = store
        .transaction_that(ending, move |tx| {
            let command = command.clone();
            Box::pin(async move {
                let outcomes = apply(tx, &[command], limits, Locks::WaitedFor).await?;
                Ok::<_, CommandError>(outcomes.into_iter().next())
            })
        })
        .await?;
    match outcome {
        Some(Outcome::Done(done)) => done,
        Some(Outcome::NotTogether) | None => Err(StoreError::Interrupted.into()),
    }
}

async fn together(store: &Store, limits: Limits, commands: Arc<[RuleCommand]>) -> Vec<Outcome> {
    let count = commands.len();
    let result = store
        .transaction(move |tx| {
            let commands = Arc::clone(&commands);
            Box::pin(async move { apply(tx, &commands, limits, Locks::Skipped).await })
        })
        .await;
    let error = match result {
        Ok(outcomes) => return outcomes,
        Err(CommandError::Store(error)) => error,
        // No other error is one of all commands; each will meet its own.
        Err(_) => return (0..count).map(|_| Outcome::NotTogether).collect(),
    };
    if error.is_refusal() {
        tracing::debug!(%error, commands = count, "a batch of commands failed; they follow one by one");
        return (0..count).map(|_| Outcome::NotTogether).collect();
    }
    // Whether it was committed is not known, so nothing of it may be done again but by the callers, who name their requests.
    let error = Arc::new(error);
    let failed = || Outcome::Done(Err(StoreError::Shared(Arc::clone(&error)).into()));
    (0..count).map(|_| failed()).collect()
}

/// What becomes of rows that another transaction has locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Locks {
    WaitedFor,
    /// As if they were not there.
    Skipped,
}

async fn apply(
    tx: &mut Tx,
    commands: &[RuleCommand],
    limits: Limits,
    locks: Locks,
) -> Result<Vec<Outcome>, CommandError> {
    let mut batch = Batch::lock(tx, commands, limits, locks).await?;
    let outcomes = commands
        .iter()
        .map(|command| batch.decide(command))
        .collect::<Result<Vec<_>, _>>()?;
    batch.write(tx).await?;
    Ok(outcomes)
}

/// All that the commands of a batch are decided by, locked, and what they leave to be written.
#[derive(Debug)]
struct Batch {
    now: Timestamp,
    locks: Locks,
    users: HashSet<UserId>,
    /// As the commands decided so far leave them.
    rules: HashMap<RuleId, Rule>,
    room: Room,
    stored: HashMap<String, Stored>,
    answered: HashSet<String>,
    /// Rows to be written.
    rows: BTreeMap<RuleId, Rule>,
    /// Each version, for the outbox.
    changed: Vec<Rule>,
    deleted: Vec<Rule>,
    no_longer_snoozed: Vec<UserId>,
    answers: Vec<Answer>,
}

impl Batch {
    async fn lock(
        tx: &mut Tx,
        commands: &[RuleCommand],
        limits: Limits,
        locks: Locks,
    ) -> Result<Self, CommandError> {
        let (mut creators, mut rules) = (Vec::new(), Vec::new());
        for command in commands {
            match &command.change {
                Change::Create(_) => creators.push(command.caller.0),
                Change::Update(rule, _) | Change::Delete(rule, _) => rules.push(*rule),
            }
        }
        let users = lock_users(tx, creators, locks).await?;
        let rules = lock_rules(tx, rules, locks).await?;
        // With everything locked: a repeat of a command that ran at the same time sees the first one's answer.
        let hashes: Vec<_> = commands
            .iter()
            .filter_map(|command| command.request.hash())
            .collect();
        let now = Timestamp::now();
        let stored = requests::stored(tx, &hashes, now).await?;
        let room = match users.is_empty() {
            true => Room::none(limits),
            false => Room::of(tx, &Vec::from_iter(users.iter().copied()), limits).await?,
        };
        Ok(Self {
            now,
            locks,
            users,
            rules,
            room,
            stored,
            answered: HashSet::new(),
            rows: BTreeMap::new(),
            changed: Vec::new(),
            deleted: Vec::new(),
            no_longer_snoozed: Vec::new(),
            answers: Vec::new(),
        })
    }

    /// # Errors
    /// If the answer can't be stored, never what the command is refused for.
    fn decide(&mut self, command: &RuleCommand) -> Result<Outcome, StoreError> {
        if let Some(hash) = command.request.hash() {
            if let Some(stored) = self.stored.get(hash) {
                return Ok(Outcome::Done(command.request.read(stored)));
            }
            if self.answered.contains(hash) {
                return Ok(Outcome::NotTogether);
            }
        }
        let done = match &command.change {
            Change::Create(new) => self.create(command.caller, new),
            Change::Update(rule, edit) => self.update(command.caller, *rule, edit),
            Change::Delete(rule, etag) => self.delete(command.caller, *rule, etag.as_ref()),
        };
        let Some(done) = done else {
            return Ok(Outcome::NotTogether);
        };
        if let Ok(answer) = &done {
            self.answered.extend(command.request.hash().map(str::to_owned));
            self.answers
                .extend(command.request.answered_with(command.caller.0, answer)?);
        }
        Ok(Outcome::Done(done))
    }

    fn create(&mut self, caller: Caller, new: &NewRule) -> Option<Done> {
        if !self.users.contains(&caller.0) {
            return self.missing(CommandError::UserNotFound);
        }
        if let Err(refusal) = self.room.take(caller.0, new, self.now) {
            return Some(Err(refusal.into()));
        }
        let rule = created(caller.0, new.clone(), self.now);
        self.rows.insert(rule.id, rule.clone());
        self.changed.push(rule.clone());
        Some(Ok(Some(rule)))
    }

    fn update(&mut self, caller: Caller, id: RuleId, edit: &RuleEdit) -> Option<Done> {
        let Some(old) = self.rule_of(caller, id) else {
            return self.missing(CommandError::RuleNotFound(id));
        };
        let was_snoozed = old.snooze.is_some();
        // What was held back goes out then, and others may have that locked.
        if was_snoozed && self.locks == Locks::Skipped {
            return None;
        }
        let rule = match still_is(&old, edit.etag.as_ref()).and_then(|()| edited(old, edit, self.now)) {
            Ok(rule) => rule,
            Err(error) => return Some(Err(error)),
        };
        if was_snoozed {
            self.no_longer_snoozed.push(caller.0);
        }
        self.rules.insert(id, rule.clone());
        self.rows.insert(id, rule.clone());
        self.changed.push(rule.clone());
        Some(Ok(Some(rule)))
    }

    fn delete(&mut self, caller: Caller, id: RuleId, etag: Option<&Etag>) -> Option<Done> {
        let Some(rule) = self.rule_of(caller, id) else {
            return self.missing(CommandError::RuleNotFound(id));
        };
        if let Err(error) = still_is(&rule, etag) {
            return Some(Err(error));
        }
        self.rules.remove(&id);
        self.rows.remove(&id);
        self.deleted.push(rule);
        Some(Ok(None))
    }

    fn rule_of(&self, caller: Caller, id: RuleId) -> Option<Rule> {
        self.rules
            .get(&id)
            .filter(|rule| rule.user_id == caller.0)
            .cloned()
    }

    /// What was skipped may be there all the same.
    fn missing(&self, error: CommandError) -> Option<Done> {
        match self.locks {
            Locks::WaitedFor => Some(Err(error)),
            Locks::Skipped => None,
        }
    }

    async fn write(self, tx: &mut Tx) -> Result<(), CommandError> {
        write_rules(tx, &Vec::from_iter(self.rows.into_values())).await?;
        delete_rules(tx, &self.deleted).await?;
        for user in self.no_longer_snoozed {
            release_held(tx.connection(), user, self.now).await?;
        }
        outbox::enqueue(tx, &self.changed).await?;
        outbox::enqueue_deleted(tx, &self.deleted, self.now).await?;
        Ok(requests::store(tx, &self.answers, self.now).await?)
    }
}

async fn lock_users(
    tx: &mut Tx,
    mut users: Vec<UserId>,
    locks: Locks,
) -> Result<HashSet<UserId>, StoreError> {
    users.sort_unstable();
    users.dedup();
    let mut found = HashSet::with_capacity(users.len());
    for portion in users.chunks(sizes::BATCH) {
        let mut select = QueryBuilder::<Any>::new("select id from users where id ");
        push_in(&mut select, portion.iter().map(ToString::to_string));
        select.push(locks.clause(tx));
        for row in &select.build().fetch_all(tx.connection()).await? {
            found.insert(crate::rows::text(row, "users", "id")?);
        }
    }
    Ok(found)
}

async fn lock_rules(
    tx: &mut Tx,
    mut rules: Vec<RuleId>,
    locks: Locks,
) -> Result<HashMap<RuleId, Rule>, StoreError> {
    rules.sort_unstable();
    rules.dedup();
    let mut found = HashMap::with_capacity(rules.len());
    for portion in rules.chunks(sizes::BATCH) {
        let mut select = QueryBuilder::<Any>::new(format!("select {RULE_COLUMNS} from rules where id "));
        push_in(&mut select, portion.iter().map(ToString::to_string));
        select.push(locks.clause(tx));
        for row in &select.build().fetch_all(tx.connection()).await? {
            let rule = crate::rows::rule(row)?;
            found.insert(rule.id, rule);
        }
    }
    Ok(found)
}

impl Locks {
    fn clause(self, tx: &Tx) -> &'static str {
        match self {
            Self::WaitedFor => tx.dialect.for_update(),
            Self::Skipped => tx.dialect.for_update_skip_locked(),
        }
    }
}

fn still_is(rule: &Rule, etag: Option<&Etag>) -> Result<(), CommandError> {
    if etag.is_none_or(|etag| *etag == Etag::of_rule(rule)) {
        Ok(())
    } else {
        Err(CommandError::Changed { what: "rule" })
    }
}

fn edited(old: Rule, edit: &RuleEdit, now: Timestamp) -> Result<Rule, CommandError> {
    if let Some(Some(expires_at)) = edit
        .expires_at
        .filter(|time| time.is_some_and(|time| time <= now))
    {
        return Err(CommandError::ExpiryInPast { expires_at });
    }
    let expires_at = edit.expires_at.unwrap_or(old.expires_at);
    // Whoever names thresholds, or wants the rule to go on, has looked at it.
    let looked_at = edit.low.is_some() || edit.high.is_some() || edit.paused == Some(false);
    Ok(Rule {
        range: Range::new(
            edit.low.unwrap_or(old.range.low()),
            edit.high.unwrap_or(old.range.high()),
        )?,
        note: edit.note.clone().unwrap_or_else(|| old.note.clone()),
        paused: edit.paused.unwrap_or(old.paused),
        expired: expires_at.is_some_and(|time| time <= now),
        expires_at,
        // What was snoozed were the old thresholds.
        snooze: None,
        on_hold_since: old.on_hold_since.filter(|_| !looked_at),
        version: old.version.next(),
        updated_at: old.next_update(now),
        ..old
    })
}

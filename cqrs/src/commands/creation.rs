use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use sqlx::{Any, QueryBuilder, Row as _};

use super::changes::write_rules;
use super::requests::Request;
use super::users::lock_user;
use super::{Caller, Commands, Idempotency, Limits};
use crate::domain::{NewRule, Rule, RuleId, RuleVersion, Timestamp, UserId};
use crate::sizes::{self, push_in};
use crate::transaction::Tx;
use crate::{CommandError, StoreError, outbox, rows};

/// Why one rule of several was not created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleRefusal {
    /// It would never be evaluated.
    ExpiryInPast {
        /// As given.
        expires_at: Timestamp,
    },
    /// The caller has as many rules as allowed.
    TooManyRules {
        /// How many are allowed for one user.
        limit: u32,
    },
    /// The embedded log can't hold more.
    EmbeddedLogFull {
        /// How many rules fit.
        limit: u32,
    },
}

impl From<RuleRefusal> for CommandError {
    fn from(refusal: RuleRefusal) -> Self {
        match refusal {
            RuleRefusal::ExpiryInPast { expires_at } => Self::ExpiryInPast { expires_at },
            RuleRefusal::TooManyRules { limit } => Self::TooManyRules { limit },
            RuleRefusal::EmbeddedLogFull { limit } => Self::EmbeddedLogFull { limit },
        }
    }
}

impl Commands {
    /// Creates rules: all of them or none. They are returned in the order given.
    ///
    /// # Errors
    /// `ExpiryInPast`, `TooManyRules`, `EmbeddedLogFull`, `UserNotFound`, `RequestIdReused`.
    pub async fn create_rules(
        &self,
        caller: Caller,
        rules: Vec<NewRule>,
        idempotency: Option<Idempotency>,
    ) -> Result<Vec<Rule>, CommandError> {
        let limits = self.limits;
        let request = Request::of(caller, idempotency);
        self.transaction(move |tx| {
            let (request, new) = (request.clone(), rules.clone());
            Box::pin(async move {
                let now = Timestamp::now();
                lock_user(tx, caller).await?;
                if let Some((_, rules)) = request.replay(tx, now).await? {
                    return Ok(rules);
                }
                let rules = insert(tx, caller.0, new, limits, now).await?;
                request.answer(tx, caller.0, &rules, now).await?;
                Ok(rules)
            })
        })
        .await
    }

    /// Creates those of the rules that can be created. Each is given with its place in the caller's list, and has an
    /// outcome with it.
    ///
    /// # Errors
    /// `UserNotFound`, `RequestIdReused`.
    pub async fn create_each(
        &self,
        caller: Caller,
        rules: Vec<(usize, NewRule)>,
        idempotency: Option<Idempotency>,
    ) -> Result<Vec<(usize, Result<Rule, RuleRefusal>)>, CommandError> {
        let limits = self.limits;
        let request = Request::of(caller, idempotency);
        self.transaction(move |tx| {
            let (request, new) = (request.clone(), rules.clone());
            Box::pin(async move {
                let now = Timestamp::now();
                lock_user(tx, caller).await?;
                if let Some((_, outcomes)) = request.replay(tx, now).await? {
                    return Ok(outcomes);
                }
                let outcomes = insert_each(tx, caller.0, new, limits, now).await?;
                request.answer(tx, caller.0, &outcomes, now).await?;
                Ok(outcomes)
            })
        })
        .await
    }
}

async fn insert_each(
    tx: &mut Tx,
    user: UserId,
    new: Vec<(usize, NewRule)>,
    limits: Limits,
    now: Timestamp,
) -> Result<Vec<(usize, Result<Rule, RuleRefusal>)>, CommandError> {
    let mut room = Room::of(tx, &[user], limits).await?;
    let (mut outcomes, mut places, mut taken) = (Vec::with_capacity(new.len()), Vec::new(), Vec::new());
    for (place, rule) in new {
        match room.take(user, &rule, now) {
            Ok(()) => {
                places.push(place);
                taken.push(rule);
            }
            Err(refusal) => outcomes.push((place, Err(refusal))),
        }
    }
    let created = write(tx, user, taken, now).await?;
    outcomes.extend(places.into_iter().zip(created.into_iter().map(Ok)));
    outcomes.sort_unstable_by_key(|(place, _)| *place);
    Ok(outcomes)
}

/// Adds rules of a user whose row is locked (so that the count can't change meanwhile), and their outbox rows.
pub(super) async fn insert(
    tx: &mut Tx,
    user: UserId,
    new: Vec<NewRule>,
    limits: Limits,
    now: Timestamp,
) -> Result<Vec<Rule>, CommandError> {
    let mut room = Room::of(tx, &[user], limits).await?;
    for rule in &new {
        room.take(user, rule, now)?;
    }
    write(tx, user, new, now).await
}

/// The rows of rules for which there is room.
async fn write(
    tx: &mut Tx,
    user: UserId,
    new: Vec<NewRule>,
    now: Timestamp,
) -> Result<Vec<Rule>, CommandError> {
    let rules: Vec<_> = new.into_iter().map(|rule| created(user, rule, now)).collect();
    write_rules(tx, &rules).await?;
    outbox::enqueue(tx, &rules).await?;
    Ok(rules)
}

/// How many rules more there may be.
#[derive(Debug)]
pub(super) struct Room {
    limits: Limits,
    /// How many each user has.
    of: HashMap<UserId, i64>,
    all: i64,
}

impl Room {
    /// For users whose rows are locked, so that the counts can't change meanwhile.
    pub(super) async fn of(tx: &mut Tx, users: &[UserId], limits: Limits) -> Result<Self, StoreError> {
        let mut of = HashMap::new();
        for portion in users.chunks(sizes::BATCH) {
            let mut select =
                QueryBuilder::<Any>::new("select user_id, count(*) as rule_count from rules where user_id ");
            push_in(&mut select, portion.iter().map(ToString::to_string));
            select.push(" group by user_id");
            for row in &select.build().fetch_all(tx.connection()).await? {
                of.insert(rows::text(row, "rules", "user_id")?, row.try_get("rule_count")?);
            }
        }
        let all = match limits.rules_in_all {
            None => 0,
            Some(_) => {
                sqlx::query_scalar("select count(*) from rules")
                    .fetch_one(tx.connection())
                    .await?
            }
        };
        Ok(Self { limits, of, all })
    }

    /// For nobody.
    pub(super) fn none(limits: Limits) -> Self {
        Self {
            limits,
            of: HashMap::new(),
            all: 0,
        }
    }

    /// One rule less of it, if the rule can be at all.
    pub(super) fn take(&mut self, user: UserId, rule: &NewRule, now: Timestamp) -> Result<(), RuleRefusal> {
        if let Some(expires_at) = rule.expires_at.filter(|time| *time <= now) {
            return Err(RuleRefusal::ExpiryInPast { expires_at });
        }
        let (limit, theirs) = (self.limits.rules_per_user, self.of.entry(user).or_default());
        if *theirs >= i64::from(limit) {
            return Err(RuleRefusal::TooManyRules { limit });
        }
        if let Some(limit) = self.limits.rules_in_all
            && self.all >= i64::from(limit)
        {
            return Err(RuleRefusal::EmbeddedLogFull { limit });
        }
        *theirs += 1;
        self.all += 1;
        Ok(())
    }
}

pub(super) fn created(user_id: UserId, new: NewRule, now: Timestamp) -> Rule {
    Rule {
        id: RuleId::generate(),
        user_id,
        ticker: new.ticker,
        range: new.range,
        note: new.note,
        paused: new.paused,
        expired: false,
        expires_at: new.expires_at,
        snooze: None,
        on_hold_since: None,
        version: RuleVersion::FIRST,
        created_at: now,
        updated_at: now,
    }
}

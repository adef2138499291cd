//! What a claim has to know of the users, rules and deliveries that it is about.

use std::collections::{HashMap, HashSet};

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, QueryBuilder, Row as _};

use super::compose::{CurrentRule, Pending, RuleView, Told};
use super::hold::Hold;
use super::message::{DeliveryKind, HeldRule, MAX_ITEMS, Recipient, Restated};
use super::rows::Reader;
use crate::StoreError;
use crate::dialect::Dialect;
use crate::domain::{ChatId, DeliveryId, Note, QuietHours, Restatement, RuleId, Timestamp, UserId};
use crate::rows::{self, RESTATEMENT_COLUMNS, RULE_COLUMNS};
use crate::sizes::push_in;

/// Rules in all messages of one claim, and deliveries: those planned first, so that none overtakes another of its rule. One
/// statement may name them all; its lists are filled up to 16,384 values, and the next size is more than SQLite takes.
const MAX_RULES_IN_ALL: usize = 10_000;
const MAX_DELIVERIES: i64 = 10_000;

/// A user whose row is locked.
#[derive(Debug, Clone)]
pub(super) struct UserView {
    pub(super) recipient: Recipient,
    pub(super) quiet_hours: Option<QuietHours>,
    pub(super) suspended: bool,
    pub(super) chat_next_at: Timestamp,
    /// A message is on its way to them.
    pub(super) sending: bool,
}

/// Locks the users' rows: what is claimed for them, and how sends to them ended, is written by one at a time.
pub(super) async fn lock_users(
    connection: &mut AnyConnection,
    dialect: Dialect,
    users: impl Iterator<Item = UserId>,
) -> Result<HashMap<UserId, UserView>, StoreError> {
    let users: Vec<String> = users.map(|user| user.to_string()).collect();
    let mut select = QueryBuilder::new(
        "select id, chat_id, language, messenger_language, time_zone, quiet_from, quiet_to, chat_suspended_at, \
         chat_next_at from users where id ",
    );
    push_in(&mut select, users.iter().cloned());
    select.push(" order by id").push(dialect.for_update());
    let rows = select.build().fetch_all(&mut *connection).await?;
    let mut sending =
        QueryBuilder::new("select distinct user_id from deliveries where status = 'sending' and user_id ");
    push_in(&mut sending, users);
    let read = Reader("deliveries");
    let sending = sending
        .build()
        .fetch_all(connection)
        .await?
        .iter()
        .map(|row| read.parsed(row, "user_id"))
        .collect::<Result<HashSet<UserId>, _>>()?;
    let read = Reader("users");
    rows.iter()
        .map(|row| {
            let id = read.parsed(row, "id")?;
            let chat = row.try_get::<Option<i64>, _>("chat_id")?.map(ChatId::new);
            let suspended_at: Option<i64> = row.try_get("chat_suspended_at")?;
            let view = UserView {
                recipient: Recipient {
                    chat,
                    language: rows::language_of_user(row)?,
                    time_zone: rows::text(row, "users", "time_zone")?,
                },
                quiet_hours: rows::quiet_hours(row)?,
                // Without a chat it is the sender that says so.
                suspended: chat.is_some() && suspended_at.is_some(),
                chat_next_at: read.time(row, "chat_next_at")?,
                sending: sending.contains(&id),
            };
            Ok((id, view))
        })
        .collect()
}

const PENDING: &str = "\
    select id, user_id, rule_id, rule_version, episode_id, kind, side, planned_at, attempts, tried_since, ambiguous_sends, held, ticker, price, \
     threshold, currency, quote_time, quote_ingest_time, already_outside, opened_at from deliveries ";

/// Deliveries of messages whose claim ran out, by message; those that another instance has taken over are not there.
pub(super) async fn ran_out(
    connection: &mut AnyConnection,
    dialect: Dialect,
    keys: impl Iterator<Item = DeliveryId>,
    claimed_before: Timestamp,
) -> Result<HashMap<DeliveryId, Vec<Pending>>, StoreError> {
    let mut select = QueryBuilder::new(PENDING.replacen("select id,", "select id, message_key,", 1));
    select.push("where status = 'sending' and claimed_at <= ");
    select
        .push_bind(claimed_before.as_micros())
        .push(" and message_key ");
    push_in(&mut select, keys.map(|key| key.to_string()));
    select.push(" order by planned_at, id").push(dialect.for_update());
    let read = Reader("deliveries");
    let mut messages: HashMap<_, Vec<_>> = HashMap::new();
    for row in select.build().fetch_all(connection).await? {
        messages
            .entry(read.parsed(&row, "message_key")?)
            .or_default()
            .push(pending(&row)?);
    }
    Ok(messages)
}

/// The planned deliveries of those of the users' rules of which one is due, in the order in which they were planned. All
/// of a rule, as what is due may depend on what is not: a hold that is over, or one that begins.
pub(super) async fn planned(
    connection: &mut AnyConnection,
    dialect: Dialect,
    users: &[UserId],
    now: Timestamp,
) -> Result<HashMap<UserId, Vec<Pending>>, StoreError> {
    if users.is_empty() {
        return Ok(HashMap::new());
    }
    let rules = due_rules(connection, users, now).await?;
    let mut select = QueryBuilder::new(PENDING);
    select.push("where status = 'planned' and rule_id ");
    push_in(&mut select, rules.iter().map(ToString::to_string));
    select
        .push(" order by planned_at, id limit ")
        .push_bind(MAX_DELIVERIES)
        .push(dialect.for_update());
    let mut of_users: HashMap<UserId, Vec<Pending>> = HashMap::new();
    for row in select.build().fetch_all(connection).await? {
        let pending = pending(&row)?;
        of_users.entry(pending.user_id).or_default().push(pending);
    }
    Ok(of_users)
}

/// Of each user the rules whose turn comes first.
async fn due_rules(
    connection: &mut AnyConnection,
    users: &[UserId],
    now: Timestamp,
) -> Result<Vec<RuleId>, StoreError> {
    // `planned_at > 0` names the rest of the index by user: without it SQLite looks at all that is due of everybody.
    let mut select = QueryBuilder::new(
        "select user_id, rule_id, min(priority) as first_priority, min(due_at) as first_due from deliveries \
         where status = 'planned' and planned_at > 0 and due_at <= ",
    );
    select.push_bind(now.as_micros()).push(" and user_id ");
    push_in(&mut select, users.iter().map(ToString::to_string));
    select.push(" group by user_id, rule_id order by first_priority, first_due");
    let read = Reader("deliveries");
    let mut of_users: HashMap<UserId, usize> = HashMap::new();
    let mut rules = Vec::new();
    for row in select.build().fetch_all(connection).await? {
        let count = of_users.entry(read.parsed(&row, "user_id")?).or_default();
        *count += 1;
        if *count <= MAX_ITEMS && rules.len() < MAX_RULES_IN_ALL {
            rules.push(read.parsed(&row, "rule_id")?);
        }
    }
    Ok(rules)
}

fn pending(row: &AnyRow) -> Result<Pending, StoreError> {
    let read = Reader("deliveries");
    let held: Option<String> = row.try_get("held")?;
    Ok(Pending {
        id: read.parsed(row, "id")?,
        user_id: read.parsed(row, "user_id")?,
        rule_id: read.parsed(row, "rule_id")?,
        version: read.version(row, "rule_version")?,
        episode_id: read.parsed(row, "episode_id")?,
        kind: read.kind(row)?,
        side: read.side(row)?,
        planned_at: read.time(row, "planned_at")?,
        attempts: read.count(row, "attempts")?,
        tried_since: read.optional_time(row, "tried_since")?,
        ambiguous: read.count(row, "ambiguous_sends")? > 0,
        held: held.as_deref().and_then(Hold::of),
        ticker: read.parsed(row, "ticker")?,
        price: read.price(row, "price")?,
        threshold: read.price(row, "threshold")?,
        currency: row.try_get("currency")?,
        quote_time: read.time(row, "quote_time")?,
        quote_ingest_time: read.time(row, "quote_ingest_time")?,
        already_outside: read.flag(row, "already_outside")?,
        opened_at: read.time(row, "opened_at")?,
    })
}

/// What is known of these rules. Those of which nothing is known are not there.
pub(super) async fn rules(
    connection: &mut AnyConnection,
    rules: &HashSet<RuleId>,
) -> Result<HashMap<RuleId, RuleView>, StoreError> {
    let mut views: HashMap<RuleId, RuleView> = HashMap::new();
    let mut select = QueryBuilder::new(
        "select id, version, low, high, note, paused, expired, restated_at, snoozed_until, snoozed_until_back from rules where id ",
    );
    push_in(&mut select, rules.iter().map(ToString::to_string));
    let read = Reader("rules");
    for row in select.build().fetch_all(&mut *connection).await? {
        let note: String = row.try_get("note")?;
        let view = views.entry(read.parsed(&row, "id")?).or_insert(RuleView::UNKNOWN);
        view.rule = Some(CurrentRule {
            version: read.version(&row, "version")?,
            active: read.active(&row)?,
            range: rows::range(&row, "rules")?,
            note: note.parse::<Note>().unwrap_or_default(),
            snooze: rows::snooze(&row)?,
        });
    }
    let mut select = QueryBuilder::new(
        "select rule_id, episode_id, side, told_side, told_episode, message_id from episodes where rule_id ",
    );
    push_in(&mut select, rules.iter().map(ToString::to_string));
    let read = Reader("episodes");
    for row in select.build().fetch_all(connection).await? {
        let view = views
            .entry(read.parsed(&row, "rule_id")?)
            .or_insert(RuleView::UNKNOWN);
        let side = read.side(&row)?;
        view.open = read
            .optional_id(&row, "episode_id")?
            .map(|episode| (episode, side));
        view.told = Told {
            side: rows::side(&row, "episodes", "told_side")?,
            episode: read.optional_id(&row, "told_episode")?,
        };
        view.message_id = row.try_get("message_id")?;
    }
    Ok(views)
}

/// What the notices among these deliveries say of rules on hold. Those that have nothing to say any more are not there.
pub(super) async fn restated(
    connection: &mut AnyConnection,
    pending: impl Iterator<Item = &Pending>,
) -> Result<HashMap<DeliveryId, Restated>, StoreError> {
    let notices: Vec<&Pending> = pending
        .filter(|delivery| delivery.kind == DeliveryKind::Restated)
        .collect();
    if notices.is_empty() {
        return Ok(HashMap::new());
    }
    let mut select = QueryBuilder::new(format!(
        "select {RESTATEMENT_COLUMNS} from restatements where ticker "
    ));
    push_in(
        &mut select,
        notices.iter().map(|notice| notice.ticker.to_string()),
    );
    select.push(" order by restated_at");
    let restatements = select.build().fetch_all(&mut *connection).await?;
    let restatements = restatements
        .iter()
        .map(rows::restatement)
        .collect::<Result<Vec<_>, _>>()?;
    let mut select = QueryBuilder::new(format!(
        "select {RULE_COLUMNS} from rules where restated_at is not null and user_id "
    ));
    push_in(
        &mut select,
        notices.iter().map(|notice| notice.user_id.to_string()),
    );
    select.push(" order by id");
    let rules = select.build().fetch_all(connection).await?;
    let rules = rules.iter().map(rows::rule).collect::<Result<Vec<_>, _>>()?;
    let told = notices.into_iter().filter_map(|notice| {
        let of_ticker = || restatements.iter().filter(|one| one.ticker == notice.ticker);
        let rules: Vec<HeldRule> = rules
            .iter()
            .filter(|rule| rule.user_id == notice.user_id && rule.ticker == notice.ticker)
            .map(|rule| HeldRule {
                range: rule.range,
                adjusted: Restatement::of_rule(rule, of_ticker())
                    .and_then(|restatement| restatement.adjust_range(rule.range)),
            })
            .collect();
        let restatement = of_ticker()
            .find(|one| one.restated_at == notice.opened_at)?
            .clone();
        (!rules.is_empty()).then_some((notice.id, Restated { restatement, rules }))
    });
    Ok(told.collect())
}

/// When messages about changes of these rules were sent since then, newest first.
pub(super) async fn sent_lately(
    connection: &mut AnyConnection,
    rules: &HashSet<RuleId>,
    since: Timestamp,
) -> Result<HashMap<RuleId, Vec<Timestamp>>, StoreError> {
    let mut select = QueryBuilder::new(
        "select rule_id, message_key, max(sent_at) as last from deliveries \
         where status = 'sent' and kind in ('breach', 'jump', 'back') and sent_at > ",
    );
    select.push_bind(since.as_micros()).push(" and rule_id ");
    push_in(&mut select, rules.iter().map(ToString::to_string));
    select.push(" group by rule_id, message_key order by last desc");
    let read = Reader("deliveries");
    let mut sent: HashMap<RuleId, Vec<Timestamp>> = HashMap::new();
    for row in select.build().fetch_all(connection).await? {
        sent.entry(read.parsed(&row, "rule_id")?)
            .or_default()
            .push(read.time(&row, "last")?);
    }
    Ok(sent)
}

/// Who got the notice that these times without prices began.
pub(super) async fn notices_sent(
    connection: &mut AnyConnection,
    periods: &HashSet<DeliveryId>,
) -> Result<HashSet<(UserId, DeliveryId)>, StoreError> {
    if periods.is_empty() {
        return Ok(HashSet::new());
    }
    // The plus keeps SQLite from looking at all that was ever sent.
    let mut select = QueryBuilder::new(
        "select user_id, episode_id from deliveries where kind = 'feed-stale' and +status = 'sent' and episode_id ",
    );
    push_in(&mut select, periods.iter().map(ToString::to_string));
    let read = Reader("deliveries");
    let rows = select.build().fetch_all(connection).await?;
    rows.iter()
        .map(|row| Ok((read.parsed(row, "user_id")?, read.parsed(row, "episode_id")?)))
        .collect()
}

//! Who sends what.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::{AnyConnection, QueryBuilder};

use super::candidates::{self, Candidates};
use super::compose::Draft;
use super::places::Places;
use super::turn::{Known, Sorted, Turn, message};
use super::{ClaimLimits, ClaimedMessage, DeliveryKind, load, peak};
use crate::domain::{RuleId, Timestamp, UserId};
use crate::sizes::push_in;
use crate::transaction::Tx;
use crate::{Store, StoreError};

/// Looks in one call: each round that only ends or holds messages makes room for others.
const MAX_ROUNDS: usize = 10;
/// How long a message may wait for what is only good to know: the database of reads may be away, and messages go all the same.
const PEAK_PATIENCE: Duration = Duration::from_secs(1);

/// A message that is claimed, and what else is needed of it.
#[derive(Debug, Clone)]
struct Claimed {
    message: ClaimedMessage,
    drafts: Vec<Draft>,
    read_at: Instant,
}

/// What a transaction did.
#[derive(Debug, Default)]
struct Round {
    claimed: Vec<Claimed>,
    /// Deliveries were ended or held.
    moved: bool,
    /// No place is left.
    full: bool,
}

pub(super) async fn claim(
    store: &Store,
    instance: &str,
    now: Timestamp,
    limits: ClaimLimits,
) -> Result<Vec<ClaimedMessage>, StoreError> {
    let limit = usize::try_from(limits.messages).unwrap_or(usize::MAX);
    let mut claimed: Vec<Claimed> = Vec::new();
    for _ in 0..MAX_ROUNDS {
        let room = limit - claimed.len();
        if room == 0 {
            break;
        }
        match look(store, instance, now, limits, room).await {
            Ok(round) => {
                claimed.extend(round.claimed);
                if round.full || !round.moved {
                    break;
                }
            }
            // What is claimed is sent all the same.
            Err(error) if !claimed.is_empty() => {
                tracing::warn!(%error, "no more messages could be claimed");
                break;
            }
            Err(error) => return Err(error),
        }
    }
    let drafts = claimed.iter_mut().flat_map(|claimed| &mut claimed.drafts);
    let peaks = tokio::time::timeout(PEAK_PATIENCE, peak::fill_in(store, drafts));
    if let Err(error) = peaks.await.unwrap_or(Err(StoreError::Interrupted)) {
        tracing::warn!(%error, "how far prices went could not be read; messages go without it");
    }
    Ok(claimed
        .into_iter()
        .map(|claimed| {
            let Claimed {
                mut message,
                drafts,
                read_at,
            } = claimed;
            message.items = drafts.into_iter().map(|draft| draft.item).collect();
            message.send_in = message.send_in.saturating_sub(read_at.elapsed());
            message
        })
        .collect())
}

/// Claims what looks free.
async fn look(
    store: &Store,
    instance: &str,
    now: Timestamp,
    limits: ClaimLimits,
    room: usize,
) -> Result<Round, StoreError> {
    let found = candidates::find(store, now, limits.timeout, room).await?;
    if found.is_empty() {
        return Ok(Round::default());
    }
    let work = Arc::new((found, instance.to_owned()));
    store
        .transaction(move |tx| {
            let work = Arc::clone(&work);
            Box::pin(async move { take_all(tx, &work.0, &work.1, now, limits, room).await })
        })
        .await
}

async fn take_all(
    tx: &mut Tx,
    found: &Candidates,
    instance: &str,
    now: Timestamp,
    limits: ClaimLimits,
    room: usize,
) -> Result<Round, StoreError> {
    let dialect = tx.dialect;
    let connection = tx.connection();
    // One claim at a time, of all instances.
    let mut places = Places::lock(connection, dialect, limits.pace, limits.look_ahead).await?;
    if !places.any_left() {
        return Ok(Round {
            full: true,
            ..Round::default()
        });
    }
    let (turns, known) = look_again(tx, found, now, limits).await?;
    let connection = tx.connection();
    let mut round = Round::default();
    let mut sorted = Sorted::default();
    let mut next_at: Vec<(UserId, Timestamp)> = Vec::new();
    for turn in turns {
        if !places.any_left() || round.claimed.len() >= room {
            round.full = !places.any_left();
            break;
        }
        let Some(user) = known.users.get(&turn.user) else {
            continue;
        };
        let drafts = sorted.sort(&turn, user, &known);
        if drafts.is_empty() {
            continue;
        }
        // Without a chat nothing is sent that would need a place.
        let send_in = user.recipient.chat.map_or(Duration::ZERO, |_| places.take());
        let message = message(&turn, &drafts, user, instance, send_in, now);
        take(connection, &message, &drafts).await?;
        // How long a chat is left alone after a message.
        let pause = (message.recipient.chat).map_or(Duration::ZERO, |chat| limits.pace.between(chat));
        if !pause.is_zero() {
            next_at.push((turn.user, now.plus(message.send_in + pause)));
        }
        round.claimed.push(Claimed {
            message,
            drafts,
            read_at: places.read_at(),
        });
    }
    round.moved = sorted.write(connection, now).await?;
    if !next_at.is_empty() {
        set_next_at(connection, &next_at).await?;
    }
    if !round.claimed.is_empty() {
        places.save(connection, dialect).await?;
    }
    Ok(round)
}

/// Loads what looked free, with the users' rows locked: what was claimed or ended meanwhile is not there any more.
async fn look_again(
    tx: &mut Tx,
    found: &Candidates,
    now: Timestamp,
    limits: ClaimLimits,
) -> Result<(Vec<Turn>, Known), StoreError> {
    let dialect = tx.dialect;
    let connection = tx.connection();
    let everybody: HashSet<UserId> = found
        .ran_out
        .iter()
        .map(|(_, user)| *user)
        .chain(found.users.iter().copied())
        .collect();
    let users = load::lock_users(connection, dialect, everybody.into_iter()).await?;
    let keys = found.ran_out.iter().map(|(key, _)| *key);
    let mut ran_out = load::ran_out(connection, dialect, keys, now.minus(limits.timeout)).await?;
    let free: Vec<UserId> = found
        .users
        .iter()
        .copied()
        .filter(|user| {
            users
                .get(user)
                .is_some_and(|user| !user.sending && user.chat_next_at <= now)
        })
        .collect();
    let mut planned = load::planned(connection, dialect, &free, now).await?;

    let mut turns = Vec::new();
    for (key, user) in &found.ran_out {
        if let Some(pending) = ran_out.remove(key) {
            turns.push(Turn {
                user: *user,
                key: Some(*key),
                pending,
            });
        }
    }
    for user in free {
        if let Some(pending) = planned.remove(&user) {
            turns.push(Turn {
                user,
                key: None,
                pending,
            });
        }
    }
    let pending = || turns.iter().flat_map(|turn| &turn.pending);
    let rules: HashSet<RuleId> = pending().map(|delivery| delivery.rule_id).collect();
    let periods = pending()
        .filter(|delivery| delivery.kind == DeliveryKind::FeedBack)
        .map(|delivery| delivery.episode_id)
        .collect();
    let restated = load::restated(connection, turns.iter().flat_map(|turn| &turn.pending)).await?;
    let known = Known {
        users,
        restated,
        rules: load::rules(connection, &rules).await?,
        sent: load::sent_lately(connection, &rules, now.minus(limits.flapping.window)).await?,
        notices: load::notices_sent(connection, &periods).await?,
        limits,
        now,
    };
    Ok((turns, known))
}

async fn take(
    connection: &mut AnyConnection,
    message: &ClaimedMessage,
    drafts: &[Draft],
) -> Result<(), StoreError> {
    let mut update = QueryBuilder::new(
        "update deliveries set status = 'sending', attempts = attempts + 1, ambiguous_sends = ambiguous_sends + ",
    );
    update.push_bind(i64::from(message.reclaimed));
    update.push(", message_key = ").push_bind(message.key.to_string());
    update
        .push(", claimed_by = ")
        .push_bind(message.claimed_by.clone());
    update
        .push(", claimed_at = ")
        .push_bind(message.claimed_at.as_micros())
        .push(" where id ");
    let ids = drafts.iter().flat_map(|draft| &draft.item.deliveries);
    push_in(&mut update, ids.map(ToString::to_string));
    update.build().execute(connection).await?;
    Ok(())
}

/// No other message to these users before then.
async fn set_next_at(
    connection: &mut AnyConnection,
    users: &[(UserId, Timestamp)],
) -> Result<(), StoreError> {
    let mut update = QueryBuilder::new("update users set chat_next_at = case id");
    // Filled up with repeats to a power of two, so that there are few different statements to prepare.
    for (user, at) in users.iter().cycle().take(users.len().next_power_of_two()) {
        update.push(" when ").push_bind(user.to_string());
        update.push(" then ").push_bind(at.as_micros());
    }
    update.push(" else chat_next_at end where id ");
    push_in(&mut update, users.iter().map(|(user, _)| user.to_string()));
    update.build().execute(connection).await?;
    Ok(())
}

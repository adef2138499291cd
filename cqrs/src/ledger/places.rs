//! Places in the messenger's stream of messages, which all instances share.

use std::time::{Duration, Instant};

use sqlx::AnyConnection;

use super::message::Pace;
use crate::dialect::{self, Dialect, database_now};
use crate::domain::Timestamp;
use crate::{Store, StoreError};

/// The only messenger there is.
const MESSENGER: &str = "telegram";
/// A stream that is booked for longer than this was booked by a clock that was wrong.
const MOST_BOOKED: i64 = 60_000_000;

/// Places that are free, while the row that says so is locked.
#[derive(Debug)]
pub(super) struct Places {
    /// The database's clock, in microseconds.
    now: i64,
    /// The first free place.
    next: i64,
    /// One place's share of a second.
    step: i64,
    /// No place later than this.
    last: i64,
    /// When `now` was.
    read_at: Instant,
}

impl Places {
    /// By the database's clock: instances need not agree on the time. The row is locked until the transaction ends.
    pub(super) async fn lock(
        connection: &mut AnyConnection,
        dialect: Dialect,
        pace: Pace,
        look_ahead: Duration,
    ) -> Result<Self, StoreError> {
        let select = format!(
            "select next_at from pacing where name = ?{}",
            dialect.for_update()
        );
        let next: Option<i64> = sqlx::query_scalar(sqlx::AssertSqlSafe(select))
            .bind(MESSENGER)
            .fetch_optional(&mut *connection)
            .await?;
        // Only now, with the row kept from changing: waiting for it may have taken long.
        let now = database_now(dialect, connection).await?;
        Ok(Self::new(now, next.unwrap_or(0), pace, look_ahead))
    }

    fn new(now: i64, next: i64, pace: Pace, look_ahead: Duration) -> Self {
        let ahead = i64::try_from(look_ahead.as_micros()).unwrap_or(i64::MAX);
        Self {
            now,
            next: if next > now.saturating_add(MOST_BOOKED) {
                now
            } else {
                next.max(now)
            },
            step: 1_000_000 / i64::from(pace.per_second.clamp(1, 1_000_000)),
            last: now.saturating_add(ahead),
            read_at: Instant::now(),
        }
    }

    /// Whether a place is left.
    pub(super) const fn any_left(&self) -> bool {
        self.next <= self.last
    }

    /// Takes the next place; gives the time until it, from when the places were locked.
    pub(super) fn take(&mut self) -> Duration {
        let place = self.next;
        self.next += self.step;
        Duration::from_micros(u64::try_from(place - self.now).unwrap_or(0))
    }

    /// When the places were locked.
    pub(super) const fn read_at(&self) -> Instant {
        self.read_at
    }

    /// Writes down what was taken.
    pub(super) async fn save(
        &self,
        connection: &mut AnyConnection,
        dialect: Dialect,
    ) -> Result<(), StoreError> {
        let upsert = format!(
            "insert into pacing (name, next_at) values (?, ?){}",
            dialect.upsert("name", &["next_at"])
        );
        dialect::query(upsert)
            .bind(MESSENGER)
            .bind(self.next)
            .execute(connection)
            .await?;
        Ok(())
    }
}

/// The database's clock.
pub(super) async fn clock(store: &Store) -> Result<Timestamp, StoreError> {
    let mut connection = store.primary().acquire().await?;
    let now = database_now(store.dialect, &mut connection).await?;
    Ok(Timestamp::from_micros(now))
}

/// Takes a place for what is not claimed; gives how long to wait for it.
pub(super) async fn take_one(store: &Store, pace: Pace) -> Result<Duration, StoreError> {
    let (wait, read_at) = store
        .transaction(move |tx| {
            Box::pin(async move {
                let dialect = tx.dialect;
                let connection = tx.connection();
                let mut places = Places::lock(connection, dialect, pace, Duration::ZERO).await?;
                let wait = places.take();
                places.save(connection, dialect).await?;
                Ok::<_, StoreError>((wait, places.read_at()))
            })
        })
        .await?;
    Ok(wait.saturating_sub(read_at.elapsed()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace {
        per_second: 30,
        per_chat: Duration::from_secs(1),
        per_group: Duration::from_secs(3),
    };
    const SECOND: Duration = Duration::from_secs(1);
    const NOW: i64 = 1_000_000_000;

    fn take_all(places: &mut Places) -> Vec<i64> {
        let mut taken = Vec::new();
        while places.any_left() {
            taken.push(i64::try_from(places.take().as_micros()).unwrap());
        }
        taken
    }

    #[test]
    fn a_free_stream_has_a_place_at_once_and_a_seconds_worth_after_it() {
        let mut places = Places::new(NOW, 0, PACE, SECOND);
        let taken = take_all(&mut places);
        assert_eq!(taken.len(), 31);
        assert_eq!(taken[0], 0);
        assert!(taken.windows(2).all(|pair| pair[1] - pair[0] == 33_333));
    }

    #[test]
    fn what_others_booked_comes_first_and_no_pause_is_saved_up() {
        let mut first = Places::new(NOW, NOW - 500_000_000, PACE, SECOND);
        for _ in 0..20 {
            first.take();
        }
        // Another instance, half a second later.
        let mut second = Places::new(NOW + 500_000, first.next, PACE, SECOND);
        assert_eq!(second.take(), Duration::from_micros(20 * 33_333 - 500_000));
        assert_eq!(take_all(&mut second).len(), 25);
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_stop_the_stream() {
        assert_eq!(
            Places::new(NOW, NOW + MOST_BOOKED + 1, PACE, SECOND).take(),
            Duration::ZERO
        );
    }
}

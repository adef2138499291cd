//! Whether a ticker's prices come: a state machine, fed with what each poll saw.
//!
//! A ticker is stale when its market is open and either the provider has not answered for a while ([`SILENT_FOR`], unless
//! set otherwise) and [`SILENT_POLLS`] polls, or it answers and the price has been the same, by its time, for [`UNMOVED_FOR`]. The second
//! takes longer, because an open market may rest: over lunch, in a small share, and in the first minutes of an exchange
//! whose prices come late. While the market is closed nothing is decided; what was told of the ticker stays.

mod hours;

pub use hours::{Hours, Trading};

use std::time::Duration;

use cqrs::domain::Timestamp;

/// So long a provider may give no answer, where nothing else is set.
pub const SILENT_FOR: Duration = Duration::from_secs(2 * 60);
/// So many polls it may leave without one.
pub const SILENT_POLLS: u32 = 3;
/// So old a price may be. Some exchanges' prices come 20 minutes late.
pub const UNMOVED_FOR: Duration = Duration::from_secs(30 * 60);

/// What a poll saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// A price that is newer than the one before.
    New,
    /// An answer without one.
    Same,
    /// No answer that can be used.
    Nothing,
}

/// What is known of one ticker's prices.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Staleness {
    /// When the ticker was first polled.
    watched_at: Option<Timestamp>,
    /// When the last new price came.
    new_at: Option<Timestamp>,
    /// When the last answer came.
    answered_at: Option<Timestamp>,
    /// Polls of this session without an answer since then.
    silent_polls: u32,
    told: Told,
}

/// What was told of the ticker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Told {
    /// Nothing, by this process.
    #[default]
    Nothing,
    Fresh,
    Stale,
}

impl Staleness {
    /// Takes note of what a poll saw at `now`, in the session that began at `session` (none: the market is closed);
    /// `silent_for` is how long the provider may give no answer. Gives what is to be told, if that is something new: since
    /// when the ticker is stale, or none that it is not.
    pub fn observe(
        &mut self,
        seen: Seen,
        now: Timestamp,
        session: Option<Timestamp>,
        silent_for: Duration,
    ) -> Option<Option<Timestamp>> {
        let watched_at = *self.watched_at.get_or_insert(now);
        if seen == Seen::Nothing {
            self.silent_polls = if session.is_some() {
                self.silent_polls + 1
            } else {
                0
            };
        } else {
            (self.answered_at, self.silent_polls) = (Some(now), 0);
        }
        if seen == Seen::New {
            self.new_at = Some(now);
            return self.tell(Told::Fresh, None);
        }
        // What came, or did not come, before this session says nothing of it.
        let since = self.new_at.unwrap_or(watched_at).max(session?);
        let silent_since = self
            .answered_at
            .map_or(since, |answered_at| answered_at.max(since));
        let is_silent = self.silent_polls >= SILENT_POLLS && now.since(silent_since) >= silent_for;
        if is_silent || now.since(since) >= UNMOVED_FOR {
            return self.tell(Told::Stale, Some(since));
        }
        // One more poll without an answer does not say that prices come again; nor does an answer with an old price, where
        // another process may have told of the ticker before: its prices stand still all the same.
        (seen == Seen::Same && self.told == Told::Stale)
            .then(|| self.tell(Told::Fresh, None))
            .flatten()
    }

    fn tell(&mut self, what: Told, stale_since: Option<Timestamp>) -> Option<Option<Timestamp>> {
        if self.told == what {
            return None;
        }
        self.told = what;
        Some(stale_since)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OPEN: i64 = 9 * 3_600;
    const CLOSE: i64 = 17 * 3_600;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn hours() -> Trading {
        Trading::Between {
            start: at(OPEN),
            end: at(CLOSE),
        }
    }

    /// What is told of a ticker that is polled every 15 s, in seconds: when, and since when it is stale. `script` says
    /// what the polls see from which time on; at the end nothing is polled.
    fn told(trading: Trading, script: &[(i64, Seen)], end: i64) -> Vec<(i64, Option<i64>)> {
        let mut staleness = Staleness::default();
        let mut told = Vec::new();
        for now in (script[0].0..end).step_by(15) {
            let (_, seen) = script.iter().rev().find(|(from, _)| *from <= now).unwrap();
            let session = trading.session_at(at(now));
            if let Some(news) = staleness.observe(*seen, at(now), session, SILENT_FOR) {
                told.push((now, news.map(|since| since.as_micros() / 1_000_000)));
            }
        }
        told
    }

    #[test]
    fn silence_in_session_is_stale_after_two_minutes_and_ends_with_the_first_answer() {
        use Seen::{New, Nothing, Same};
        let noon = 12 * 3_600;
        let stale = |answer| {
            let script = [(noon, New), (noon + 60, Nothing), (noon + 600, answer)];
            told(hours(), &script, noon + 900)
        };
        // The last price came at noon + 45.
        let expected = [(noon, None), (noon + 165, Some(noon + 45)), (noon + 600, None)];
        assert_eq!(stale(New), expected);
        assert_eq!(
            stale(Same),
            expected,
            "the market rests, but the provider is back"
        );
    }

    #[test]
    fn slow_polls_get_three_tries() {
        let mut staleness = Staleness::default();
        let mut poll = |seen, now| staleness.observe(seen, at(now), Some(at(0)), SILENT_FOR);
        assert_eq!(poll(Seen::New, 100), Some(None));
        assert_eq!(poll(Seen::Nothing, 600), None);
        assert_eq!(poll(Seen::Nothing, 1_100), None);
        assert_eq!(poll(Seen::Nothing, 1_600), Some(Some(at(100))));
        assert_eq!(poll(Seen::Nothing, 2_100), None, "told once");
    }

    #[test]
    fn a_closed_market_is_not_stale() {
        use Seen::{New, Nothing, Same};
        // Over the close, all night, and from before the opening on.
        assert_eq!(
            told(
                hours(),
                &[(CLOSE - 60, New), (CLOSE - 30, Nothing)],
                CLOSE + 7_200
            ),
            [(CLOSE - 60, None)]
        );
        assert_eq!(
            told(hours(), &[(0, Same), (OPEN, New)], OPEN + 60),
            [(OPEN, None)]
        );
        // Counted from the opening, not from yesterday's last price.
        assert_eq!(
            told(hours(), &[(OPEN - 600, New), (OPEN - 300, Nothing)], OPEN + 600),
            [(OPEN - 600, None), (OPEN + 120, Some(OPEN))]
        );
        assert_eq!(told(Trading::Unknown, &[(0, Nothing)], 7_200), []);
        assert_eq!(told(Trading::Unknown, &[(0, Same)], 7_200), []);
        assert_eq!(told(Trading::Always, &[(0, Nothing)], 7_200), [(120, Some(0))]);
    }

    #[test]
    fn what_was_stale_at_the_close_is_stale_until_the_opening() {
        use Seen::{New, Nothing, Same};
        let script = [(CLOSE - 600, New), (CLOSE - 300, Nothing), (CLOSE + 60, Same)];
        assert_eq!(
            told(hours(), &script, CLOSE + 7_200),
            [(CLOSE - 600, None), (CLOSE - 195, Some(CLOSE - 315))]
        );
    }

    #[test]
    fn an_old_price_that_a_process_meets_at_its_start_does_not_say_that_prices_come_again() {
        use Seen::{New, Same};
        // The process before may have told that the ticker is stale, and nothing has come since.
        assert_eq!(told(hours(), &[(OPEN + 7_200, Same)], OPEN + 9_000), []);
        assert_eq!(
            told(
                hours(),
                &[(OPEN + 7_200, Same), (OPEN + 7_260, New)],
                OPEN + 9_000
            ),
            [(OPEN + 7_260, None)]
        );
    }

    #[test]
    fn an_open_market_may_rest_for_half_an_hour() {
        use Seen::{New, Same};
        let script = [(OPEN, New), (OPEN + 15, Same), (OPEN + 3_600, New)];
        assert_eq!(
            told(hours(), &script, OPEN + 4_000),
            [(OPEN, None), (OPEN + 1_800, Some(OPEN)), (OPEN + 3_600, None)]
        );
        assert_eq!(told(hours(), &script[..2], OPEN + 1_800), [(OPEN, None)]);
    }

    #[test]
    fn a_hiccup_is_no_silence() {
        use Seen::{New, Nothing};
        let mut staleness = Staleness::default();
        for poll in 0..1_000 {
            // Two of three polls fail.
            let seen = if poll % 3 == 0 { New } else { Nothing };
            let news = staleness.observe(seen, at(poll * 600), Some(at(0)), SILENT_FOR);
            assert_eq!(news, (poll == 0).then_some(None));
        }
    }

    /// The rule, applied to all that was ever seen.
    fn is_stale(history: &[(i64, Seen, Option<i64>)]) -> Option<Option<i64>> {
        let &(now, seen, session) = history.last()?;
        if seen == Seen::New {
            return Some(None);
        }
        let session = session?;
        let last = |wanted: &[Seen]| {
            let found = history.iter().rev().find(|(_, seen, _)| wanted.contains(seen));
            found.map(|(at, ..)| *at)
        };
        let since = last(&[Seen::New]).unwrap_or(history[0].0).max(session);
        let answered = last(&[Seen::New, Seen::Same]).unwrap_or(since).max(since);
        let silent = history
            .iter()
            .rev()
            .take_while(|(_, seen, session)| *seen == Seen::Nothing && session.is_some())
            .count();
        let is_silent = silent >= 3 && now - answered >= 120;
        if is_silent || now - since >= 1_800 {
            Some(Some(since))
        } else {
            (seen == Seen::Same).then_some(None)
        }
    }

    proptest! {
        #[test]
        fn it_is_as_the_rule_applied_to_all_that_was_ever_seen(
            polls in prop::collection::vec(
                (
                    prop_oneof![1_i64..60, 1_i64..900, 1_i64..40_000],
                    prop_oneof![
                        1 => Just(Seen::New), 2 => Just(Seen::Same), 4 => Just(Seen::Nothing)
                    ],
                    prop::bool::weighted(0.9),
                ),
                1..120,
            ),
        ) {
            let mut staleness = Staleness::default();
            let mut history = Vec::new();
            let (mut now, mut session) = (1_000_000, None);
            let mut told = None;
            for (pause, seen, open) in polls {
                now += pause;
                session = open.then(|| session.unwrap_or(now - pause / 2));
                history.push((now, seen, session));
                let state = is_stale(&history);
                let is_first = told.is_none() && seen == Seen::Same && state == Some(None);
                let expected = state.filter(|state| told != Some(state.is_some()) && !is_first);
                if let Some(state) = expected {
                    told = Some(state.is_some());
                }
                let news = staleness.observe(seen, at(now), session.map(at), SILENT_FOR);
                prop_assert_eq!(news, expected.map(|since| since.map(at)), "{:?}", history);
            }
        }
    }
}

//! Which updates are in hand, which come next, and which Telegram may forget. Pure.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use cqrs::domain::ChatId;

/// Chats that are answered at once.
const AT_ONCE: usize = 16;
/// Updates of one chat that wait for their turn. Telegram shows no more than 100 from the first that it may not forget, so
/// a chat with more would hide what others write.
const PER_CHAT: usize = 20;
/// How long updates of one chat take one after the other before those behind them are given up: others wait for them if
/// Telegram shows no more.
const CHAT_TIME: Duration = Duration::from_secs(20);

/// Updates from when they come until Telegram may forget them: one chat's in their order, chats at once.
#[derive(Debug)]
pub(super) struct Backlog<U> {
    /// Those that have updates here.
    chats: HashMap<ChatId, Chat<U>>,
    /// Chats of which an update waits and none is in hand.
    turns: VecDeque<ChatId>,
    in_hand: usize,
    /// Not yet handled.
    open: BTreeSet<u32>,
    /// Handled, but Telegram may give them again.
    done: BTreeSet<u32>,
    /// The last that came.
    last: Option<u32>,
}

/// What is to be done with an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Task<U> {
    Handle(U),
    /// Its user is told that this one, and what came after it, is not done.
    Refuse(U),
}

#[derive(Debug)]
struct Chat<U> {
    in_hand: Option<u32>,
    /// What is refused is the last: whatever comes until its user knows is dropped.
    waiting: VecDeque<(u32, Task<U>)>,
    /// Since it last had nothing waiting.
    spent: Duration,
}

impl<U> Default for Backlog<U> {
    fn default() -> Self {
        Self {
            chats: HashMap::new(),
            turns: VecDeque::new(),
            in_hand: 0,
            open: BTreeSet::new(),
            done: BTreeSet::new(),
            last: None,
        }
    }
}

impl<U> Backlog<U> {
    /// Where Telegram's next answer shall begin: at the first update that is not handled, or after all. It forgets those
    /// before. None: it knows.
    pub(super) fn offset(&mut self) -> Option<i64> {
        let offset = match (self.open.first(), self.last) {
            (Some(first), _) => i64::from(*first),
            (None, Some(last)) => i64::from(last) + 1,
            (None, None) => return None,
        };
        // Only now: the answer to an earlier request could have held them.
        self.done.retain(|id| i64::from(*id) >= offset);
        Some(offset)
    }

    /// An update comes, in Telegram's order, maybe not for the first time. `wanted`: none calls for nothing.
    pub(super) fn take(&mut self, id: u32, wanted: Option<(ChatId, U)>) {
        if self.open.contains(&id) || self.done.contains(&id) {
            return;
        }
        self.last = Some(id);
        let Some((chat, update)) = wanted else {
            self.done.insert(id);
            return;
        };
        let place = self.chats.entry(chat).or_insert_with(|| {
            self.turns.push_back(chat);
            Chat {
                in_hand: None,
                waiting: VecDeque::new(),
                spent: Duration::ZERO,
            }
        });
        let task = match place.waiting.back() {
            Some((_, Task::Refuse(_))) => {
                self.done.insert(id);
                return;
            }
            Some(_) if place.waiting.len() >= PER_CHAT => Task::Refuse(update),
            Some(_) | None => Task::Handle(update),
        };
        self.open.insert(id);
        place.waiting.push_back((id, task));
    }

    /// What to begin with now. None: nothing, before something ends or comes.
    pub(super) fn begin(&mut self) -> Option<(ChatId, Task<U>)> {
        if self.in_hand >= AT_ONCE {
            return None;
        }
        let chat = self.turns.pop_front()?;
        let place = self.chats.get_mut(&chat)?;
        let (id, task) = place.waiting.pop_front()?;
        place.in_hand = Some(id);
        self.in_hand += 1;
        Some((chat, task))
    }

    /// What was begun of this chat has ended, in whatever way.
    pub(super) fn end(&mut self, chat: ChatId, took: Duration) {
        let Some(place) = self.chats.get_mut(&chat) else {
            return;
        };
        let Some(id) = place.in_hand.take() else { return };
        self.in_hand -= 1;
        self.open.remove(&id);
        self.done.insert(id);
        place.spent += took;
        if place.spent >= CHAT_TIME {
            for dropped in place.give_up() {
                self.open.remove(&dropped);
                self.done.insert(dropped);
            }
        }
        if place.waiting.is_empty() {
            self.chats.remove(&chat);
        } else {
            self.turns.push_back(chat);
        }
    }

    /// All are handled that have come.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

impl<U> Chat<U> {
    /// The first that waits is refused, which stands for all; the numbers of the others.
    fn give_up(&mut self) -> Vec<u32> {
        self.spent = Duration::ZERO;
        let Some((first, Task::Handle(update) | Task::Refuse(update))) = self.waiting.pop_front() else {
            return Vec::new();
        };
        let dropped = self.waiting.drain(..).map(|(id, _)| id).collect();
        self.waiting.push_back((first, Task::Refuse(update)));
        dropped
    }
}

#[cfg(test)]
mod tests {
    use super::Task::{Handle, Refuse};
    use super::*;

    const ADA: ChatId = ChatId::new(42);
    const BRUNO: ChatId = ChatId::new(43);
    const SOON: Duration = Duration::from_millis(100);

    fn take(backlog: &mut Backlog<u32>, updates: &[(u32, ChatId)]) {
        for (id, chat) in updates {
            backlog.take(*id, Some((*chat, *id)));
        }
    }

    fn begun(backlog: &mut Backlog<u32>) -> Vec<Task<u32>> {
        std::iter::from_fn(|| backlog.begin())
            .map(|(_, task)| task)
            .collect()
    }

    /// Begins and ends everything; what it was.
    fn all(backlog: &mut Backlog<u32>) -> Vec<Task<u32>> {
        let mut tasks = Vec::new();
        while let Some((chat, task)) = backlog.begin() {
            tasks.push(task);
            backlog.end(chat, SOON);
        }
        tasks
    }

    #[test]
    fn telegram_forgets_up_to_the_first_that_is_not_handled() {
        let mut backlog = Backlog::default();
        assert_eq!(backlog.offset(), None);
        take(&mut backlog, &[(7, ADA), (8, BRUNO), (9, ADA), (10, BRUNO)]);
        // Who ends, what begins then, and the offset.
        let steps = [
            (None, vec![Handle(7), Handle(8)], 7),
            (Some(BRUNO), vec![Handle(10)], 7),
            (Some(BRUNO), vec![], 7),
            (Some(ADA), vec![Handle(9)], 9),
            (Some(ADA), vec![], 11),
        ];
        for (number, (ends, begins, offset)) in steps.into_iter().enumerate() {
            if let Some(chat) = ends {
                backlog.end(chat, SOON);
            }
            assert_eq!(begun(&mut backlog), begins, "step {number}");
            assert_eq!(backlog.offset(), Some(offset), "step {number}");
            assert_eq!(backlog.is_empty(), offset == 11, "step {number}");
        }
    }

    #[test]
    fn what_comes_again_is_skipped_in_hand_waiting_and_handled() {
        let mut backlog = Backlog::default();
        let shown = [(7, ADA), (8, BRUNO), (9, ADA)];
        take(&mut backlog, &shown);
        assert_eq!(begun(&mut backlog), [Handle(7), Handle(8)]);
        backlog.end(BRUNO, SOON);
        backlog.offset();
        take(&mut backlog, &shown);
        take(&mut backlog, &[(10, BRUNO)]);
        assert_eq!(begun(&mut backlog), [Handle(10)]);
        // Between a request and its answer.
        assert_eq!(backlog.offset(), Some(7));
        backlog.end(ADA, SOON);
        take(&mut backlog, &[(7, ADA), (8, BRUNO), (9, ADA), (10, BRUNO)]);
        assert_eq!(all(&mut backlog), [Handle(9)]);
        assert_eq!(backlog.offset(), Some(10));
    }

    #[test]
    fn what_calls_for_nothing_is_handled_and_any_number_will_do() {
        for (first, offset) in [
            (7, 9),
            (0, 2),
            (2_147_483_647, 2_147_483_649),
            (u32::MAX - 1, 4_294_967_296),
        ] {
            let mut backlog = Backlog::default();
            backlog.take(first, None);
            assert!(backlog.is_empty());
            assert_eq!(backlog.offset(), Some(offset - 1));
            take(&mut backlog, &[(first + 1, ADA)]);
            assert_eq!(all(&mut backlog), [Handle(first + 1)]);
            assert_eq!(backlog.offset(), Some(offset));
        }
        // After a quiet week Telegram begins anywhere.
        let mut backlog = Backlog::default();
        for id in [900, 5, 6] {
            take(&mut backlog, &[(id, ADA)]);
            assert_eq!(all(&mut backlog), [Handle(id)]);
            assert_eq!(backlog.offset(), Some(i64::from(id) + 1));
        }
    }

    #[test]
    fn more_than_a_chat_may_have_waiting_is_refused_once_and_others_are_not_touched() {
        let mut backlog = Backlog::default();
        let many: Vec<_> = (1..=100).map(|id| (id, ADA)).collect();
        take(&mut backlog, &many);
        take(&mut backlog, &[(101, BRUNO)]);
        let mut expected: Vec<_> = (1..=20).map(Handle).collect();
        expected.insert(1, Handle(101));
        expected.push(Refuse(21));
        assert_eq!(backlog.offset(), Some(1));
        assert_eq!(all(&mut backlog), expected);
        assert_eq!(backlog.offset(), Some(102));
        // From then on it is as before.
        take(&mut backlog, &[(102, ADA)]);
        assert_eq!(all(&mut backlog), [Handle(102)]);
    }

    #[test]
    fn what_was_dropped_is_kept_at_telegram_until_its_user_knows() {
        let mut backlog = Backlog::default();
        let many: Vec<_> = (1..=30).map(|id| (id, ADA)).collect();
        take(&mut backlog, &many);
        for id in 1..=20 {
            assert_eq!(begun(&mut backlog), [Handle(id)]);
            backlog.end(ADA, SOON);
        }
        take(&mut backlog, &[(31, ADA)]);
        assert_eq!(begun(&mut backlog), [Refuse(21)]);
        assert_eq!(backlog.offset(), Some(21));
        backlog.end(ADA, SOON);
        assert_eq!(backlog.offset(), Some(32));
    }

    #[test]
    fn a_chat_that_takes_too_long_gives_up_what_waits() {
        let mut backlog = Backlog::default();
        take(
            &mut backlog,
            &[(1, ADA), (2, ADA), (3, ADA), (4, ADA), (5, BRUNO)],
        );
        assert_eq!(begun(&mut backlog), [Handle(1), Handle(5)]);
        backlog.end(ADA, CHAT_TIME / 2);
        assert_eq!(begun(&mut backlog), [Handle(2)]);
        backlog.end(ADA, CHAT_TIME / 2);
        assert_eq!(begun(&mut backlog), [Refuse(3)]);
        assert_eq!(backlog.offset(), Some(3));
        backlog.end(ADA, SOON);
        assert_eq!(backlog.offset(), Some(5));
        // Its time begins anew, also when nothing waited.
        take(&mut backlog, &[(6, ADA)]);
        assert_eq!(begun(&mut backlog), [Handle(6)]);
        backlog.end(ADA, CHAT_TIME);
        take(&mut backlog, &[(7, ADA), (8, ADA)]);
        assert_eq!(all(&mut backlog), [Handle(7), Handle(8)]);
    }

    #[test]
    fn so_many_chats_at_once_and_who_waits_longest_is_next() {
        let mut backlog = Backlog::default();
        let chats: Vec<_> = (0..).map(ChatId::new).take(AT_ONCE + 2).collect();
        for (id, chat) in (1..).zip(&chats) {
            take(&mut backlog, &[(id, *chat), (id + 100, *chat)]);
        }
        let first: Vec<_> = (1..17).map(Handle).collect();
        assert_eq!(begun(&mut backlog), first);
        for (ends, begins) in [(3, 17), (5, 18), (16, 104), (17, 106)] {
            backlog.end(chats[ends], SOON);
            assert_eq!(begun(&mut backlog), [Handle(begins)]);
        }
    }
}

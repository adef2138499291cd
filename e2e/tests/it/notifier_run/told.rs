//! What users were told, beside what they had to be told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{NotifierRun, REMINDERS, User};

impl NotifierRun {
    /// Each message came, and a copy where nobody could know: counted as such, and nowhere else.
    pub(crate) fn compare_news(&self) {
        for user in &self.users {
            let (step, told) = (user.step, self.told(user));
            assert_eq!(
                told.recorded,
                user.news(),
                "{step:?}: {:#?}",
                self.telegram.texts(user.chat)
            );
            assert!(told.copies <= told.ambiguous, "{step:?}: {told:?}");
            assert_eq!(told.copies > 0, step.leads_to_a_copy(), "{step:?}: {told:?}");
        }
        self.say("all news are told once, and once more where nobody could know");
    }

    /// Every alert's delivery has ended, nothing is lost, copies are counted, and each chat reads: breach, reminders, back.
    pub(crate) async fn compare_all(&mut self) {
        // A reminder that was still to come would come within this time.
        let before = self.telegram.messages().len();
        tokio::time::sleep(REMINDERS + Duration::from_secs(3)).await;
        assert_eq!(
            self.telegram.messages().len(),
            before,
            "a message came after the end"
        );
        let statuses = self
            .servers
            .sql("select distinct status from deliveries")
            .unwrap();
        let ended = ["sent", "superseded", "undeliverable"];
        assert!(
            statuses.lines().all(|status| ended.contains(&status)),
            "{statuses}"
        );
        let lost = self.count("deliveries where kind in ('breach', 'back') and status <> 'sent'");
        assert_eq!(lost, 0, "breaches and returns that were not sent");
        let alerts = self.count("alerts");
        assert_eq!(alerts, 2 * self.users.len(), "the ledger has each alert once");
        let (mut messages, mut copies, mut ambiguous) = (0, 0, 0);
        for user in &self.users {
            let told = self.told(user);
            assert!(told.copies <= told.ambiguous, "{:?}: {told:?}", user.step);
            messages += told.recorded + told.copies;
            copies += told.copies;
            ambiguous += told.ambiguous;
            self.compare_order(user);
        }
        println!(
            "{} kills, {} users, {alerts} alerts: {messages} messages, {copies} copies, {ambiguous} ambiguous sends",
            self.kills,
            self.users.len(),
        );
    }

    fn compare_order(&self, user: &User) {
        let messages = self.telegram.messages_to(user.chat);
        let kinds: Vec<Kind> = messages.iter().map(|message| Kind::of(&message.text)).collect();
        assert!(kinds.is_sorted(), "{:?}: {messages:#?}", user.step);
        // What the ledger knows of came once, whatever else came again.
        let recorded = self.recorded(user);
        let mut counts: BTreeMap<Kind, usize> = BTreeMap::new();
        for (message, kind) in messages.iter().zip(&kinds) {
            if recorded.contains(&message.message_id) {
                *counts.entry(*kind).or_default() += 1;
            }
        }
        assert_eq!(
            counts.get(&Kind::Breach),
            Some(&1),
            "{:?}: {messages:#?}",
            user.step
        );
        assert_eq!(
            counts.get(&Kind::Back),
            Some(&1),
            "{:?}: {messages:#?}",
            user.step
        );
    }

    fn told(&self, user: &User) -> Told {
        let (recorded, chat) = (self.recorded(user), self.telegram.messages_to(user.chat));
        let came: BTreeSet<i64> = chat.iter().map(|message| message.message_id).collect();
        assert!(
            recorded.is_subset(&came),
            "the ledger knows of messages that never came"
        );
        let ambiguous = format!(
            "select coalesce(sum(ambiguous_sends), 0) from deliveries where rule_id = '{}'",
            user.rule.id
        );
        Told {
            recorded: recorded.len(),
            copies: came.len() - recorded.len(),
            ambiguous: self.servers.sql(&ambiguous).unwrap().trim().parse().unwrap(),
        }
    }

    /// The ids of the messages that the ledger knows of.
    fn recorded(&self, user: &User) -> BTreeSet<i64> {
        let ids = format!(
            "select distinct message_id from deliveries where rule_id = '{}' and status = 'sent'",
            user.rule.id
        );
        self.servers
            .sql(&ids)
            .unwrap()
            .lines()
            .map(|id| id.parse().unwrap())
            .collect()
    }
}

/// What one user got.
#[derive(Debug)]
struct Told {
    /// Messages that the ledger knows of.
    recorded: usize,
    /// Others.
    copies: usize,
    /// Sends of which the ledger says that nobody knows whether they arrived.
    ambiguous: usize,
}

/// In the order in which a chat may read them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Breach,
    Reminder,
    Back,
}

impl Kind {
    fn of(text: &str) -> Self {
        let headline = text.lines().next().unwrap_or_default();
        if headline.contains("Reminder") {
            Self::Reminder
        } else if headline.contains("back in range") {
            Self::Back
        } else {
            assert!(headline.contains("AAPL is above 200"), "{text}");
            Self::Breach
        }
    }
}

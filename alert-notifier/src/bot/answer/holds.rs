//! Reminders, snooze, quiet hours.

use cqrs::UserEdit;
use cqrs::domain::{ReminderInterval, Rule, RuleId, Snooze};

use super::super::command::Command;
use super::super::parse::{Hold, Quiet, Which, quiet, snooze, which};
use super::super::text::{holds as text, refusals};
use super::known::tickers_of;
use super::{Asker, Desk, Failure, Replies, reader};

impl Desk {
    pub(super) async fn set(&self, asker: &Asker, rest: &str) -> Replies {
        let wrong = |wrong| Failure::Wrong(Command::Set, wrong);
        if rest.is_empty() {
            return Err(wrong(super::Wrong::Missing));
        }
        let interval: ReminderInterval = rest
            .parse()
            .map_err(|error| wrong(super::Wrong::Interval(error)))?;
        self.remind(asker, Some(interval)).await
    }

    pub(super) async fn remind(&self, asker: &Asker, interval: Option<ReminderInterval>) -> Replies {
        let edit = UserEdit {
            reminder_interval: Some(interval),
            ..UserEdit::default()
        };
        let user = self.commands.update_user(asker.caller, edit, None).await?;
        Ok(vec![text::reminders(&user, asker.language()).into()])
    }

    pub(super) async fn snooze(&self, asker: &Asker, rest: &str) -> Replies {
        let (which, hold) = snooze(rest).map_err(|wrong| Failure::Wrong(Command::Snooze, wrong))?;
        let meant = self.rules_meant(asker, &which).await?;
        let snooze = match hold {
            Hold::For(time) => Snooze::Until(asker.reader.now.plus(time)),
            Hold::UntilBack => Snooze::UntilBack,
        };
        let meant = match hold {
            Hold::For(_) => meant,
            Hold::UntilBack => self.out_of_range(asker, &which, meant).await?,
        };
        if meant.is_empty() {
            return Err(Failure::Told(refusals::nothing_to_snooze(
                hold == Hold::UntilBack,
                asker.language(),
            )));
        }
        let rules = self
            .commands
            .snooze_rules(asker.caller, &ids(&meant), Some(snooze))
            .await?;
        Ok(vec![text::snoozed(&rules, snooze, &asker.reader).into()])
    }

    /// Those that have a return to wait for. Of one ticker all, if none has: the refusal says why.
    async fn out_of_range(
        &self,
        asker: &Asker,
        which: &Which,
        meant: Vec<Rule>,
    ) -> Result<Vec<Rule>, Failure> {
        let known = self.known(asker, &tickers_of(&meant)).await?;
        let out: Vec<Rule> = meant
            .iter()
            .filter(|rule| known.episode(rule).is_some())
            .cloned()
            .collect();
        Ok(match which {
            Which::On(_) if out.is_empty() => meant,
            Which::On(_) | Which::All => out,
        })
    }

    pub(super) async fn unsnooze(&self, asker: &Asker, rest: &str) -> Replies {
        let which = which(rest).map_err(|wrong| Failure::Wrong(Command::Unsnooze, wrong))?;
        let mut rules = self.rules_meant(asker, &which).await?;
        rules.retain(|rule| rule.snooze.is_some_and(|snooze| snooze.holds(asker.reader.now)));
        if !rules.is_empty() {
            self.commands
                .snooze_rules(asker.caller, &ids(&rules), None)
                .await?;
        }
        Ok(vec![text::unsnoozed(&rules, asker.language()).into()])
    }

    pub(super) async fn quiet(&self, asker: &Asker, rest: &str) -> Replies {
        let edit = match quiet(rest).map_err(|wrong| Failure::Wrong(Command::Quiet, wrong))? {
            Quiet::Show => return Ok(vec![text::quiet(&asker.user, &asker.reader).into()]),
            Quiet::Off => UserEdit {
                quiet_hours: Some(None),
                ..UserEdit::default()
            },
            Quiet::Hours(hours, zone) => UserEdit {
                quiet_hours: Some(Some(hours)),
                time_zone: zone,
                ..UserEdit::default()
            },
            Quiet::Zone(zone) => UserEdit {
                time_zone: Some(zone),
                ..UserEdit::default()
            },
        };
        let user = self.commands.update_user(asker.caller, edit, None).await?;
        Ok(vec![text::quiet(&user, &reader(&user)).into()])
    }
}

fn ids(rules: &[Rule]) -> Vec<RuleId> {
    rules.iter().map(|rule| rule.id).collect()
}

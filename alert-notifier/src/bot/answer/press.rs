//! Buttons.

use std::time::Duration;

use cqrs::domain::{Rule, RuleId, Snooze, Ticker};
use cqrs::{RuleEdit, StoreError};

use super::super::reply::{Change, Press, Reply};
use super::super::text::{holds, rules as text};
use super::prices::DAY;
use super::{Asker, Desk, Failure};
use crate::buttons::{Action, Button, Keyboard, RuleAction};
use crate::text::rich::Text;

const HOUR: Duration = Duration::from_secs(60 * 60);

impl Desk {
    pub(super) async fn try_press(
        &self,
        asker: &Asker,
        action: Action,
        keyboard: &Keyboard,
    ) -> Result<Press, Failure> {
        let (action, rule) = match action {
            Action::Rule(action, rule) => (action, rule),
            Action::OnHold(action, ticker, restated_at) => {
                return self
                    .press_on_hold(asker, action, &ticker, restated_at, keyboard)
                    .await;
            }
            Action::Page(number) => {
                let (text, keyboard) = self.page_number(asker, number).await?;
                return Ok(changed(String::new(), text, keyboard));
            }
            Action::Cancel => {
                return Ok(changed(
                    String::new(),
                    text::kept(asker.language()),
                    Keyboard::none(),
                ));
            }
        };
        match action {
            RuleAction::SnoozeHour => {
                let snooze = Snooze::Until(asker.reader.now.plus(HOUR));
                self.press_snooze(asker, rule, Some(snooze), keyboard).await
            }
            RuleAction::SnoozeUntilBack => {
                self.press_snooze(asker, rule, Some(Snooze::UntilBack), keyboard)
                    .await
            }
            RuleAction::Unsnooze => self.press_snooze(asker, rule, None, keyboard).await,
            RuleAction::Pause => self.press_pause(asker, rule, true, keyboard).await,
            RuleAction::Resume => self.press_pause(asker, rule, false, keyboard).await,
            RuleAction::Edit => self.press_edit(asker, rule).await,
            RuleAction::Chart => {
                let rule = self.rule(asker, rule).await?;
                let chart = self.chart_of(asker, &rule.ticker, DAY).await?;
                Ok(replied(chart))
            }
            RuleAction::Delete => self.press_delete(asker, rule).await,
            RuleAction::ConfirmDelete => {
                let found = self.rule(asker, rule).await?;
                self.commands.delete_rule(asker.caller, rule, None).await?;
                Ok(changed(
                    String::new(),
                    text::deleted(&found, asker.language()),
                    Keyboard::none(),
                ))
            }
        }
    }

    async fn press_snooze(
        &self,
        asker: &Asker,
        rule: RuleId,
        snooze: Option<Snooze>,
        keyboard: &Keyboard,
    ) -> Result<Press, Failure> {
        let rules = self.commands.snooze_rules(asker.caller, &[rule], snooze).await?;
        let notice = rules
            .first()
            .map(|rule| holds::snooze_notice(rule, snooze, &asker.reader))
            .unwrap_or_default();
        let buttons = with_snooze(keyboard, rule, snooze.is_some(), asker.language());
        Ok(Press {
            notice,
            change: (buttons != *keyboard).then_some(Change::Buttons(buttons)),
            replies: Vec::new(),
        })
    }

    async fn press_pause(
        &self,
        asker: &Asker,
        rule: RuleId,
        paused: bool,
        keyboard: &Keyboard,
    ) -> Result<Press, Failure> {
        let edit = RuleEdit {
            paused: Some(paused),
            ..RuleEdit::default()
        };
        let data = [rule.to_string().as_bytes(), &[u8::from(paused)]].concat();
        let changed_rule = self
            .commands
            .update_rule(asker.caller, rule, edit, Some(asker.idempotency(&data)))
            .await?;
        let notice = text::paused(&changed_rule.ticker, paused, asker.language());
        let page = self.page_again(asker, vec![changed_rule], keyboard).await?;
        Ok(Press {
            notice,
            change: page.map(|(text, keyboard)| Change::Message(text, keyboard)),
            replies: Vec::new(),
        })
    }

    /// The page of the list that has these buttons and shows the first of these rules, which were just changed. None: that
    /// one is gone.
    pub(super) async fn page_again(
        &self,
        asker: &Asker,
        changed: Vec<Rule>,
        keyboard: &Keyboard,
    ) -> Result<Option<(Text, Keyboard)>, StoreError> {
        let mut rules = self.rules(asker).await?;
        let first = changed.first().map(|rule| rule.id);
        let Some(place) = rules.iter().position(|rule| Some(rule.id) == first) else {
            return Ok(None);
        };
        // What was just written may not be read yet.
        for changed in changed {
            if let Some(rule) = rules.iter_mut().find(|rule| rule.id == changed.id) {
                *rule = changed;
            }
        }
        let ticker_of = |id| rules.iter().find(|rule| rule.id == id).map(|rule| &rule.ticker);
        let page = if is_of_one_ticker(keyboard, ticker_of) {
            let ticker = rules[place].ticker.clone();
            rules.retain(|rule| rule.ticker == ticker);
            self.first_ones(asker, &rules).await?
        } else {
            self.page(asker, &rules, place).await?
        };
        Ok(Some(page))
    }

    async fn press_edit(&self, asker: &Asker, rule: RuleId) -> Result<Press, Failure> {
        let rule = self.rule(asker, rule).await?;
        let known = self.known(asker, std::slice::from_ref(&rule.ticker)).await?;
        Ok(replied(Reply::Question {
            text: text::ask_thresholds(&known.of(&rule), asker.language()),
            placeholder: text::placeholder(asker.language()),
        }))
    }

    async fn press_delete(&self, asker: &Asker, rule: RuleId) -> Result<Press, Failure> {
        let rule = self.rule(asker, rule).await?;
        let language = asker.language();
        let keyboard = Keyboard::none().row([
            Button::of_rule(RuleAction::ConfirmDelete, rule.id, language),
            Button::new(text::keep_label(language), Action::Cancel),
        ]);
        Ok(replied(Reply::Text {
            text: text::ask_delete(&rule, language),
            keyboard,
        }))
    }
}

/// Whether a list with these buttons shows the rules of one ticker: no others stand in it, and it has no other pages.
fn is_of_one_ticker<'a>(keyboard: &Keyboard, ticker_of: impl Fn(RuleId) -> Option<&'a Ticker>) -> bool {
    let mut tickers = Vec::new();
    for button in keyboard.rows().iter().flatten() {
        match &button.action {
            Action::Page(_) => return false,
            Action::Rule(_, rule) => tickers.extend(ticker_of(*rule)),
            Action::OnHold(..) | Action::Cancel => {}
        }
    }
    tickers.dedup();
    tickers.len() == 1
}

pub(super) fn changed(notice: String, text: Text, keyboard: Keyboard) -> Press {
    Press {
        notice,
        change: Some(Change::Message(text, keyboard)),
        replies: Vec::new(),
    }
}

pub(super) fn replied(reply: Reply) -> Press {
    Press {
        replies: vec![reply],
        ..Press::default()
    }
}

/// The same buttons, but those of this rule to snooze or unsnooze it: the ones that make sense now.
fn with_snooze(
    keyboard: &Keyboard,
    rule: RuleId,
    snoozed: bool,
    language: cqrs::domain::Language,
) -> Keyboard {
    let of_snooze = |button: &Button| {
        matches!(
            button.action,
            Action::Rule(RuleAction::SnoozeHour | RuleAction::SnoozeUntilBack | RuleAction::Unsnooze, other) if other == rule
        )
    };
    let fresh: Vec<Button> = if snoozed {
        vec![RuleAction::Unsnooze]
    } else {
        vec![RuleAction::SnoozeHour, RuleAction::SnoozeUntilBack]
    }
    .into_iter()
    .map(|action| Button::of_rule(action, rule, language))
    .collect();
    let mut placed = false;
    let mut changed = Keyboard::none();
    for row in keyboard.rows() {
        let mut buttons = Vec::new();
        for button in row {
            if !of_snooze(button) {
                buttons.push(button.clone());
            } else if !placed {
                buttons.extend(fresh.iter().cloned());
                placed = true;
            }
        }
        changed = changed.row(buttons);
    }
    changed
}

#[cfg(test)]
mod tests {
    use cqrs::domain::Language;

    use super::*;

    #[test]
    fn a_list_of_one_ticker_is_known_by_its_buttons() {
        let tickers: [Ticker; 2] = ["AAPL", "MSFT"].map(|ticker| ticker.parse().unwrap());
        let ids = [(); 4].map(|()| RuleId::generate());
        // The last is gone.
        let ticker_of = |id| match ids.iter().position(|other| *other == id) {
            Some(place @ 0..=1) => Some(&tickers[place]),
            Some(2) => Some(&tickers[1]),
            _ => None,
        };
        let list = |places: &[usize]| {
            places.iter().fold(Keyboard::none(), |keyboard, place| {
                keyboard.row([Button::of_rule(RuleAction::Pause, ids[*place], Language::En)])
            })
        };
        assert!(is_of_one_ticker(&list(&[0]), ticker_of));
        assert!(is_of_one_ticker(&list(&[1, 3, 2]), ticker_of));
        assert!(!is_of_one_ticker(&list(&[0, 1]), ticker_of));
        assert!(!is_of_one_ticker(&list(&[]), ticker_of));
        let paged = list(&[1, 2]).row([Button::new("»", Action::Page(1))]);
        assert!(!is_of_one_ticker(&paged, ticker_of));
    }

    #[test]
    fn snoozing_changes_only_the_buttons_of_its_rule() {
        let (one, other) = (RuleId::generate(), RuleId::generate());
        let language = Language::En;
        let mut keyboard = Keyboard::of_breach(one, language);
        for row in Keyboard::of_breach(other, language).rows() {
            keyboard = keyboard.row(row.clone());
        }
        let snoozed = with_snooze(&keyboard, one, true, language);
        let labels: Vec<Vec<&str>> = snoozed
            .rows()
            .iter()
            .map(|row| row.iter().map(|button| button.label.as_str()).collect())
            .collect();
        assert_eq!(
            labels,
            [
                vec!["Unsnooze"],
                vec!["Edit", "Chart"],
                vec!["Snooze 1h", "Until back"],
                vec!["Edit", "Chart"]
            ]
        );
        assert_eq!(with_snooze(&snoozed, one, false, language), keyboard);
        // Without such buttons nothing changes.
        assert_eq!(
            with_snooze(&Keyboard::none(), one, true, language),
            Keyboard::none()
        );
    }
}

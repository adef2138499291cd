//! What becomes of rules on hold.

use std::collections::BTreeMap;

use cqrs::domain::{Language, Rule, Ticker, Timestamp};
use cqrs::{CommandError, HoldAnswer, Released};

use super::super::parse::Which;
use super::super::reply::{Change, Press, Reply};
use super::super::text::{on_hold as text, refusals};
use super::known::Known;
use super::press::{changed, replied};
use super::{Asker, Desk, Failure};
use crate::buttons::{Action, Button, HoldAction, Keyboard};

impl Desk {
    /// A button about a ticker's rules on hold: under the message that asks, or under a list.
    pub(super) async fn press_on_hold(
        &self,
        asker: &Asker,
        action: HoldAction,
        ticker: &Ticker,
        restated_at: Timestamp,
        keyboard: &Keyboard,
    ) -> Result<Press, Failure> {
        let answer = match action {
            HoldAction::Adjust => HoldAnswer::Adjust,
            HoldAction::Keep => HoldAnswer::Keep,
            HoldAction::List => {
                let rules = self.rules_meant(asker, &Which::On(ticker.clone())).await?;
                let (text, keyboard) = self.first_ones(asker, &rules).await?;
                return Ok(replied(Reply::Text { text, keyboard }));
            }
        };
        let data = Action::OnHold(action, ticker.clone(), restated_at).to_string();
        let idempotency = Some(asker.idempotency(data.as_bytes()));
        let released = self
            .commands
            .release_rules(asker.caller, ticker, restated_at, answer, idempotency)
            .await;
        let released = match released {
            Err(error @ CommandError::RestatedAgain { .. }) => {
                return Ok(self.outdated(asker, &error, keyboard));
            }
            released => released?,
        };
        let language = asker.language();
        let notice = text::notice(ticker, &released, language);
        if is_list(keyboard) {
            return self.release_in_list(asker, released, notice, keyboard).await;
        }
        if released == Released::default() {
            // Perhaps this button did it a moment ago: what the message says stays.
            return Ok(Press {
                notice,
                change: Some(Change::Buttons(Keyboard::none())),
                replies: Vec::new(),
            });
        }
        let keyboard = if released.left.is_empty() {
            Keyboard::none()
        } else {
            Keyboard::of_hold(ticker, restated_at, false, language)
        };
        let text = text::released(ticker, answer, &released, language);
        Ok(changed(notice, text, keyboard))
    }

    /// There is a newer message about the ticker, or it comes in a moment.
    fn outdated(&self, asker: &Asker, error: &CommandError, keyboard: &Keyboard) -> Press {
        let notice = refusals::refused(error, &asker.reader).map(|text| text.plain());
        Press {
            notice: notice.unwrap_or_default(),
            change: (!is_list(keyboard)).then(|| Change::Buttons(Keyboard::none())),
            replies: Vec::new(),
        }
    }

    async fn release_in_list(
        &self,
        asker: &Asker,
        released: Released,
        notice: String,
        keyboard: &Keyboard,
    ) -> Result<Press, Failure> {
        let rules = [released.rules, released.left].concat();
        let page = self.page_again(asker, rules, keyboard).await?;
        Ok(Press {
            notice,
            change: page.map(|(text, keyboard)| Change::Message(text, keyboard)),
            replies: Vec::new(),
        })
    }
}

/// Whether these buttons stand under a list: there are some for single rules.
fn is_list(keyboard: &Keyboard) -> bool {
    let mut buttons = keyboard.rows().iter().flatten();
    buttons.any(|button| matches!(button.action, Action::Rule(..) | Action::Page(_)))
}

/// A row for each ticker of the list with rules on hold.
pub(super) fn hold_buttons(
    mut keyboard: Keyboard,
    shown: &[Rule],
    known: &Known,
    language: Language,
) -> Keyboard {
    // Whether any of its rules can be adjusted.
    let mut tickers: BTreeMap<&Ticker, bool> = BTreeMap::new();
    for rule in shown {
        if let Some(hold) = known.hold(rule) {
            *tickers.entry(&rule.ticker).or_default() |= hold.adjusted.is_some();
        }
    }
    for (ticker, adjustable) in tickers {
        let Some(restated_at) = known.restated_at(ticker) else {
            continue;
        };
        let button = |action, answer| {
            let label = text::label(answer, ticker, language);
            Button::new(label, Action::OnHold(action, ticker.clone(), restated_at))
        };
        let adjust = adjustable.then(|| button(HoldAction::Adjust, HoldAnswer::Adjust));
        keyboard = keyboard.row(
            adjust
                .into_iter()
                .chain([button(HoldAction::Keep, HoldAnswer::Keep)]),
        );
    }
    keyboard
}

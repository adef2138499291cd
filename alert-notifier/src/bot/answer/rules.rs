//! Making, listing and changing rules.

use cqrs::domain::{Language, NewRule, Note, Rule, Ticker};
use cqrs::{RuleEdit, StoreError};

use super::super::command::Command;
use super::super::parse::{Thresholds, Watch, Which, is_of_many, watch, which};
use super::super::reply::Reply;
use super::super::text::refusals;
use super::super::text::rules::{self as text, ListPage, Watched};
use super::known::{Known, SUGGESTIONS, tickers_of};
use super::{Asker, Desk, Failure, Replies};
use crate::buttons::{Action, Button, Keyboard, RuleAction};
use crate::text::rich::Text;

/// Rules on one page of the list: their buttons still fit under it.
const ON_PAGE: usize = 8;

impl Desk {
    pub(super) async fn watch(&self, asker: &Asker, rest: &str) -> Replies {
        let made = self.make(asker, rest).await;
        if is_of_many(rest) {
            made.map_err(Failure::of_many)
        } else {
            made
        }
    }

    async fn make(&self, asker: &Asker, rest: &str) -> Replies {
        let language = asker.language();
        let wanted = watch(rest, language).map_err(|wrong| Failure::Wrong(Command::Watch, wrong))?;
        let tickers: Vec<Ticker> = wanted.iter().map(|watch| watch.ticker.clone()).collect();
        let known = self.known(asker, &tickers).await?;
        let mut new = Vec::with_capacity(wanted.len());
        for watch in &wanted {
            new.push(self.new_rule(watch, &known, language).await?);
        }
        let rules = self
            .commands
            .create_rules(asker.caller, new, Some(asker.idempotency(rest.as_bytes())))
            .await?;
        let unknown = self.unknown(&rules, &known).await?;
        let watched: Vec<Watched<'_>> = rules.iter().map(|rule| known.of(rule)).collect();
        let keyboard = match rules.as_slice() {
            [rule] => buttons_of(rule, language),
            _ => Keyboard::none(),
        };
        Ok(vec![Reply::Text {
            text: text::watching(&watched, &unknown, &asker.reader),
            keyboard,
        }])
    }

    async fn new_rule(&self, watch: &Watch, known: &Known, language: Language) -> Result<NewRule, Failure> {
        let latest = known.latest(&watch.ticker).map(|quote| quote.price);
        if watch.thresholds.is_relative() && latest.is_none() {
            let similar = self.queries.similar_tickers(&watch.ticker, SUGGESTIONS).await?;
            let text = refusals::unknown_ticker(&watch.ticker, &similar, Command::Watch, language);
            return Err(Failure::Told(text));
        }
        let range = watch
            .thresholds
            .range(latest)
            .map_err(|wrong| Failure::Wrong(Command::Watch, wrong.in_line(watch.line)))?;
        Ok(NewRule {
            ticker: watch.ticker.clone(),
            range,
            note: Note::default(),
            paused: false,
            expires_at: None,
        })
    }

    /// Tickers without a price, with what they may have been meant for.
    async fn unknown(&self, rules: &[Rule], known: &Known) -> Result<Vec<(Ticker, Vec<Ticker>)>, StoreError> {
        /// More of them get no suggestions: each takes a search.
        const SEARCHED: usize = 5;
        let mut unknown = Vec::new();
        for ticker in tickers_of(rules) {
            if known.latest(&ticker).is_none() {
                let similar = if unknown.len() < SEARCHED {
                    self.queries.similar_tickers(&ticker, SUGGESTIONS).await?
                } else {
                    Vec::new()
                };
                unknown.push((ticker, similar));
            }
        }
        Ok(unknown)
    }

    pub(super) async fn list(&self, asker: &Asker, rest: &str) -> Replies {
        let which = which(rest).map_err(|wrong| Failure::Wrong(Command::List, wrong))?;
        let rules = self.rules_meant(asker, &which).await?;
        let (text, keyboard) = match which {
            Which::All => self.page(asker, &rules, 0).await?,
            Which::On(_) => self.first_ones(asker, &rules).await?,
        };
        Ok(vec![Reply::Text { text, keyboard }])
    }

    /// The first of one ticker's rules. No buttons lead on: those lead through the pages of all rules.
    pub(super) async fn first_ones(
        &self,
        asker: &Asker,
        rules: &[Rule],
    ) -> Result<(Text, Keyboard), StoreError> {
        let (first, others) = rules.split_at(rules.len().min(ON_PAGE));
        let (mut text, keyboard) = self.page(asker, first, 0).await?;
        if !others.is_empty() {
            text.push(text::more(others.len(), asker.language()));
        }
        Ok((text, keyboard))
    }

    /// The page that these rules' `first` is on.
    pub(super) async fn page(
        &self,
        asker: &Asker,
        rules: &[Rule],
        first: usize,
    ) -> Result<(Text, Keyboard), StoreError> {
        // The last page, where there are fewer rules by now.
        let page = first.min(rules.len().saturating_sub(1)) / ON_PAGE;
        let before = page * ON_PAGE;
        let shown = &rules[before..rules.len().min(before + ON_PAGE)];
        let known = self.known(asker, &tickers_of(shown)).await?;
        let watched: Vec<Watched<'_>> = shown.iter().map(|rule| known.of(rule)).collect();
        let list = ListPage {
            rules: &watched,
            before,
            all: rules.len(),
        };
        let language = asker.language();
        let text = text::list(&list, &asker.reader);
        Ok((text, list_buttons(shown, page, rules.len(), &known, language)))
    }

    /// Page `number`, from 0.
    pub(super) async fn page_number(
        &self,
        asker: &Asker,
        number: u16,
    ) -> Result<(Text, Keyboard), StoreError> {
        let rules = self.rules(asker).await?;
        self.page(asker, &rules, usize::from(number) * ON_PAGE).await
    }

    /// New thresholds, in answer to a question about the rule with this code.
    pub(super) async fn edit(&self, asker: &Asker, code: &str, written: &str) -> Replies {
        let language = asker.language();
        let rule = self
            .rule_of_code(asker, code)
            .await?
            .ok_or_else(|| Failure::Told(refusals::rule_gone(language)))?;
        let words: Vec<&str> = written.split_whitespace().collect();
        let wrong = |wrong| Failure::Told(refusals::wrong_answer(&wrong, language));
        let thresholds = Thresholds::parse(&words, language).map_err(wrong)?;
        let known = self.known(asker, std::slice::from_ref(&rule.ticker)).await?;
        let latest = known.latest(&rule.ticker).map(|quote| quote.price);
        if thresholds.is_relative() && latest.is_none() {
            let text = refusals::unknown_ticker(&rule.ticker, &[], Command::Watch, language);
            return Err(Failure::Told(text));
        }
        let range = thresholds.range(latest).map_err(wrong)?;
        let edit = RuleEdit {
            low: Some(range.low()),
            high: Some(range.high()),
            ..RuleEdit::default()
        };
        let rule = self
            .commands
            .update_rule(
                asker.caller,
                rule.id,
                edit,
                Some(asker.idempotency(written.as_bytes())),
            )
            .await?;
        Ok(vec![Reply::Text {
            text: text::changed(&known.of(&rule), language),
            keyboard: buttons_of(&rule, language),
        }])
    }
}

/// Under a message about one rule.
fn buttons_of(rule: &Rule, language: Language) -> Keyboard {
    let button = |action| Button::of_rule(action, rule.id, language);
    Keyboard::none().row([
        button(RuleAction::Edit),
        button(RuleAction::Chart),
        button(RuleAction::Delete),
    ])
}

/// A row for each rule, by its number in the list, and one to go through the pages.
fn list_buttons(shown: &[Rule], page: usize, all: usize, known: &Known, language: Language) -> Keyboard {
    let mut keyboard = Keyboard::none();
    for (place, rule) in shown.iter().enumerate() {
        let number = page * ON_PAGE + place + 1;
        let button = |action: RuleAction| {
            let label = format!("{number} {}", action.label(language));
            Button::new(label, Action::Rule(action, rule.id))
        };
        // Whoever resumes a rule on hold wants it as it is.
        let pause = if rule.paused || rule.on_hold_since.is_some() {
            RuleAction::Resume
        } else {
            RuleAction::Pause
        };
        keyboard = keyboard.row([
            button(RuleAction::Edit),
            button(pause),
            button(RuleAction::Delete),
        ]);
    }
    keyboard = super::released::hold_buttons(keyboard, shown, known, language);
    let turn = |label: &str, page: usize| {
        u16::try_from(page)
            .ok()
            .map(|page| Button::new(label, Action::Page(page)))
    };
    let back = page.checked_sub(1).and_then(|page| turn("«", page));
    let on = ((page + 1) * ON_PAGE < all)
        .then(|| turn("»", page + 1))
        .flatten();
    keyboard.row(back.into_iter().chain(on))
}

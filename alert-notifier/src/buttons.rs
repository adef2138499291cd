//! Buttons under messages: what they say, and what a press tells the bot.

use std::fmt;
use std::str::FromStr;

use cqrs::domain::{Language, RuleId, Ticker, Timestamp};
use serde_json::{Value, json};

/// What a button asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Something with one rule.
    Rule(RuleAction, RuleId),
    /// Something with the rules on one ticker that are on hold. The time: of the newest restatement that the message knows of.
    OnHold(HoldAction, Ticker, Timestamp),
    /// Another page of the list of rules, from 0.
    Page(u16),
    /// Nothing after all: the buttons go.
    Cancel,
}

/// What a button can do with a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleAction {
    /// No messages for an hour.
    SnoozeHour,
    /// No messages until the price is back in range.
    SnoozeUntilBack,
    /// Messages again.
    Unsnooze,
    /// Ask for new thresholds.
    Edit,
    /// Show the last day's prices.
    Chart,
    /// Stop watching for now.
    Pause,
    /// Watch again.
    Resume,
    /// Ask whether it shall be deleted.
    Delete,
    /// Delete it.
    ConfirmDelete,
}

impl RuleAction {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::SnoozeHour,
        Self::SnoozeUntilBack,
        Self::Unsnooze,
        Self::Edit,
        Self::Chart,
        Self::Pause,
        Self::Resume,
        Self::Delete,
        Self::ConfirmDelete,
    ];

    /// Its name in callback data. Messages keep their buttons for years: a name never changes its meaning.
    const fn code(self) -> &'static str {
        match self {
            Self::SnoozeHour => "sh",
            Self::SnoozeUntilBack => "sb",
            Self::Unsnooze => "us",
            Self::Edit => "ed",
            Self::Chart => "ch",
            Self::Pause => "pa",
            Self::Resume => "re",
            Self::Delete => "de",
            Self::ConfirmDelete => "cd",
        }
    }

    /// What its button says.
    #[must_use]
    pub const fn label(self, language: Language) -> &'static str {
        match (self, language) {
            (Self::SnoozeHour, Language::En) => "Snooze 1h",
            (Self::SnoozeHour, Language::It) => "Silenzia 1h",
            (Self::SnoozeUntilBack, Language::En) => "Until back",
            (Self::SnoozeUntilBack, Language::It) => "Fino al rientro",
            (Self::Unsnooze, Language::En) => "Unsnooze",
            (Self::Unsnooze, Language::It) => "Riattiva avvisi",
            (Self::Edit, Language::En) => "Edit",
            (Self::Edit, Language::It) => "Modifica",
            (Self::Chart, Language::En) => "Chart",
            (Self::Chart, Language::It) => "Grafico",
            (Self::Pause, Language::En) => "Pause",
            (Self::Pause, Language::It) => "Pausa",
            (Self::Resume, Language::En) => "Resume",
            (Self::Resume, Language::It) => "Riprendi",
            (Self::Delete, Language::En) => "Delete",
            (Self::Delete, Language::It) => "Elimina",
            (Self::ConfirmDelete, Language::En) => "Yes, delete",
            (Self::ConfirmDelete, Language::It) => "Sì, elimina",
        }
    }
}

/// What a button can do with rules on hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldAction {
    /// Convert their thresholds.
    Adjust,
    /// Let them go on as they are.
    Keep,
    /// Show them.
    List,
}

impl HoldAction {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Adjust, Self::Keep, Self::List];

    /// Its name in callback data: as those of [`RuleAction`].
    const fn code(self) -> &'static str {
        match self {
            Self::Adjust => "ha",
            Self::Keep => "hk",
            Self::List => "hl",
        }
    }

    /// What its button says.
    #[must_use]
    pub const fn label(self, language: Language) -> &'static str {
        match (self, language) {
            (Self::Adjust, Language::En) => "Adjust",
            (Self::Adjust, Language::It) => "Adegua",
            (Self::Keep, Language::En) => "Keep as they are",
            (Self::Keep, Language::It) => "Lascia così",
            (Self::List, Language::En) => "List",
            (Self::List, Language::It) => "Elenco",
        }
    }
}

/// The data of a button that this program never made, or no longer knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this button is not known here; write the command instead (/help lists them)")]
pub struct ParseActionError;

impl fmt::Display for Action {
    /// Telegram's `callback_data`: at most 64 bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(action, rule) => write!(f, "{}:{rule}", action.code()),
            Self::OnHold(action, ticker, restated_at) => {
                write!(f, "{}:{ticker}:{}", action.code(), restated_at.as_micros())
            }
            Self::Page(page) => write!(f, "pg:{page}"),
            Self::Cancel => f.write_str("no"),
        }
    }
}

impl FromStr for Action {
    type Err = ParseActionError;

    fn from_str(data: &str) -> Result<Self, Self::Err> {
        if data == "no" {
            return Ok(Self::Cancel);
        }
        let (code, value) = data.split_once(':').ok_or(ParseActionError)?;
        if code == "pg" {
            return value.parse().map(Self::Page).map_err(|_| ParseActionError);
        }
        if let Some(action) = HoldAction::ALL.into_iter().find(|action| action.code() == code) {
            let (ticker, micros) = value.split_once(':').ok_or(ParseActionError)?;
            return match (ticker.parse(), micros.parse()) {
                (Ok(ticker), Ok(micros)) => Ok(Self::OnHold(action, ticker, Timestamp::from_micros(micros))),
                (Err(_), _) | (_, Err(_)) => Err(ParseActionError),
            };
        }
        let action = RuleAction::ALL.into_iter().find(|action| action.code() == code);
        match (action, value.parse()) {
            (Some(action), Ok(rule)) => Ok(Self::Rule(action, rule)),
            (None, _) | (_, Err(_)) => Err(ParseActionError),
        }
    }
}

/// One button.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Button {
    /// What it says.
    pub label: String,
    /// What it asks for.
    pub action: Action,
}

impl Button {
    /// A button with a label of its own.
    #[must_use]
    pub fn new(label: impl Into<String>, action: Action) -> Self {
        Self {
            label: label.into(),
            action,
        }
    }

    /// The button for something with a rule.
    #[must_use]
    pub fn of_rule(action: RuleAction, rule: RuleId, language: Language) -> Self {
        Self::new(action.label(language), Action::Rule(action, rule))
    }
}

/// Buttons under a message, in rows. Telegram takes 100 of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keyboard {
    rows: Vec<Vec<Button>>,
}

impl Keyboard {
    /// No buttons.
    #[must_use]
    pub const fn none() -> Self {
        Self { rows: Vec::new() }
    }

    /// The buttons of a message about one rule that is out of range.
    #[must_use]
    pub fn of_breach(rule: RuleId, language: Language) -> Self {
        let button = |action| Button::of_rule(action, rule, language);
        Self::none()
            .row([
                button(RuleAction::SnoozeHour),
                button(RuleAction::SnoozeUntilBack),
            ])
            .row([button(RuleAction::Edit), button(RuleAction::Chart)])
    }

    /// The buttons of a message about rules on hold.
    #[must_use]
    pub fn of_hold(ticker: &Ticker, restated_at: Timestamp, adjustable: bool, language: Language) -> Self {
        let button = |action: HoldAction| {
            let data = Action::OnHold(action, ticker.clone(), restated_at);
            Button::new(action.label(language), data)
        };
        let adjust = adjustable.then(|| button(HoldAction::Adjust));
        Self::none()
            .row(adjust.into_iter().chain([button(HoldAction::Keep)]))
            .row([button(HoldAction::List)])
    }

    /// One more row; no row if there are no buttons in it.
    #[must_use]
    pub fn row(mut self, buttons: impl IntoIterator<Item = Button>) -> Self {
        let buttons: Vec<_> = buttons.into_iter().collect();
        if !buttons.is_empty() {
            self.rows.push(buttons);
        }
        self
    }

    /// From top to bottom, each from left to right.
    #[must_use]
    pub fn rows(&self) -> &[Vec<Button>] {
        &self.rows
    }

    /// Whether there are no buttons.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Telegram's `InlineKeyboardMarkup`, the value of `reply_markup`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let button =
            |button: &Button| json!({"text": button.label, "callback_data": button.action.to_string()});
        let rows: Vec<Vec<Value>> = self
            .rows
            .iter()
            .map(|row| row.iter().map(button).collect())
            .collect();
        json!({"inline_keyboard": rows})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_is_read_back_and_fits_into_callback_data() {
        let rule = RuleId::generate();
        let ticker: Ticker = "ABCDEFGHIJKLMNOPQRSTU.ABCDEFGHIJ".parse().unwrap();
        let last = Timestamp::from_micros(253_402_300_799_999_999);
        let on_hold = HoldAction::ALL.map(|action| Action::OnHold(action, ticker.clone(), last));
        let actions = RuleAction::ALL
            .into_iter()
            .map(|action| Action::Rule(action, rule))
            .chain(on_hold)
            .chain([Action::Page(0), Action::Page(u16::MAX), Action::Cancel]);
        for action in actions {
            let data = action.to_string();
            assert!(data.len() <= 64, "{data}");
            assert_eq!(data.parse(), Ok(action), "{data}");
        }
    }

    #[test]
    fn what_no_button_says_is_refused() {
        let rule = RuleId::generate();
        for data in [
            String::new(),
            "x".into(),
            "sh".into(),
            "sh:".into(),
            "pg:-1".into(),
            "pg:65536".into(),
            "pg:٣".into(),
            format!("zz:{rule}"),
            format!("sh:{rule}x"),
            "sh".repeat(5_000),
        ] {
            assert_eq!(data.parse::<Action>(), Err(ParseActionError), "{data}");
        }
    }

    #[test]
    fn labels_are_short_enough_for_two_in_a_row_on_a_phone() {
        for action in RuleAction::ALL {
            for language in Language::ALL {
                assert!(action.label(language).chars().count() <= 16);
            }
        }
    }

    #[test]
    fn telegram_gets_rows_of_labels_and_data() {
        let rule = RuleId::generate();
        let keyboard = Keyboard::of_breach(rule, Language::It).row([]);
        let button = |label, code| json!({"text": label, "callback_data": format!("{code}:{rule}")});
        assert_eq!(
            keyboard.to_json(),
            json!({"inline_keyboard": [
                [button("Silenzia 1h", "sh"), button("Fino al rientro", "sb")],
                [button("Modifica", "ed"), button("Grafico", "ch")],
            ]})
        );
    }
}

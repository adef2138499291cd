//! Rules on hold because their ticker's prices are counted anew.

use cqrs::domain::{Language, Range, Rule, Split, Ticker};
use cqrs::{HoldAnswer, Released};

use super::either;
use crate::text::rich::{Line, Text};
use crate::text::words;

/// What a rule on hold waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::bot) struct OnHold {
    /// None: its thresholds can't be converted.
    pub(in crate::bot) split: Option<Split>,
    /// What its thresholds would be.
    pub(in crate::bot) adjusted: Option<Range>,
}

impl OnHold {
    /// `on hold: 7:1 split`
    pub(super) fn name(self, language: Language) -> String {
        match (self.split, language) {
            (Some(split), Language::En) => format!("on hold: {split} split"),
            (Some(split), Language::It) => format!("sospesa: frazionamento {split}"),
            (None, Language::En) => "on hold: prices of another size".to_owned(),
            (None, Language::It) => "sospesa: prezzi di un altro ordine di grandezza".to_owned(),
        }
    }

    /// `adjusted: low 85.71, high 100`
    pub(super) fn adjusted(self, language: Language) -> String {
        match self.adjusted {
            Some(range) => format!(
                "{}: {}",
                either(language, "adjusted", "adeguata"),
                words::thresholds(range, language, words::rounded)
            ),
            None => either(
                language,
                "its thresholds can't be converted",
                "le sue soglie non si possono convertire",
            )
            .to_owned(),
        }
    }
}

/// Below a list with rules on hold.
pub(super) const fn how_to_go_on(language: Language) -> &'static str {
    either(
        language,
        "What is on hold tells you nothing until you choose: Adjust converts its thresholds, Keep or Resume leaves them, Edit sets new ones.",
        "Ciò che è sospeso non ti avvisa finché non scegli: Adegua converte le soglie, Lascia così o Riprendi le tiene, Modifica ne imposta di nuove.",
    )
}

/// A button in a list for all rules of a ticker: `Adjust AAPL`.
pub(in crate::bot) fn label(answer: HoldAnswer, ticker: &Ticker, language: Language) -> String {
    let verb = match answer {
        HoldAnswer::Adjust => either(language, "Adjust", "Adegua"),
        HoldAnswer::Keep => either(language, "Keep", "Lascia"),
    };
    format!("{verb} {ticker}")
}

/// Shown over the chat for a moment.
pub(in crate::bot) fn notice(ticker: &Ticker, released: &Released, language: Language) -> String {
    let (on, left) = (released.rules.len(), released.left.len());
    match (on, left, language) {
        (0, 0, Language::En) => format!("Nothing on {ticker} is on hold any more"),
        (0, 0, Language::It) => format!("Su {ticker} non c'è più niente di sospeso"),
        (0, _, Language::En) => format!("{ticker}: these thresholds can't be converted"),
        (0, _, Language::It) => format!("{ticker}: queste soglie non si possono convertire"),
        (_, _, Language::En) => format!("{ticker} is watched again"),
        (_, _, Language::It) => format!("{ticker} è di nuovo seguito"),
    }
}

/// What became of the rules. They may be more than there is room for.
pub(in crate::bot) fn released(
    ticker: &Ticker,
    answer: HoldAnswer,
    released: &Released,
    language: Language,
) -> Text {
    let mut text = Text::new(language);
    let line = |rule: &Rule| {
        let thresholds = words::thresholds(rule.range, language, words::price);
        let paused = if rule.paused {
            either(language, " (still paused)", " (ancora in pausa)")
        } else {
            ""
        };
        Line::new().plain("    ").plain(thresholds).plain(paused)
    };
    let titled = |how: &str| Line::new().bold(ticker.as_str()).plain(how);
    if !released.rules.is_empty() {
        text.push(titled(match answer {
            HoldAnswer::Adjust => either(
                language,
                " is watched again, with converted thresholds:",
                " è di nuovo seguito, con le soglie convertite:",
            ),
            HoldAnswer::Keep => either(
                language,
                " is watched again, with the thresholds as they were:",
                " è di nuovo seguito, con le soglie di prima:",
            ),
        }));
    }
    for rule in &released.rules {
        text.push(line(rule));
    }
    if !released.left.is_empty() {
        text.push(titled(either(
            language,
            ": still on hold, as these thresholds can't be converted. Set new ones (List), or keep them as they are:",
            ": ancora sospeso, perché queste soglie non si possono convertire. Impostane di nuove (Elenco), o lasciale così:",
        )));
    }
    for rule in &released.left {
        text.push(line(rule));
    }
    text
}

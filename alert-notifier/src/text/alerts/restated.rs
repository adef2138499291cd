//! Rules on hold: what their owner is told and asked.

use cqrs::domain::{Language, Split, Timestamp};
use cqrs::{HeldRule, Restated};

use super::Phrases;
use crate::buttons::Keyboard;
use crate::text::rich::{Line, Text};
use crate::text::words;

/// Two moments so close are one to people.
const AT_ONCE: std::time::Duration = std::time::Duration::from_secs(1);

/// All below the headline. The rules come last: they may be more than there is room for.
pub(super) fn details(text: &mut Text, phrases: Phrases<'_>, restated: &Restated, now: Timestamp) {
    let language = phrases.language;
    text.push_more(price(phrases, now));
    text.push_more(doubt(restated.restatement.split, language));
    text.blank();
    let count = restated.rules.len();
    text.push(match (count, language) {
        (1, Language::En) => "1 alert on it is on hold, as its thresholds are from before.".to_owned(),
        (_, Language::En) => {
            format!("{count} alerts on it are on hold, as their thresholds are from before.")
        }
        (1, Language::It) => "1 avviso è sospeso, perché le sue soglie sono di prima.".to_owned(),
        (_, Language::It) => format!("{count} avvisi sono sospesi, perché le loro soglie sono di prima."),
    });
    text.push_more(choice(is_adjustable(restated), language));
    for rule in &restated.rules {
        text.push(line(rule, language));
    }
}

/// `Its price went from 645.70 to 92.42 USD: quote of 15:30:00 CET, confirmed at 15:35:00 CET.`
fn price(phrases: Phrases<'_>, now: Timestamp) -> String {
    let (facts, language) = (phrases.facts, phrases.language);
    let (from, to) = (words::price(facts.threshold, language), phrases.amount());
    let moment = |at| words::moment(at, now, phrases.zone, language);
    let quote = moment(facts.quote_time);
    let confirmed = (facts.opened_at.since(facts.quote_time) >= AT_ONCE).then(|| moment(facts.opened_at));
    match (confirmed, language) {
        (Some(confirmed), Language::En) => {
            format!("Its price went from {from} to {to} (quote of {quote}, confirmed {confirmed}).")
        }
        (None, Language::En) => format!("Its price went from {from} to {to} (quote of {quote})."),
        (Some(confirmed), Language::It) => {
            format!("Il prezzo è passato da {from} a {to} (quotazione: {quote}, confermata: {confirmed}).")
        }
        (None, Language::It) => format!("Il prezzo è passato da {from} a {to} (quotazione: {quote})."),
    }
}

/// What else it may be.
fn doubt(split: Option<Split>, language: Language) -> &'static str {
    let unit = split.is_none_or(|split| {
        matches!(
            (split.new_shares(), split.old_shares()),
            (100 | 1_000, 1) | (1, 100 | 1_000)
        )
    });
    match (unit, language) {
        (true, Language::En) => {
            "It may be in another unit now (pence for pounds), or it may be a true move: look at the news first."
        }
        (true, Language::It) => {
            "Può essere in un'altra unità (penny invece di sterline), oppure un movimento vero: prima guarda le notizie."
        }
        (false, Language::En) => {
            "It may also be a true move: a crash to a half looks like a 2:1 split. Look at the news first."
        }
        (false, Language::It) => {
            "Può anche essere un movimento vero: un crollo a metà sembra un frazionamento 2:1. Prima guarda le notizie."
        }
    }
}

const fn choice(adjustable: bool, language: Language) -> &'static str {
    match (adjustable, language) {
        (true, Language::En) => {
            "Until you choose, they tell you nothing. Adjust them, or keep them as they are:"
        }
        (true, Language::It) => "Finché non scegli, non ti avvisano. Adeguali, o lasciali così:",
        (false, Language::En) => {
            "Until you choose, they tell you nothing. Set new thresholds (List), or keep them as they are:"
        }
        (false, Language::It) => {
            "Finché non scegli, non ti avvisano. Imposta nuove soglie (Elenco), o lasciali così:"
        }
    }
}

/// `    low 600, high 700 (would be low 85.71, high 100)`
fn line(rule: &HeldRule, language: Language) -> Line {
    let old = words::thresholds(rule.range, language, words::price);
    let new = rule
        .adjusted
        .map(|range| words::thresholds(range, language, words::rounded));
    Line::new().plain("    ").plain(match (new, language) {
        (Some(new), Language::En) => format!("{old} (would be {new})"),
        (Some(new), Language::It) => format!("{old} (diventerebbe {new})"),
        (None, Language::En) => format!("{old} (can't be converted)"),
        (None, Language::It) => format!("{old} (non convertibile)"),
    })
}

fn is_adjustable(restated: &Restated) -> bool {
    restated.rules.iter().any(|rule| rule.adjusted.is_some())
}

pub(super) fn keyboard(restated: &Restated, language: Language) -> Keyboard {
    let restatement = &restated.restatement;
    Keyboard::of_hold(
        &restatement.ticker,
        restatement.restated_at,
        is_adjustable(restated),
        language,
    )
}

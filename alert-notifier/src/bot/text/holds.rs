//! When messages wait: reminders, snooze, quiet hours.

use cqrs::domain::{Language, QuietHours, Rule, Snooze, TimeZone, User};

use super::refusals::rules_count;
use super::rules::until;
use super::{Reader, either};
use crate::text::rich::{Line, Text};

/// After `/set` and `/unset`.
pub(in crate::bot) fn reminders(user: &User, language: Language) -> Text {
    Text::new(language).with(reminders_line(user, language))
}

pub(super) fn reminders_line(user: &User, language: Language) -> Line {
    match (user.reminder_interval, language) {
        (Some(interval), Language::En) => Line::from(format!(
            "While a price stays out of range, I remind you every {interval} (/set, /unset)."
        )),
        (Some(interval), Language::It) => Line::from(format!(
            "Finché un prezzo resta fuori dall'intervallo, te lo ricordo ogni {interval} (/set, /unset)."
        )),
        (None, Language::En) => Line::new()
            .plain("I do not remind you while a price stays out of range (")
            .code("/set 15m")
            .plain(" changes that)."),
        (None, Language::It) => Line::new()
            .plain("Non ti ricordo i prezzi che restano fuori dall'intervallo (")
            .code("/set 15m")
            .plain(" per cambiare)."),
    }
}

/// After `/snooze`.
pub(in crate::bot) fn snoozed(rules: &[Rule], snooze: Snooze, reader: &Reader) -> Text {
    let language = reader.language;
    let until = until(snooze, reader);
    let whom = names(rules, language);
    Text::new(language)
        .with(match language {
            Language::En => format!("🔕 {whom}: no messages {until}."),
            Language::It => format!("🔕 {whom}: nessun messaggio {until}."),
        })
        .with(match (snooze, language) {
            (Snooze::UntilBack, Language::En) => {
                "I still watch, and tell you when it is back. /unsnooze ends it."
            }
            (Snooze::UntilBack, Language::It) => {
                "Continuo a seguire, e ti avviso al rientro. /unsnooze lo termina."
            }
            (Snooze::Until(_), Language::En) => {
                "I still watch, and tell you then what came about. /unsnooze ends it."
            }
            (Snooze::Until(_), Language::It) => {
                "Continuo a seguire, e alla fine ti racconto che cosa è successo. /unsnooze lo termina."
            }
        })
}

/// After `/unsnooze`.
pub(in crate::bot) fn unsnoozed(rules: &[Rule], language: Language) -> Text {
    if rules.is_empty() {
        return Text::new(language).with(either(
            language,
            "Nothing is snoozed.",
            "Nessuna regola è silenziata.",
        ));
    }
    let whom = names(rules, language);
    Text::new(language).with(match language {
        Language::En => format!("🔔 {whom}: messages again."),
        Language::It => format!("🔔 {whom}: di nuovo messaggi."),
    })
}

/// Shown over the chat for a moment.
pub(in crate::bot) fn snooze_notice(rule: &Rule, snooze: Option<Snooze>, reader: &Reader) -> String {
    let ticker = &rule.ticker;
    match (snooze, reader.language) {
        (Some(snooze), Language::En) => format!("🔕 {ticker}: no messages {}", until(snooze, reader)),
        (Some(snooze), Language::It) => format!("🔕 {ticker}: nessun messaggio {}", until(snooze, reader)),
        (None, Language::En) => format!("🔔 {ticker}: messages again"),
        (None, Language::It) => format!("🔔 {ticker}: di nuovo messaggi"),
    }
}

/// The tickers, each once; how many rules, if that is too long to read.
fn names(rules: &[Rule], language: Language) -> String {
    const MOST: usize = 10;
    let mut tickers: Vec<&str> = rules.iter().map(|rule| rule.ticker.as_str()).collect();
    tickers.sort_unstable();
    tickers.dedup();
    if tickers.len() > MOST {
        rules_count(rules.len(), language)
    } else {
        tickers.join(", ")
    }
}

/// After `/quiet`.
pub(in crate::bot) fn quiet(user: &User, reader: &Reader) -> Text {
    let language = reader.language;
    let text = Text::new(language).with(quiet_line(user.quiet_hours, &user.time_zone, language));
    match user.quiet_hours {
        Some(_) => text.with(either(
            language,
            "What happens meanwhile I tell you when they end. /quiet off ends them for good.",
            "Quello che succede intanto te lo racconto alla fine. /quiet off le toglie.",
        )),
        None => text.with(
            Line::new()
                .plain(either(
                    language,
                    "To be left in peace at night: ",
                    "Per stare in pace di notte: ",
                ))
                .code("/quiet 22:00-07:00 Europe/Rome"),
        ),
    }
}

pub(super) fn quiet_line(quiet: Option<QuietHours>, zone: &TimeZone, language: Language) -> String {
    match (quiet, language) {
        (Some(hours), Language::En) => format!("No messages from {}, {zone} time.", span(hours, " to ")),
        (Some(hours), Language::It) => {
            format!("Nessun messaggio dalle {}, ora di {zone}.", span(hours, " alle "))
        }
        (None, Language::En) => format!("No quiet hours are set; times are shown in {zone}."),
        (None, Language::It) => format!("Non ci sono ore di silenzio; gli orari sono di {zone}."),
    }
}

fn span(hours: QuietHours, between: &str) -> String {
    hours.to_string().replacen('-', between, 1)
}

//! The chat's account: linking, settings, leaving.

use cqrs::OpenEpisode;
use cqrs::domain::{Language, Rule, Side, Timestamp, User};

use super::holds::{quiet_line, reminders_line};
use super::rules::summary;
use super::{Reader, either};
use crate::text::rich::{Line, Text};
use crate::text::words;

/// After `/start TOKEN`.
pub(in crate::bot) fn linked(user: &User, rules: usize, language: Language) -> Text {
    Text::new(language)
        .with(either(
            language,
            "Welcome! This chat now gets your alerts.",
            "Ciao! Ora questa chat riceve i tuoi avvisi.",
        ))
        .with(reminders_line(user, language))
        .with(summary(rules, language))
        .with(either(
            language,
            "/help shows what you can write.",
            "/help mostra che cosa puoi scrivere.",
        ))
}

/// After `/start TOKEN` of one account in the chat of another.
pub(in crate::bot) const fn left_another(language: Language) -> &'static str {
    either(
        language,
        "This chat no longer gets the alerts of the account that it was linked to before.",
        "Questa chat non riceve più gli avvisi dell'account a cui era collegata prima.",
    )
}

/// After `/start` in a chat that is linked.
pub(in crate::bot) fn linked_already(rules: usize, language: Language) -> Text {
    Text::new(language)
        .with(either(
            language,
            "This chat is linked to your account.",
            "Questa chat è collegata al tuo account.",
        ))
        .with(summary(rules, language))
        .with(either(
            language,
            "/help shows what you can write.",
            "/help mostra che cosa puoi scrivere.",
        ))
}

/// After `/start TOKEN` with a token that does not work, in a chat that is linked: Telegram shows its start button again
/// and again.
pub(in crate::bot) fn linked_in_spite_of_token(language: Language) -> Text {
    Text::new(language).with(either(
        language,
        "This link does not work any more, but this chat is linked to an account already: all is well.",
        "Questo link non funziona più, ma questa chat è già collegata a un account: tutto a posto.",
    ))
}

/// After `/start` in a chat that took no messages for a while. `open`: the rules that are out of range now.
pub(in crate::bot) fn resumed(missed: u64, open: &[(&OpenEpisode, &Rule)], reader: &Reader) -> Text {
    let language = reader.language;
    let missed = match (missed, language) {
        (0, Language::En) => "You missed no alerts".to_owned(),
        (0, Language::It) => "Non hai perso nessun avviso".to_owned(),
        (_, Language::En) => format!("You missed {}", words::count(missed, "alert", "alerts")),
        (_, Language::It) => format!("Hai perso {}", words::count(missed, "avviso", "avvisi")),
    };
    let hello = either(language, "Welcome back!", "Ciao di nuovo!");
    let text = Text::new(language);
    if open.is_empty() {
        let none = either(
            language,
            "nothing is out of range now",
            "ora nulla è fuori dall'intervallo",
        );
        return text.with(format!("{hello} {missed}; {none}."));
    }
    let still = open.len();
    let text = text.with(match language {
        Language::En => format!("{hello} {missed}; {still} still out of range."),
        Language::It => format!("{hello} {missed}; {still} ancora fuori dall'intervallo."),
    });
    with_open(text, open, reader)
}

/// Below any other answer to `/start`: the rules that are out of range now. Nothing if none is.
pub(in crate::bot) fn open(open: &[(&OpenEpisode, &Rule)], reader: &Reader) -> Text {
    let text = Text::new(reader.language);
    if open.is_empty() {
        return text;
    }
    let heading = either(reader.language, "Out of range now", "Fuori dall'intervallo ora");
    with_open(text.with(format!("{heading}: {}", open.len())), open, reader)
}

fn with_open(mut text: Text, open: &[(&OpenEpisode, &Rule)], reader: &Reader) -> Text {
    let language = reader.language;
    for (episode, rule) in open {
        let (side, threshold) = if episode.side == Side::Below {
            (either(language, "▼ below", "▼ sotto"), rule.range.low())
        } else {
            (either(language, "▲ above", "▲ sopra"), rule.range.high())
        };
        let threshold = threshold
            .map(|price| words::price(price, language))
            .unwrap_or_default();
        let since = reader.since(episode.opened_at);
        text.push(
            Line::new()
                .bold(rule.ticker.as_str())
                .plain(format!(" {side} {threshold} {since}")),
        );
    }
    text
}

/// After `/stop`.
pub(in crate::bot) fn stopped(rules: usize, language: Language) -> Text {
    let stay = match (rules, language) {
        (0, Language::En) => "You have no rules.".to_owned(),
        (0, Language::It) => "Non hai regole.".to_owned(),
        (_, Language::En) => format!("Your rules stay as they are ({rules})."),
        (_, Language::It) => format!("Le tue regole restano come sono ({rules})."),
    };
    Text::new(language)
        .with(either(
            language,
            "This chat gets no more alerts, and is not linked to your account any more.",
            "Questa chat non riceve più avvisi, e non è più collegata al tuo account.",
        ))
        .with(stay)
        .with(either(
            language,
            "To begin again, get a new link: stockalert link",
            "Per ricominciare chiedi un nuovo link: stockalert link",
        ))
}

/// `/settings`
pub(in crate::bot) fn settings(user: &User, rules: usize, most: u32, reader: &Reader) -> Text {
    let language = reader.language;
    Text::new(language)
        .with(Line::new().bold(either(language, "Your settings", "Le tue impostazioni")))
        .with(language_line(user, language))
        .with(reminders_line(user, language))
        .with(format!(
            "{} (/quiet)",
            quiet_line(user.quiet_hours, &user.time_zone, language)
        ))
        .with(match language {
            Language::En => format!("Rules: {rules} of at most {most} (/list)."),
            Language::It => format!("Regole: {rules} di {most} al massimo (/list)."),
        })
}

/// Below any other answer in a chat that took no messages from this time on: it may take them by now, but nothing is sent.
pub(in crate::bot) fn suspended(since: Timestamp, reader: &Reader) -> Text {
    let since = reader.since(since);
    Text::new(reader.language).with(match reader.language {
        Language::En => {
            format!("⚠ Alerts are off: this chat has refused messages {since}. /start turns them on again.")
        }
        Language::It => {
            format!("⚠ Gli avvisi sono spenti: questa chat rifiuta i messaggi {since}. /start li riattiva.")
        }
    })
}

/// After `/lang`.
pub(in crate::bot) fn language(user: &User, language: Language) -> Text {
    Text::new(language).with(language_line(user, language))
}

fn language_line(user: &User, language: Language) -> Line {
    let name = either(language, "English", "italiano");
    let line = Line::new().plain(match (user.chosen_language, language) {
        (Some(_), Language::En) => format!("I write in {name}, as you chose ("),
        (Some(_), Language::It) => format!("Scrivo in {name}, come hai scelto ("),
        (None, Language::En) => format!("I write in {name}, as Telegram is set ("),
        (None, Language::It) => format!("Scrivo in {name}, come è impostato Telegram ("),
    });
    let other = match language {
        Language::En => Language::It,
        Language::It => Language::En,
    };
    let line = line.code(format!("/lang {}", other.code()));
    match user.chosen_language {
        Some(_) => line.plain(", ").code("/lang auto").plain(")."),
        None => line.plain(")."),
    }
}

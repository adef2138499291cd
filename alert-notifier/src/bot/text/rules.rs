//! Rules: new ones, the list, questions about one.

use cqrs::OpenEpisode;
use cqrs::domain::{Language, Price, Quote, Range, Rule, Side, Snooze, Ticker};

use super::on_hold::{self, OnHold};
use super::refusals::{did_you_mean, rules_count};
use super::{Reader, either};
use crate::bot::parse::code_of;
use crate::text::rich::{Line, Text};
use crate::text::words;

/// Characters of a note that a list shows.
const SHORT_NOTE: usize = 80;

/// A rule with what is known of its price.
#[derive(Debug, Clone, Copy)]
pub(in crate::bot) struct Watched<'a> {
    pub(in crate::bot) rule: &'a Rule,
    pub(in crate::bot) latest: Option<&'a Quote>,
    pub(in crate::bot) episode: Option<&'a OpenEpisode>,
    /// Some where the rule is on hold.
    pub(in crate::bot) hold: Option<OnHold>,
}

/// One page of a user's rules.
#[derive(Debug, Clone, Copy)]
pub(in crate::bot) struct ListPage<'a> {
    pub(in crate::bot) rules: &'a [Watched<'a>],
    /// How many come before it.
    pub(in crate::bot) before: usize,
    /// How many there are in all.
    pub(in crate::bot) all: usize,
}

/// `/list`
pub(in crate::bot) fn list(page: &ListPage<'_>, reader: &Reader) -> Text {
    let language = reader.language;
    let text = Text::new(language);
    if page.rules.is_empty() {
        return text.with(
            Line::new()
                .plain(either(
                    language,
                    "You have no rules yet. Make one: ",
                    "Non hai ancora regole. Creane una: ",
                ))
                .code("/watch AAPL 170 200"),
        );
    }
    let heading = either(language, "Your rules", "Le tue regole");
    let heading = if page.rules.len() == page.all {
        heading.to_owned()
    } else {
        let (first, last, all) = (page.before + 1, page.before + page.rules.len(), page.all);
        match language {
            Language::En => format!("{heading}, {first} to {last} of {all}"),
            Language::It => format!("{heading}, da {first} a {last} di {all}"),
        }
    };
    let mut text = text.with(Line::new().bold(heading));
    for (place, watched) in page.rules.iter().enumerate() {
        text.push(headline(page.before + place + 1, watched, reader));
        text.push_more(Line::new().plain("    ").plain(distances(watched, language)));
        if let Some(hold) = watched.hold {
            text.push_more(Line::new().plain("    ").plain(hold.adjusted(language)));
        }
        let note = watched.rule.note.as_str();
        if !note.is_empty() {
            text.push_more(Line::new().plain("    ").italic(shortened(note)));
        }
    }
    if page.rules.iter().any(|watched| watched.hold.is_some()) {
        text.push_more(on_hold::how_to_go_on(language));
    }
    text
}

/// Below a list of one ticker's rules: those that it has no room for.
pub(in crate::bot) fn more(count: usize, language: Language) -> String {
    match language {
        Language::En => format!("… and {count} more: /list shows all your rules."),
        Language::It => format!("… e {count} in più: /list mostra tutte le tue regole."),
    }
}

/// `1. AAPL 187.23 USD, in range`
fn headline(number: usize, watched: &Watched<'_>, reader: &Reader) -> Line {
    let Watched { rule, latest, .. } = watched;
    let price = latest.map_or_else(
        || either(reader.language, "no price yet", "ancora nessun prezzo").to_owned(),
        |quote| words::amount(quote.price, &quote.currency, reader.language),
    );
    Line::new()
        .plain(format!("{number}. "))
        .bold(rule.ticker.as_str())
        .plain(format!(" {price}, {}", state(watched, reader)))
}

/// How a rule is.
fn state(watched: &Watched<'_>, reader: &Reader) -> String {
    let language = reader.language;
    let Watched {
        rule,
        latest,
        episode,
        hold,
    } = watched;
    if rule.expired {
        return either(language, "⌛ expired", "⌛ scaduta").to_owned();
    }
    match (rule.paused, hold) {
        (true, None) => return either(language, "⏸ paused", "⏸ in pausa").to_owned(),
        (false, Some(hold)) => return format!("⏸ {}", hold.name(language)),
        (true, Some(hold)) => {
            return format!(
                "{}, {}",
                either(language, "⏸ paused", "⏸ in pausa"),
                hold.name(language)
            );
        }
        (false, None) => {}
    }
    let mut state = match episode {
        Some(episode) => {
            let side = if episode.side == Side::Below {
                either(language, "▼ below", "▼ sotto")
            } else {
                either(language, "▲ above", "▲ sopra")
            };
            format!("{side} {}", reader.since(episode.opened_at))
        }
        None => match latest.map(|quote| rule.range.side_of(quote.price)) {
            Some(Side::In) => either(language, "in range", "nell'intervallo").to_owned(),
            Some(Side::Above | Side::Below) | None => either(
                language,
                "waiting for the next price",
                "in attesa del prossimo prezzo",
            )
            .to_owned(),
        },
    };
    if let Some(snooze) = rule.snooze.filter(|snooze| snooze.holds(reader.now)) {
        state.push_str(", 🔕 ");
        state.push_str(&until(snooze, reader));
    }
    state
}

/// `until 15:30:00 CET`
pub(super) fn until(snooze: Snooze, reader: &Reader) -> String {
    match (snooze, reader.language) {
        (Snooze::UntilBack, Language::En) => "until it is back in range".to_owned(),
        (Snooze::UntilBack, Language::It) => "fino al rientro".to_owned(),
        (Snooze::Until(end), _) => reader.until(end),
    }
}

/// `low 170 (-9.20%), high 200 (+6.82%)`: how far the price has to go.
pub(super) fn distances(watched: &Watched<'_>, language: Language) -> String {
    // Prices of now are of another size than the thresholds of a rule on hold.
    let latest = watched
        .latest
        .map(|quote| quote.price)
        .filter(|_| watched.hold.is_none());
    let side = |name: &str, threshold: Price| {
        let value = words::price(threshold, language);
        match latest {
            Some(latest) => format!("{name} {value} ({})", words::change(latest, threshold, language)),
            None => format!("{name} {value}"),
        }
    };
    let low = watched
        .rule
        .range
        .low()
        .map(|low| side(either(language, "low", "bassa"), low));
    let high = watched
        .rule
        .range
        .high()
        .map(|high| side(either(language, "high", "alta"), high));
    low.into_iter().chain(high).collect::<Vec<_>>().join(", ")
}

/// `170 to 200`, `170 or less`, `200 or more`: which prices are told.
pub(super) fn thresholds(range: Range, language: Language) -> String {
    let price = |price| words::price(price, language);
    match (range.low(), range.high(), language) {
        (Some(low), Some(high), Language::En) => {
            format!("at or below {}, or at or above {}", price(low), price(high))
        }
        (Some(low), Some(high), Language::It) => {
            format!("a {} o meno, oppure a {} o più", price(low), price(high))
        }
        (Some(low), None, Language::En) => format!("at or below {}", price(low)),
        (Some(low), None, Language::It) => format!("a {} o meno", price(low)),
        (None, Some(high), Language::En) => format!("at or above {}", price(high)),
        (None, Some(high), Language::It) => format!("a {} o più", price(high)),
        // A range has a threshold.
        (None, None, _) => String::new(),
    }
}

fn shortened(note: &str) -> String {
    let mut short: String = note.chars().take(SHORT_NOTE).collect();
    if note.chars().count() > SHORT_NOTE {
        short.push('…');
    }
    short
}

/// `/watch` did what it was asked for. `unknown`: those without a price, each with tickers that are spelled much like it.
pub(in crate::bot) fn watching(
    rules: &[Watched<'_>],
    unknown: &[(Ticker, Vec<Ticker>)],
    reader: &Reader,
) -> Text {
    let language = reader.language;
    let mut text = Text::new(language);
    for watched in rules {
        let rule = watched.rule;
        text.push(
            Line::new()
                .plain(either(language, "I watch ", "Seguo "))
                .bold(rule.ticker.as_str())
                .plain(match language {
                    Language::En => format!(
                        ": you get a message when it is {}.",
                        thresholds(rule.range, language)
                    ),
                    Language::It => format!(": ti scrivo quando è {}.", thresholds(rule.range, language)),
                }),
        );
        if let Some(quote) = watched.latest {
            let price = words::amount(quote.price, &quote.currency, language);
            text.push_more(match language {
                Language::En => format!("    Now {price}; {}", distances(watched, language)),
                Language::It => format!("    Ora {price}; {}", distances(watched, language)),
            });
        }
    }
    for (ticker, similar) in unknown {
        text.push(match language {
            Language::En => format!("No price of {ticker} has come yet: I ask for it from now on."),
            Language::It => format!("Di {ticker} non è ancora arrivato nessun prezzo: da ora lo chiedo."),
        });
        if !similar.is_empty() {
            text.push_more(did_you_mean(similar, language));
        }
    }
    text
}

/// Asks for new thresholds. Ends with the rule's code, which the answer's quotation brings back.
pub(in crate::bot) fn ask_thresholds(watched: &Watched<'_>, language: Language) -> Text {
    let rule = watched.rule;
    let now = watched.latest.map_or_else(String::new, |quote| {
        let price = words::amount(quote.price, &quote.currency, language);
        match language {
            Language::En => format!(" Its price is {price}."),
            Language::It => format!(" Il suo prezzo è {price}."),
        }
    });
    Text::new(language)
        .with(
            Line::new()
                .plain(either(language, "New thresholds for ", "Nuove soglie per "))
                .bold(rule.ticker.as_str())
                .plain(match language {
                    Language::En => format!(
                        "? It tells you when it is {}.{now}",
                        thresholds(rule.range, language)
                    ),
                    Language::It => {
                        format!("? Ti avvisa quando è {}.{now}", thresholds(rule.range, language))
                    }
                }),
        )
        .with(
            Line::new()
                .plain(either(
                    language,
                    "Answer this message: ",
                    "Rispondi a questo messaggio: ",
                ))
                .code(either(language, "170 200.50", "170 200,50"))
                .plain(either(language, ", or ", ", oppure "))
                .code("- 200")
                .plain(either(
                    language,
                    " for one side, or ",
                    " per un lato solo, oppure ",
                ))
                .code("+5% -3%")
                .plain("."),
        )
        .with(code_of(rule.id))
}

/// What the field for an answer shows while it is empty.
pub(in crate::bot) const fn placeholder(language: Language) -> &'static str {
    either(language, "low high", "bassa alta")
}

/// The rule has new thresholds.
pub(in crate::bot) fn changed(watched: &Watched<'_>, language: Language) -> Text {
    let rule = watched.rule;
    let mut text = Text::new(language).with(
        Line::new()
            .plain(either(
                language,
                "Changed: you get a message when ",
                "Fatto: ti scrivo quando ",
            ))
            .bold(rule.ticker.as_str())
            .plain(match language {
                Language::En => format!(" is {}.", thresholds(rule.range, language)),
                Language::It => format!(" è {}.", thresholds(rule.range, language)),
            }),
    );
    if rule.paused {
        text.push(either(
            language,
            "It is still paused: /list",
            "È ancora in pausa: /list",
        ));
    }
    text
}

/// Asks whether it is meant.
pub(in crate::bot) fn ask_delete(rule: &Rule, language: Language) -> Text {
    Text::new(language).with(
        Line::new()
            .plain(either(language, "Delete the rule on ", "Elimino la regola su "))
            .bold(rule.ticker.as_str())
            .plain(match language {
                Language::En => format!(" (told when {})?", thresholds(rule.range, language)),
                Language::It => format!(" (avvisa quando è {})?", thresholds(rule.range, language)),
            }),
    )
}

/// The rule is gone.
pub(in crate::bot) fn deleted(rule: &Rule, language: Language) -> Text {
    Text::new(language).with(match language {
        Language::En => format!(
            "Deleted: the rule on {} ({}).",
            rule.ticker,
            thresholds(rule.range, language)
        ),
        Language::It => format!(
            "Eliminata: la regola su {} ({}).",
            rule.ticker,
            thresholds(rule.range, language)
        ),
    })
}

/// The button that takes the question about deleting back.
pub(in crate::bot) const fn keep_label(language: Language) -> &'static str {
    either(language, "Keep it", "Tienila")
}

/// The question about deleting was taken back.
pub(in crate::bot) fn kept(language: Language) -> Text {
    Text::new(language).with(either(language, "Nothing was changed.", "Non ho cambiato nulla."))
}

/// Short notices, shown over the chat for a moment.
pub(in crate::bot) fn paused(ticker: &Ticker, paused: bool, language: Language) -> String {
    match (paused, language) {
        (true, Language::En) => format!("{ticker} is paused"),
        (true, Language::It) => format!("{ticker} è in pausa"),
        (false, Language::En) => format!("{ticker} is watched again"),
        (false, Language::It) => format!("{ticker} è di nuovo seguito"),
    }
}

/// After `/start`: how many rules there are.
pub(super) fn summary(count: usize, language: Language) -> Line {
    if count == 0 {
        return Line::new()
            .plain(either(
                language,
                "You have no rules yet. Make one: ",
                "Non hai ancora regole. Creane una: ",
            ))
            .code("/watch AAPL 170 200");
    }
    let rules = rules_count(count, language);
    Line::from(match language {
        Language::En => format!("You have {rules}: /list"),
        Language::It => format!("Hai {rules}: /list"),
    })
}

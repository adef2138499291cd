//! Prices and charts.

use std::time::Duration;

use cqrs::domain::{Language, Quote, Ticker};

use super::rules::{Watched, distances};
use super::{Reader, either};
use crate::text::rich::{Line, Text};
use crate::text::words;

/// `/price`: each with the reader's rules on it.
pub(in crate::bot) fn prices(quotes: &[(&Quote, Vec<Watched<'_>>)], reader: &Reader) -> Text {
    let language = reader.language;
    let mut text = Text::new(language);
    for (quote, rules) in quotes {
        text.push(
            Line::new()
                .bold(quote.ticker.as_str())
                .plain(" ")
                .plain(words::amount(quote.price, &quote.currency, language)),
        );
        text.push_more(format!(
            "    {} ({}), {}",
            reader.moment(quote.event_time),
            reader.age(quote.event_time),
            quote.source
        ));
        for watched in rules {
            let hold = watched.hold.map(|hold| format!(" (⏸ {})", hold.name(language)));
            text.push_more(format!(
                "    {}: {}{}",
                either(language, "your rule", "la tua regola"),
                distances(watched, language),
                hold.unwrap_or_default()
            ));
        }
    }
    text
}

/// Under a chart.
pub(in crate::bot) fn caption(quote: &Quote, length: Duration, reader: &Reader) -> Text {
    let language = reader.language;
    let length = words::duration(length, language);
    Text::new(language).with(
        Line::new()
            .bold(quote.ticker.as_str())
            .plain(format!(
                " {}",
                words::amount(quote.price, &quote.currency, language)
            ))
            .plain(format!(" · {length}")),
    )
}

/// There is nothing to draw.
pub(in crate::bot) fn no_prices(ticker: &Ticker, length: Duration, newest: &Quote, reader: &Reader) -> Text {
    let length = words::duration(length, reader.language);
    let newest = reader.moment(newest.event_time);
    Text::new(reader.language).with(match reader.language {
        Language::En => format!("No price of {ticker} came in the last {length}; the newest is of {newest}. Try a longer time."),
        Language::It => format!(
            "Di {ticker} non è arrivato nessun prezzo nell'ultimo periodo ({length}); il più recente: {newest}. Prova un periodo più lungo."
        ),
    })
}

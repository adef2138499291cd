//! What is wrong with a value. English is what the errors say themselves; Italian is here, with a match for each error.

use cqrs::domain::{Language, ParseNoteError, RangeError};

use crate::bot::parse::{PercentFault, SpanFault, TableFault, Wrong};
use crate::text::words;

/// One line.
pub(super) fn wrong(wrong: &Wrong, language: Language) -> String {
    match language {
        Language::En => english(wrong),
        Language::It => italian(wrong),
    }
}

/// An error's text as a sentence of its own.
pub(super) fn sentence(error: &dyn std::fmt::Display) -> String {
    let text = error.to_string();
    let mut characters = text.chars();
    let first = characters.next().map(char::to_uppercase);
    first
        .into_iter()
        .flatten()
        .chain(characters)
        .chain((!text.ends_with('.')).then_some('.'))
        .collect()
}

fn english(wrong: &Wrong) -> String {
    match wrong {
        Wrong::Missing => "Something is missing.".to_owned(),
        Wrong::Shape { entry } => format!("\"{entry}\" is not a ticker with a low and a high threshold."),
        Wrong::Ticker(error) => sentence(error),
        Wrong::Price(error) => sentence(error),
        Wrong::Thousands { value } => match spellings(value) {
            (whole, Some(decimal)) => format!(
                "\"{value}\" is not clear: a point may stand between thousands or before decimals; write {whole} or {decimal}."
            ),
            (whole, None) => format!("\"{value}\" has points between its thousands; write {whole}."),
        },
        Wrong::Range(error) => sentence(error),
        Wrong::Interval(error) => sentence(error),
        Wrong::QuietHours(error) => sentence(error),
        Wrong::TimeZone(error) => sentence(error),
        Wrong::Language(error) => sentence(error),
        Wrong::Note(error) => sentence(error),
        Wrong::Time(error) => sentence(error),
        Wrong::Percent { value, fault } => format!(
            "\"{value}\" is not a distance: {}; give a signed percentage of the latest price, such as +5% or -3%.",
            match fault {
                PercentFault::NotANumber => "it is not a decimal number",
                PercentFault::NoSign => "it has no sign",
                PercentFault::NoPercentSign => "it has a sign but no %",
                PercentFault::Zero => "0% is the latest price itself",
                PercentFault::TooFine => "it has more than 4 decimals",
                PercentFault::WholePrice => "nothing would be left of the price",
                PercentFault::TooLarge => "it is too large",
            }
        ),
        Wrong::SameSide => {
            "Both percentages are on the same side; give one with + and one with -, such as +5% -3%."
                .to_owned()
        }
        Wrong::Span { value, fault } => format!(
            "\"{value}\" is not a length of time that I can use here: {}; give a whole number with a unit, such as 30m, 4h or 2d.",
            match fault {
                SpanFault::NotALength => "it is not a whole number with a unit (m, h, d, w)",
                SpanFault::TooShort => "it is too short",
                SpanFault::TooLong => "it is longer than 30 days",
            }
        ),
        Wrong::TooMany { most } => format!("That is more than I do at once; give at most {most}."),
        Wrong::Line { line, wrong } => format!("Line {line}: {}", english(wrong)),
        Wrong::Table(fault) => match fault {
            TableFault::Unreadable => {
                "This is not a table in CSV; give text in UTF-8 with commas between the values.".to_owned()
            }
            TableFault::NoColumn(column) => format!(
                "The first line does not name the column \"{column}\"; it has to be: ticker,low,high,note,paused,expires_at \
                 (the last three may be left out)."
            ),
            TableFault::NotYesOrNo => "The column \"paused\" takes true or false.".to_owned(),
            TableFault::Empty => {
                "There is no rule in this table; give one a line, below the line of names.".to_owned()
            }
        },
    }
}

fn italian(wrong: &Wrong) -> String {
    match wrong {
        Wrong::Missing => "Manca qualcosa.".to_owned(),
        Wrong::Shape { entry } => format!("«{entry}» non è un titolo con una soglia bassa e una alta."),
        Wrong::Ticker(error) => format!(
            "«{}» non è un titolo: {}; scrivi da 1 a 32 caratteri A-Z e 0-9 come fa Yahoo, per esempio AAPL, BRK-B, EURUSD=X o ^GSPC.",
            error.value,
            reason(error.reason)
        ),
        Wrong::Price(error) => format!(
            "«{}» non è un prezzo: {}; scrivi un numero maggiore di 0 con al massimo 8 decimali, per esempio 200,50.",
            error.value,
            reason(error.reason)
        ),
        Wrong::Thousands { value } => match spellings(value) {
            (whole, Some(decimal)) => format!(
                "«{value}» non è chiaro: il punto può separare le migliaia o i decimali; scrivi {whole} oppure {decimal}."
            ),
            (whole, None) => format!("«{value}» ha dei punti tra le migliaia; scrivi {whole}."),
        },
        Wrong::Range(error) => range(error),
        Wrong::Interval(error) => format!(
            "«{}» non è un intervallo: {}; scrivi da 10s a 7d, per esempio 90s, 5m o 2h (un numero da solo sono secondi).",
            error.value,
            reason(error.reason)
        ),
        Wrong::QuietHours(error) => format!(
            "«{}» non sono ore di silenzio: {}; scrivi due orari, per esempio 22:00-07:00.",
            error.value,
            reason(error.reason)
        ),
        Wrong::TimeZone(error) => format!(
            "«{}» non è un fuso orario; scrivi un nome come Europe/Rome, America/New_York o UTC.",
            error.value
        ),
        Wrong::Language(error) => format!("«{}» non è una lingua che conosco; scrivi en o it.", error.value),
        Wrong::Note(ParseNoteError::TooLong { length }) => {
            format!("Una nota di {length} caratteri è troppo lunga; scrivine al massimo 500.")
        }
        Wrong::Note(ParseNoteError::ControlCharacter) => {
            "Una nota non ha interruzioni di riga né caratteri di controllo; scrivi una sola riga.".to_owned()
        }
        Wrong::Time(error) => format!(
            "«{}» non è un momento; scrivilo secondo RFC 3339 con il fuso, per esempio 2026-01-31T14:30:00Z.",
            error.value
        ),
        Wrong::Percent { value, fault } => format!(
            "«{value}» non è una distanza: {}; scrivi una percentuale con segno dall'ultimo prezzo, per esempio +5% o -3%.",
            match fault {
                PercentFault::NotANumber => "non è un numero decimale",
                PercentFault::NoSign => "non ha segno",
                PercentFault::NoPercentSign => "ha un segno ma non %",
                PercentFault::Zero => "0% è l'ultimo prezzo stesso",
                PercentFault::TooFine => "ha più di 4 decimali",
                PercentFault::WholePrice => "del prezzo non resterebbe nulla",
                PercentFault::TooLarge => "è troppo grande",
            }
        ),
        Wrong::SameSide => {
            "Le due percentuali sono dalla stessa parte; scrivine una con + e una con -, per esempio +5% -3%."
                .to_owned()
        }
        Wrong::Span { value, fault } => format!(
            "«{value}» non è una durata che posso usare qui: {}; scrivi un numero intero con un'unità, per esempio 30m, 4h o 2d.",
            match fault {
                SpanFault::NotALength => "non è un numero intero con un'unità (m, h, d, w)",
                SpanFault::TooShort => "è troppo corta",
                SpanFault::TooLong => "è più lunga di 30 giorni",
            }
        ),
        Wrong::TooMany { most } => format!("È più di quanto faccio in una volta; al massimo {most}."),
        Wrong::Line { line, wrong } => format!("Riga {line}: {}", italian(wrong)),
        Wrong::Table(fault) => match fault {
            TableFault::Unreadable => {
                "Non è una tabella CSV; manda testo in UTF-8 con virgole tra i valori.".to_owned()
            }
            TableFault::NoColumn(column) => format!(
                "La prima riga non ha la colonna «{column}»; deve essere: ticker,low,high,note,paused,expires_at (le ultime tre \
                 possono mancare)."
            ),
            TableFault::NotYesOrNo => "La colonna «paused» vuole true o false.".to_owned(),
            TableFault::Empty => {
                "In questa tabella non c'è nessuna regola; scrivine una per riga, sotto la riga dei nomi."
                    .to_owned()
            }
        },
    }
}

/// What a number with points may mean, as nobody can take it for anything else: `1500`, and `1,500` if it has one point.
fn spellings(value: &str) -> (String, Option<String>) {
    let decimal = (value.matches('.').count() == 1).then(|| value.replace('.', ","));
    (value.replace('.', ""), decimal)
}

pub(super) fn range(error: &RangeError) -> String {
    match error {
        RangeError::NoThreshold => {
            "Una regola vuole una soglia bassa, una alta o tutte e due; scrivine almeno una.".to_owned()
        }
        RangeError::Inverted { low, high } => format!(
            "La soglia bassa {} non è sotto la soglia alta {}; scrivine una bassa che stia sotto quella alta.",
            words::price(*low, Language::It),
            words::price(*high, Language::It)
        ),
    }
}

/// The reasons that values give, which are English.
fn reason(english: &'static str) -> &'static str {
    match english {
        "it is empty" => "è vuoto",
        "it has characters outside ASCII" => "ha caratteri fuori da ASCII",
        "it is longer than 32 characters" => "ha più di 32 caratteri",
        "it has lower-case letters" => "ha lettere minuscole",
        "it does not have the form of one" => "non ne ha la forma",
        "it is not a decimal number" => "non è un numero decimale",
        "it is negative" => "è negativo",
        "it has more than 8 decimals" => "ha più di 8 decimali",
        "it is above 92233720368.54775807" => "supera 92233720368,54775807",
        "it is not above 0" => "non è maggiore di 0",
        "it is not a whole number with a unit" => "non è un numero intero con un'unità",
        "it is shorter than 10 seconds" => "è più corto di 10 secondi",
        "it is longer than 7 days" => "è più lungo di 7 giorni",
        "there is no dash between them" => "non c'è un trattino in mezzo",
        "one of them is no time of day" => "uno dei due non è un orario",
        "they begin when they end" => "iniziano quando finiscono",
        _ => "non va bene",
    }
}

#[cfg(test)]
mod tests {
    use cqrs::domain::{Price, QuietHours, ReminderInterval, Ticker};

    use super::*;

    /// What `reason` says of each value: never its last resort.
    #[test]
    fn every_reason_has_its_italian() {
        let mut reasons = Vec::new();
        for text in ["", "Ä", &"A".repeat(33), "a", "A/B"] {
            reasons.push(text.parse::<Ticker>().unwrap_err().reason);
        }
        for text in ["x", "-1", "0.000000001", "99999999999", "0"] {
            reasons.push(text.parse::<Price>().unwrap_err().reason);
        }
        for text in ["x", "9", "8d"] {
            reasons.push(text.parse::<ReminderInterval>().unwrap_err().reason);
        }
        for text in ["22", "22-25", "22-22"] {
            reasons.push(text.parse::<QuietHours>().unwrap_err().reason);
        }
        for english in reasons {
            assert_ne!(reason(english), "non va bene", "{english}");
        }
    }
}

//! Rules out and in, as tables.

use cqrs::domain::Language;

use super::either;
use super::refusals::rules_count;
use crate::text::rich::{Line, Text};

/// Under the exported table.
pub(in crate::bot) fn exported(count: usize, language: Language) -> Text {
    let rules = rules_count(count, language);
    Text::new(language).with(match language {
        Language::En => format!("{rules}. Send such a file with the caption /import to get them back."),
        Language::It => format!("{rules}. Per riaverle manda un file così con la didascalia /import."),
    })
}

/// Asks for a table.
pub(in crate::bot) fn ask_table(language: Language) -> Text {
    Text::new(language)
        .with(either(
            language,
            "Answer this message with a CSV file, or with its text:",
            "Rispondi a questo messaggio con un file CSV, o con il suo testo:",
        ))
        .with(Line::new().code("ticker,low,high,note"))
        .with(Line::new().code("AAPL,170,200.50,sell half"))
        .with(Line::new().code("^GSPC,,5000,"))
        .with(QUESTION)
}

/// The last word of [`ask_table`], by which its answer is known.
pub(in crate::bot) const QUESTION: &str = "#import";

/// A file came without a word.
pub(in crate::bot) fn bare_file(language: Language) -> Text {
    Text::new(language).with(either(
        language,
        "What shall I do with this file? To import rules from it, send it with the caption /import.",
        "Che cosa faccio con questo file? Per importarne le regole, mandalo con la didascalia /import.",
    ))
}

/// The table is in.
pub(in crate::bot) fn imported(new: usize, known: usize, language: Language) -> Text {
    let mut text = Text::new(language);
    let rules = rules_count(new, language);
    text.push(match (new, language) {
        (0, Language::En) => "No new rules.".to_owned(),
        (0, Language::It) => "Nessuna regola nuova.".to_owned(),
        (_, Language::En) => format!("Imported: {rules}. /list"),
        (1, Language::It) => format!("Importata: {rules}. /list"),
        (_, Language::It) => format!("Importate: {rules}. /list"),
    });
    if known > 0 {
        let rules = rules_count(known, language);
        text.push(match language {
            Language::En => format!("You had {rules} of the table already."),
            Language::It => format!("Della tabella avevi già {rules}."),
        });
    }
    text
}

//! What the bot can do, for its menu and for `/help`.

use cqrs::domain::Language;

use super::either;
use crate::bot::command::Command;
use crate::text::rich::{Line, Text};

/// What a command does, in a few words.
pub(in crate::bot) const fn description(command: Command, language: Language) -> &'static str {
    let (english, italian) = match command {
        Command::Start => (
            "link this chat to your account",
            "collega questa chat al tuo account",
        ),
        Command::Watch => ("watch a price", "segui un prezzo"),
        Command::List => (
            "your rules, with buttons to change them",
            "le tue regole, con pulsanti per cambiarle",
        ),
        Command::Price => ("the latest price", "l'ultimo prezzo"),
        Command::Chart => ("a chart of prices", "un grafico dei prezzi"),
        Command::Set => (
            "how often to remind you while a price is out of range",
            "ogni quanto ricordarti un prezzo fuori intervallo",
        ),
        Command::Unset => ("no reminders", "nessun promemoria"),
        Command::Snooze => (
            "no messages for a time, or until the price is back",
            "niente messaggi per un po', o fino al rientro",
        ),
        Command::Unsnooze => ("messages again", "di nuovo messaggi"),
        Command::Quiet => (
            "hours without messages, and your time zone",
            "ore senza messaggi, e il tuo fuso orario",
        ),
        Command::History => ("your last alerts", "i tuoi ultimi avvisi"),
        Command::Status => (
            "where prices come from, and how old they are",
            "da dove arrivano i prezzi, e quanto sono vecchi",
        ),
        Command::Test => (
            "a test alert, with the time that it takes",
            "un avviso di prova, con il tempo che impiega",
        ),
        Command::Export => ("your rules as a CSV file", "le tue regole in un file CSV"),
        Command::Import => ("rules from a CSV file", "regole da un file CSV"),
        Command::Settings => ("your settings", "le tue impostazioni"),
        Command::Lang => ("the language I write in", "la lingua in cui scrivo"),
        Command::Stop => (
            "no more messages to this chat",
            "niente più messaggi in questa chat",
        ),
        Command::Help => ("this text", "questo testo"),
    };
    either(language, english, italian)
}

/// How a command is written, one line each way. None: it stands alone.
pub(in crate::bot) const fn examples(command: Command, language: Language) -> &'static [&'static str] {
    match (command, language) {
        (Command::Start, Language::En) => &["/start TOKEN"],
        (Command::Start, Language::It) => &["/start CODICE"],
        (Command::Watch, _) => &["/watch AAPL 170 200", "/watch AAPL - 200", "/watch AAPL +5% -3%"],
        (Command::Price, _) => &["/price AAPL"],
        (Command::Chart, _) => &["/chart AAPL 1d"],
        (Command::Set, _) => &["/set 15m"],
        (Command::Snooze, _) => &["/snooze AAPL 1h", "/snooze AAPL until-back"],
        (Command::Unsnooze, _) => &["/unsnooze AAPL"],
        (Command::Quiet, _) => &["/quiet 22:00-07:00 Europe/Rome", "/quiet off"],
        (Command::Lang, _) => &["/lang en", "/lang it", "/lang auto"],
        (
            Command::List
            | Command::Unset
            | Command::History
            | Command::Status
            | Command::Test
            | Command::Export
            | Command::Import
            | Command::Settings
            | Command::Stop
            | Command::Help,
            _,
        ) => &[],
    }
}

/// The line that ends an error: what to write.
pub(super) fn remedy(command: Command, language: Language) -> Line {
    let mut line = Line::new().plain(either(language, "Write ", "Scrivi "));
    let examples = examples(command, language);
    for (place, example) in examples.iter().enumerate() {
        if place > 0 {
            line = line.plain(either(language, " or ", " oppure "));
        }
        line = line.code(*example);
    }
    if examples.is_empty() {
        line = line.code(format!("/{}", command.name()));
    }
    line
}

/// All commands, with examples.
pub(in crate::bot) fn help(language: Language) -> Text {
    let mut text = Text::new(language).with(either(
        language,
        "I write to you when a price leaves the range that you set, and when it is back.",
        "Ti scrivo quando un prezzo esce dall'intervallo che hai scelto, e quando rientra.",
    ));
    text.blank();
    for command in Command::ALL {
        let examples = examples(command, language);
        let first = examples
            .first()
            .map_or_else(|| format!("/{}", command.name()), |first| (*first).to_owned());
        text.push(
            Line::new()
                .plain(first)
                .plain(" – ")
                .plain(description(command, language)),
        );
    }
    text.blank();
    text.push(either(
        language,
        "A dash stands for no threshold: /watch AAPL - 200. Percentages count from the latest price: /watch AAPL +5% -3%. \
         Many rules fit into one message, one a line.",
        "Un trattino vuol dire nessuna soglia: /watch AAPL - 200. Le percentuali partono dall'ultimo prezzo: \
         /watch AAPL +5% -3%. In un messaggio stanno più regole, una per riga.",
    ));
    text
}

//! Why something was not done, and what to do about it.

mod parts;

use cqrs::CommandError;
use cqrs::domain::{Language, Ticker};

use super::{Reader, either, help};
use crate::bot::command::Command;
use crate::bot::parse::Wrong;
use crate::text::rich::{Line, Text};
use crate::text::words;

/// What was written after `command` can't be read.
pub(in crate::bot) fn wrong(command: Command, wrong: &Wrong, language: Language) -> Text {
    let mut text = Text::new(language);
    if *wrong != Wrong::Missing {
        text.push(parts::wrong(wrong, language));
    }
    text.push(match (command, wrong) {
        (Command::Import, _) => Line::from(either(
            language,
            "Nothing was imported. /export gives a table to start from.",
            "Non ho importato nulla. /export dà una tabella da cui partire.",
        )),
        _ => help::remedy(command, language),
    });
    text
}

/// What the answer to a question can't be read as.
pub(in crate::bot) fn wrong_answer(wrong: &Wrong, language: Language) -> Text {
    Text::new(language).with(parts::wrong(wrong, language)).with(
        Line::new()
            .plain(either(
                language,
                "Nothing was changed. Answer the question again with two thresholds, such as ",
                "Non ho cambiato nulla. Rispondi di nuovo alla domanda con due soglie, per esempio ",
            ))
            .code("170 200"),
    )
}

/// Below why one of several rules can't be made.
pub(in crate::bot) const fn none_made(language: Language) -> &'static str {
    either(
        language,
        "Nothing was changed: none of these rules was made.",
        "Non ho cambiato nulla: nessuna di queste regole è stata creata.",
    )
}

/// A command that was refused. None: the store failed, which is nothing to tell.
pub(in crate::bot) fn refused(error: &CommandError, reader: &Reader) -> Option<Text> {
    let language = reader.language;
    let (english, italian) = match error {
        CommandError::Store(_) => return None,
        CommandError::Range(error) => (parts::sentence(error), parts::range(error)),
        CommandError::RuleNotFound(_) => (RULE_GONE_EN.to_owned(), RULE_GONE_IT.to_owned()),
        CommandError::UserNotFound => (
            "Your account is not there any more.".to_owned(),
            "Il tuo account non c'è più.".to_owned(),
        ),
        CommandError::ExpiryInPast { expires_at } => {
            let at = reader.moment(*expires_at);
            (
                format!("The expiry time {at} has passed. Give one in the future, or none."),
                format!("La scadenza {at} è passata. Indicane una futura, o nessuna."),
            )
        }
        CommandError::TooManyRules { limit } => (
            format!("You can have {limit} rules, and this would be more. Delete some first: /list"),
            format!("Puoi avere {limit} regole, e così sarebbero di più. Prima eliminane qualcuna: /list"),
        ),
        CommandError::EmbeddedLogFull { limit } => (
            format!("This installation holds at most {limit} rules of all its users. Delete some first: /list"),
            format!("Questa installazione tiene al massimo {limit} regole di tutti gli utenti. Prima eliminane qualcuna: /list"),
        ),
        CommandError::LinkInvalid => (
            "This link was used before, has expired (after 15 minutes) or never existed. Get a new one: stockalert link"
                .to_owned(),
            "Questo link è già stato usato, è scaduto (dopo 15 minuti) o non è mai esistito. Chiedine uno nuovo: stockalert link"
                .to_owned(),
        ),
        CommandError::PrivateChatsOnly => (PRIVATE_EN.to_owned(), PRIVATE_IT.to_owned()),
        CommandError::RuleInRange { ticker } => (
            format!("{ticker} is in its range now, so there is no return to wait for. Snooze it for a time: /snooze {ticker} 1h"),
            format!("{ticker} è nel suo intervallo, quindi non c'è un rientro da aspettare. Silenzialo per un po': /snooze {ticker} 1h"),
        ),
        CommandError::RestatedAgain { ticker } => (
            format!("The prices of {ticker} were counted anew once more. What is on hold now: /list {ticker}"),
            format!("I prezzi di {ticker} sono cambiati di nuovo. Le regole sospese ora: /list {ticker}"),
        ),
        CommandError::SnoozeInPast { .. } => (
            "The end of this snooze has passed. Choose a longer one.".to_owned(),
            "La fine di questo silenzio è passata. Scegline uno più lungo.".to_owned(),
        ),
        CommandError::UnknownTicker(ticker) => return Some(unknown_ticker(ticker, &[], Command::Price, language)),
        // What chats have no way to cause.
        CommandError::Changed { .. } => (
            "It was changed meanwhile. Please look at it again.".to_owned(),
            "È cambiato nel frattempo. Guardalo di nuovo, per favore.".to_owned(),
        ),
        CommandError::TokenInvalid => (
            "This token is not valid any more.".to_owned(),
            "Questo token non è più valido.".to_owned(),
        ),
        CommandError::RequestIdReused => (
            "This message was taken for a repetition of another one. Please send it again.".to_owned(),
            "Questo messaggio è stato preso per la ripetizione di un altro. Invialo di nuovo, per favore.".to_owned(),
        ),
    };
    Some(Text::new(language).with(either(language, &english, &italian)))
}

const PRIVATE_EN: &str = "Alerts are for one person. Please write to me in a private chat.";
const PRIVATE_IT: &str = "Gli avvisi sono per una sola persona. Scrivimi in una chat privata, per favore.";

/// In groups.
pub(in crate::bot) fn private_only(language: Language) -> Text {
    Text::new(language).with(either(language, PRIVATE_EN, PRIVATE_IT))
}

/// No price of this ticker is known.
pub(in crate::bot) fn unknown_ticker(
    ticker: &Ticker,
    similar: &[Ticker],
    command: Command,
    language: Language,
) -> Text {
    let first = match language {
        Language::En => format!("I have no price of {ticker}."),
        Language::It => format!("Non ho nessun prezzo di {ticker}."),
    };
    let text = Text::new(language).with(first);
    if similar.is_empty() {
        let next = match (command, language) {
            (Command::Watch, Language::En) => {
                "Percentages need one. Prices come once somebody watches the ticker: give numbers instead, such as "
            }
            (Command::Watch, Language::It) => {
                "Le percentuali ne hanno bisogno. I prezzi arrivano quando qualcuno segue il titolo: scrivi dei numeri, per esempio "
            }
            (_, Language::En) => "Prices come once somebody watches the ticker: ",
            (_, Language::It) => "I prezzi arrivano quando qualcuno segue il titolo: ",
        };
        return text.with(Line::new().plain(next).code(format!("/watch {ticker} 170 200")));
    }
    text.with(did_you_mean(similar, language))
}

/// `Did you mean AAPL or APLE?`
pub(super) fn did_you_mean(similar: &[Ticker], language: Language) -> Line {
    let mut line = Line::new().plain(either(language, "Did you mean ", "Volevi dire "));
    for (place, ticker) in similar.iter().enumerate() {
        if place > 0 {
            line = line.plain(either(language, " or ", " o "));
        }
        line = line.bold(ticker.as_str());
    }
    line.plain("?")
}

/// The chat belongs to nobody.
pub(in crate::bot) fn not_linked(language: Language) -> Text {
    Text::new(language)
        .with(either(
            language,
            "This chat is not linked to an account yet.",
            "Questa chat non è ancora collegata a un account.",
        ))
        .with(
            Line::new()
                .plain(either(
                    language,
                    "Register (stockalert register, or RegisterUser over gRPC) and open the link that you get, or write ",
                    "Registrati (stockalert register, o RegisterUser via gRPC) e apri il link che ricevi, oppure scrivi ",
                ))
                .code(either(language, "/start TOKEN", "/start CODICE"))
                .plain(either(
                    language,
                    " with the token that you got. Links work once, for 15 minutes: stockalert link makes a new one.",
                    " con il codice ricevuto. I link valgono una volta, per 15 minuti: stockalert link ne crea uno nuovo.",
                )),
        )
}

/// No command, or none that is known.
pub(in crate::bot) fn not_understood(said: &str, language: Language) -> Text {
    const SHOWN: usize = 32;
    let word = said.split_whitespace().next().unwrap_or_default();
    let mut first: String = word.chars().take(SHOWN).collect();
    if word.chars().count() > SHOWN {
        first.push('…');
    }
    Text::new(language).with(match language {
        Language::En => format!("I do not understand \"{first}\". /help shows what you can write."),
        Language::It => format!("Non capisco «{first}». /help mostra che cosa puoi scrivere."),
    })
}

/// A message changed after it was sent.
pub(in crate::bot) fn edited(language: Language) -> Text {
    Text::new(language).with(either(
        language,
        "I do not read changes to messages. Please send it as a new one.",
        "Non leggo le modifiche ai messaggi. Invialo come nuovo, per favore.",
    ))
}

/// More text than Telegram's own clients send.
pub(in crate::bot) fn too_long(characters: usize, most: usize, language: Language) -> Text {
    Text::new(language).with(match language {
        Language::En => format!(
            "{characters} characters are too many for one message; send at most {most}. For many rules there is /import."
        ),
        Language::It => format!(
            "{characters} caratteri sono troppi per un messaggio; inviane al massimo {most}. Per molte regole c'è /import."
        ),
    })
}

/// The user can't do anything about it.
pub(in crate::bot) fn broken(language: Language) -> Text {
    Text::new(language).with(either(
        language,
        "Something went wrong here. Please try again in a minute.",
        "Qualcosa è andato storto. Riprova tra un minuto, per favore.",
    ))
}

/// Nobody knows how far it got.
pub(in crate::bot) fn too_slow(language: Language) -> Text {
    Text::new(language).with(either(
        language,
        "That took too long and may not have been done: look with /list",
        "Ci è voluto troppo tempo e forse non è stato fatto: controlla con /list",
    ))
}

/// The chat's last messages were dropped.
pub(in crate::bot) fn too_many(language: Language) -> Text {
    Text::new(language).with(either(
        language,
        "Too many messages at once: I could not keep up and did not do the last ones. Please send again, one by one, what got no answer.",
        "Troppi messaggi insieme: non sono riuscito a seguirti e gli ultimi non li ho eseguiti. Invia di nuovo, uno alla volta, quelli rimasti senza risposta.",
    ))
}

/// There is no rule of this ticker.
pub(in crate::bot) fn no_rule_of(ticker: &Ticker, own: &[Ticker], language: Language) -> Text {
    let text = Text::new(language).with(match language {
        Language::En => format!("You have no rule on {ticker}."),
        Language::It => format!("Non hai regole su {ticker}."),
    });
    if own.is_empty() {
        text.with(either(
            language,
            "/list shows your rules.",
            "/list mostra le tue regole.",
        ))
    } else {
        text.with(did_you_mean(own, language))
    }
}

/// The rule that a question was about.
pub(in crate::bot) fn rule_gone(language: Language) -> Text {
    Text::new(language).with(either(language, RULE_GONE_EN, RULE_GONE_IT))
}

const RULE_GONE_EN: &str = "This rule is not there any more. /list shows those that are.";
const RULE_GONE_IT: &str = "Questa regola non c'è più. /list mostra quelle che ci sono.";

/// There are no rules, or none of those is out of range.
pub(in crate::bot) fn nothing_to_snooze(until_back: bool, language: Language) -> Text {
    let (english, italian) = if until_back {
        (
            "Nothing is out of range now, so there is no return to wait for. Snooze for a time: /snooze all 1h",
            "Nulla è fuori intervallo, quindi non c'è un rientro da aspettare. Silenzia per un po': /snooze all 1h",
        )
    } else {
        ("You have no rules to snooze.", "Non hai regole da silenziare.")
    };
    Text::new(language).with(either(language, english, italian))
}

/// A button of a message that is older than the rule's end, or older than this program.
pub(in crate::bot) fn old_button(language: Language) -> &'static str {
    either(
        language,
        "This button is too old. /help shows what you can write.",
        "Questo pulsante è troppo vecchio. /help mostra che cosa puoi scrivere.",
    )
}

/// A document that is too large to be read.
pub(in crate::bot) fn too_large(bytes: u64, most: u64, language: Language) -> Text {
    let (bytes, most) = (bytes.div_ceil(1024), most / 1024);
    Text::new(language).with(match language {
        Language::En => format!("A file of {bytes} KiB is too large; send at most {most} KiB."),
        Language::It => {
            format!("Un file di {bytes} KiB è troppo grande; inviane uno di {most} KiB al massimo.")
        }
    })
}

/// A note that has room for a count.
pub(super) fn rules_count(count: usize, language: Language) -> String {
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    match language {
        Language::En => words::count(count, "rule", "rules"),
        Language::It => words::count(count, "regola", "regole"),
    }
}

//! Why a message was not sent, for people: the ledger has it in English.

use cqrs::domain::Language;
use cqrs::reasons::{
    CAME_AGAIN, HELD_REMINDER, LOOKED_AT, NOT_NOTICED, NOT_TOLD, REPEATED, RESTATED_AGAIN, RULE_CHANGED,
    RULE_DELETED, SUSPENDED, WENT_ON,
};

/// The messenger names another chat each time.
pub const MOVES_ON: &str = "the chat moves again and again";
/// The messenger names a chat that another user has linked.
pub const MOVED_TO_ANOTHERS: &str = "the chat moved to one that belongs to another account";

/// The ledger's reason in the reader's language. What the messenger said stays as it is.
#[must_use]
pub fn reason(english: &str, language: Language) -> String {
    match language {
        Language::En => english.to_owned(),
        Language::It => italian(english),
    }
}

fn italian(english: &str) -> String {
    let parts = |start, middle| english.strip_prefix(start)?.split_once(middle);
    if let Some((time, error)) = parts("missed: it could not be sent for ", "; at last: ") {
        let (time, error) = (time.replace(" d", " g"), italian(error));
        return format!("perso: non è stato possibile inviarlo per {time}; alla fine: {error}");
    }
    if let Some((seconds, "")) = parts("the messenger asks to wait ", " s") {
        return format!("il servizio di messaggi chiede di aspettare {seconds} s");
    }
    if let Some((seconds, "")) = parts("none within ", " s") {
        return format!("nessuna entro {seconds} s");
    }
    match english.split_once(": ") {
        Some((own, said)) if words(own).is_some() => format!("{}: {}", italian(own), italian(said)),
        _ => words(english).unwrap_or(english).to_owned(),
    }
}

/// Those without anything variable.
fn words(english: &str) -> Option<&'static str> {
    Some(match english {
        SUSPENDED => "la chat non accetta messaggi",
        RULE_DELETED => "la regola è stata eliminata",
        RULE_CHANGED => "la regola è cambiata",
        NOT_TOLD => "l'uscita dall'intervallo non era stata consegnata",
        WENT_ON => "nel frattempo il prezzo è cambiato",
        REPEATED => "un promemoria più recente dice lo stesso",
        CAME_AGAIN => "i prezzi sono tornati",
        NOT_NOTICED => "l'avviso che i prezzi mancavano non era stato consegnato",
        LOOKED_AT => "nel frattempo le regole sono state riviste",
        RESTATED_AGAIN => "un avviso più recente nomina le regole",
        HELD_REMINDER => "i promemoria aspettano; il prossimo dirà di più",
        MOVES_ON => "la chat continua a spostarsi",
        MOVED_TO_ANOTHERS => "la chat è diventata una che appartiene a un altro account",
        "no chat linked" => "nessuna chat collegata",
        "the messenger refuses the message" => "il servizio di messaggi rifiuta il messaggio",
        "the messenger can't be reached" => "il servizio di messaggi non è raggiungibile",
        "the messenger gave no clear answer" => "il servizio di messaggi non ha dato una risposta chiara",
        "an answer that is not the Bot API's" => "una risposta che non è della Bot API",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sender::SendError;

    #[test]
    fn every_reason_of_our_own_has_its_italian() {
        for english in cqrs::reasons::ALL.iter().chain(&[MOVES_ON, MOVED_TO_ANOTHERS]) {
            assert!(words(english).is_some(), "{english}");
            assert_eq!(reason(english, Language::En), *english);
        }
    }

    #[test]
    fn what_the_messenger_said_is_left_as_it_is() {
        let said = || "Bad Request: chat not found".to_owned();
        let retry_after = Duration::from_secs(17);
        for (error, italian) in [
            (SendError::NoChat, "nessuna chat collegata"),
            (
                SendError::TooManyRequests { retry_after },
                "il servizio di messaggi chiede di aspettare 17 s",
            ),
            (
                SendError::Blocked(said()),
                "la chat non accetta messaggi: Bad Request: chat not found",
            ),
            (
                SendError::Refused(said()),
                "il servizio di messaggi rifiuta il messaggio: Bad Request: chat not found",
            ),
            (
                SendError::NotConnected("Connection refused (os error 111)".to_owned()),
                "il servizio di messaggi non è raggiungibile: Connection refused (os error 111)",
            ),
            (
                SendError::Unclear("none within 10 s".to_owned()),
                "il servizio di messaggi non ha dato una risposta chiara: nessuna entro 10 s",
            ),
        ] {
            assert_eq!(reason(&error.to_string(), Language::It), italian);
        }
        assert_eq!(reason(&said(), Language::It), said());
    }
}

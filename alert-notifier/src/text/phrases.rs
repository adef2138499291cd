//! The sentences of alerts, in each language.

use std::time::Duration;

use cqrs::domain::{Language, Side, TimeZone, Timestamp};
use cqrs::{DeliveryKind, Heading, MessageFacts};

use super::rich::Line;
use super::words;

/// Characters of a note that a digest shows.
const SHORT_NOTE: usize = 60;

/// Says what is the matter with one rule, to one reader.
#[derive(Debug, Clone, Copy)]
pub(super) struct Phrases<'a> {
    pub(super) facts: &'a MessageFacts,
    pub(super) zone: &'a TimeZone,
    pub(super) language: Language,
}

impl Phrases<'_> {
    pub(super) const fn pick(self, english: &'static str, italian: &'static str) -> &'static str {
        match self.language {
            Language::En => english,
            Language::It => italian,
        }
    }

    fn threshold(self) -> String {
        words::price(self.facts.threshold, self.language)
    }

    /// `▲ AAPL is above 200.50`
    pub(super) fn headline(self) -> Line {
        let reminder = self.pick("Reminder: ", "Promemoria: ");
        self.headline_with(reminder)
    }

    /// As the headline, but under a title that says what a reminder is.
    pub(super) fn titled_headline(self) -> Line {
        self.headline_with("")
    }

    fn headline_with(self, reminder: &str) -> Line {
        let facts = self.facts;
        let pick = |english, italian| self.pick(english, italian);
        let ticker = facts.ticker.as_str();
        let line = Line::new().plain(format!("{} ", mark(facts)));
        match facts.kind {
            DeliveryKind::BackInRange => line
                .bold(ticker)
                .plain(pick(" is back in range", " è rientrato nell'intervallo")),
            DeliveryKind::CameAndWent => line.bold(ticker).plain(pick(
                " left its range and is back",
                " è uscito dall'intervallo ed è rientrato",
            )),
            DeliveryKind::FeedStale => line
                .plain(pick("No prices of ", "Non arrivano prezzi di "))
                .bold(ticker)
                .plain(pick(" are coming", "")),
            DeliveryKind::FeedBack => line
                .plain(pick("Prices of ", "I prezzi di "))
                .bold(ticker)
                .plain(pick(" are coming again", " arrivano di nuovo")),
            DeliveryKind::Restated => line.bold(ticker).plain(self.restated()),
            DeliveryKind::Jump => line
                .bold(ticker)
                .plain(match facts.side {
                    Side::Above => pick(
                        " jumped from below your range to above ",
                        " è saltato da sotto il tuo intervallo a sopra ",
                    ),
                    Side::Below | Side::In => pick(
                        " jumped from above your range to below ",
                        " è saltato da sopra il tuo intervallo a sotto ",
                    ),
                })
                .plain(self.threshold()),
            DeliveryKind::Reminder => line
                .plain(reminder)
                .bold(ticker)
                .plain(pick(" is still ", " è ancora "))
                .plain(self.place()),
            DeliveryKind::Test => line
                .plain(pick("Test: ", "Prova: "))
                .bold(ticker)
                .plain(pick(" is ", " è "))
                .plain(self.place()),
            DeliveryKind::Breach => {
                let again = facts.told_side == facts.side;
                let verb = if facts.already_outside && !again {
                    pick(" is already ", " è già ")
                } else {
                    pick(" is ", " è ")
                };
                line.bold(ticker).plain(verb).plain(self.place()).plain(if again {
                    pick(" again", " di nuovo")
                } else {
                    ""
                })
            }
        }
    }

    /// ` looks like a 7:1 split`
    fn restated(self) -> String {
        let restated = self.facts.restated.as_ref();
        match (
            restated.and_then(|restated| restated.restatement.split),
            self.language,
        ) {
            (Some(split), Language::En) => format!(" looks like a {split} split"),
            (Some(split), Language::It) => format!(": sembra un frazionamento {split}"),
            (None, Language::En) => " has prices of another size".to_owned(),
            (None, Language::It) => " ha prezzi di un altro ordine di grandezza".to_owned(),
        }
    }

    /// `above 200.50`. The boundary counts as out.
    fn place(self) -> String {
        let word = match self.facts.side {
            _ if self.facts.price == self.facts.threshold => self.pick("at", "a"),
            Side::Above => self.pick("above", "sopra"),
            Side::Below => self.pick("below", "sotto"),
            Side::In => self.pick("inside of", "entro"),
        };
        format!("{word} {}", self.threshold())
    }

    pub(super) fn amount(self) -> String {
        words::amount(self.facts.price, &self.facts.currency, self.language)
    }

    fn distance(self) -> String {
        words::distance(self.facts.price, self.facts.threshold, self.language)
    }

    /// `Price 201.30 USD, 0.40% above your high threshold`
    pub(super) fn price(self) -> String {
        let facts = self.facts;
        let place = match facts.side {
            Side::Above | Side::Below if facts.price == facts.threshold => self
                .pick("exactly at your threshold", "esattamente sulla tua soglia")
                .to_owned(),
            Side::Above => {
                let above = self.pick("above your high threshold", "sopra la tua soglia superiore");
                format!("{} {above}", self.distance())
            }
            Side::Below => {
                let below = self.pick("below your low threshold", "sotto la tua soglia inferiore");
                format!("{} {below}", self.distance())
            }
            Side::In => {
                // Inside again: the threshold that was crossed lies on the side the price came from.
                let side = if facts.price < facts.threshold {
                    self.pick("below", "sotto")
                } else {
                    self.pick("above", "sopra")
                };
                let (distance, threshold) = (self.distance(), self.threshold());
                match self.language {
                    Language::En => {
                        format!("{distance} {side} the threshold {threshold} that it had crossed")
                    }
                    Language::It => format!("{distance} {side} la soglia {threshold} che aveva superato"),
                }
            }
        };
        format!("{} {}, {place}", self.pick("Price", "Prezzo"), self.amount())
    }

    /// `201.30 USD, 0.40% above`: for a line that says the threshold already.
    pub(super) fn short_price(self) -> String {
        let (amount, distance) = (self.amount(), self.distance());
        match self.facts.side {
            Side::Above | Side::Below if self.facts.price == self.facts.threshold => amount,
            Side::Above => format!("{amount}, {distance} {}", self.pick("above", "sopra")),
            Side::Below => format!("{amount}, {distance} {}", self.pick("below", "sotto")),
            Side::In => amount,
        }
    }

    /// How long the price was outside, and how far. None: that is not known.
    pub(super) fn stay(self) -> Option<String> {
        let outside = self.facts.quote_time.since(self.facts.opened_at);
        let mut parts = Vec::new();
        if outside >= Duration::from_secs(1) {
            let time = words::duration(outside, self.language);
            let was = match (self.facts.kind, self.language) {
                (DeliveryKind::BackInRange | DeliveryKind::CameAndWent, Language::En) => {
                    "It was out of range for"
                }
                (DeliveryKind::BackInRange | DeliveryKind::CameAndWent, Language::It) => {
                    "È stato fuori intervallo per"
                }
                (_, Language::En) => "Out of range for",
                (_, Language::It) => "Fuori intervallo da",
            };
            parts.push(format!("{was} {time}"));
        }
        parts.extend(self.peak());
        (!parts.is_empty()).then(|| capitalized(&parts.join(", ")))
    }

    /// `highest 204.10`
    fn peak(self) -> Option<String> {
        let peak = self.facts.peak?;
        let word = if peak >= self.facts.threshold {
            self.pick("highest", "massimo")
        } else {
            self.pick("lowest", "minimo")
        };
        Some(format!("{word} {}", words::price(peak, self.language)))
    }

    /// That a rule flaps. None: it does not.
    pub(super) fn crossings(self) -> Option<String> {
        let crossings = self.facts.crossings;
        // To come and to go is to cross twice.
        let plain = if self.facts.kind == DeliveryKind::CameAndWent {
            2
        } else {
            1
        };
        (crossings > plain).then(|| match self.language {
            Language::En => format!("It went back and forth: {crossings} crossings since my last message"),
            Language::It => {
                format!("È andato avanti e indietro: {crossings} passaggi dal mio ultimo messaggio")
            }
        })
    }

    /// `Quote of 15:30:00 CET, delivered in 1.2 s`
    pub(super) fn quote(self, now: Timestamp, delivered: bool) -> String {
        let moment = words::moment(self.facts.quote_time, now, self.zone, self.language);
        let quote = self.pick("Quote of", "Quotazione:");
        if !delivered {
            return format!("{quote} {moment}");
        }
        let latency = words::latency(now.since(self.facts.quote_ingest_time), self.language);
        let verb = self.pick("delivered in", "consegnata in");
        format!("{quote} {moment}, {verb} {latency}")
    }

    /// `since 23:10:00 CET`
    pub(super) fn since(self, now: Timestamp) -> String {
        let moment = words::moment(self.facts.opened_at, now, self.zone, self.language);
        format!("{} {moment}", self.pick("since", "inizio"))
    }

    pub(super) fn note(self) -> Option<Line> {
        let note = self.facts.note.as_str();
        (!note.is_empty()).then(|| Line::new().plain(self.pick("Note: ", "Nota: ")).italic(note))
    }

    pub(super) fn short_note(self) -> Option<Line> {
        let note = self.facts.note.as_str();
        let mut short: String = note.chars().take(SHORT_NOTE).collect();
        if short.len() < note.len() {
            short.push('…');
        }
        (!note.is_empty()).then(|| Line::new().plain("    ").italic(short))
    }

    /// What it means that no prices come.
    pub(super) fn stale(self, now: Timestamp) -> [String; 2] {
        let since = words::moment(self.facts.opened_at, now, self.zone, self.language);
        let place = self.place();
        match self.language {
            Language::En => [
                format!("The last one is of {since}, although the market is open."),
                format!("Until then it was {place}. I tell you when prices are back."),
            ],
            Language::It => [
                format!("L'ultimo: {since}, anche se il mercato è aperto."),
                format!("Fino ad allora era {place}. Ti avviso quando i prezzi tornano."),
            ],
        }
    }

    /// How long they were missing. None: that is not known.
    pub(super) fn missing(self) -> Option<String> {
        let missing = self.facts.quote_time.since(self.facts.opened_at);
        let time = words::duration(missing, self.language);
        (missing >= Duration::from_secs(1)).then(|| match self.language {
            Language::En => format!("They were missing for {time}."),
            Language::It => format!("Sono mancati per {time}."),
        })
    }

    /// What a test shows.
    pub(super) fn test(self, now: Timestamp) -> [String; 2] {
        let latency = words::latency(now.since(self.facts.quote_ingest_time), self.language);
        match self.language {
            Language::En => [
                "You asked for this with /test: the price is made up.".to_owned(),
                format!("It took the way of every alert, through Kafka to this chat, in {latency}."),
            ],
            Language::It => [
                "L'hai chiesto tu con /test: il prezzo è inventato.".to_owned(),
                format!("Ha fatto la strada di ogni avviso, da Kafka a questa chat, in {latency}."),
            ],
        }
    }
}

const fn mark(facts: &MessageFacts) -> &'static str {
    match (facts.kind, facts.side) {
        (DeliveryKind::FeedStale, _) => "○",
        (DeliveryKind::Restated, _) => "⏸",
        (DeliveryKind::BackInRange | DeliveryKind::CameAndWent | DeliveryKind::FeedBack, _)
        | (_, Side::In) => "●",
        (_, Side::Above) => "▲",
        (_, Side::Below) => "▼",
    }
}

fn capitalized(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(char::to_uppercase);
    first.into_iter().flatten().chain(characters).collect()
}

/// Why a message tells of the past. None: it does not.
pub(super) const fn heading(heading: Heading, language: Language) -> Option<&'static str> {
    Some(match (heading, language) {
        (Heading::Plain | Heading::AfterFlapping, _) => return None,
        (Heading::AfterQuietHours, Language::En) => "Your quiet hours are over. Meanwhile:",
        (Heading::AfterQuietHours, Language::It) => "Le tue ore di silenzio sono finite. Nel frattempo:",
        (Heading::AfterSnooze, Language::En) => "The snooze is over. Meanwhile:",
        (Heading::AfterSnooze, Language::It) => "La pausa degli avvisi è finita. Nel frattempo:",
        (Heading::AfterOutage, Language::En) => "I could not deliver this before:",
        (Heading::AfterOutage, Language::It) => "Non ho potuto consegnarlo prima:",
    })
}

/// What a digest begins with.
pub(super) fn several(items: usize, language: Language) -> String {
    match language {
        Language::En => format!("{items} alerts"),
        Language::It => format!("{items} avvisi"),
    }
}

/// That nobody knows whether the message came before.
pub(super) const fn repeat(language: Language) -> &'static str {
    match language {
        Language::En => "(may be a repeat: I could not learn whether it reached you)",
        Language::It => "(potrebbe essere una ripetizione: non ho saputo se ti è arrivato)",
    }
}

/// The part of a digest that something belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Out,
    Back,
    Other,
}

impl Section {
    pub(super) const ALL: [Self; 3] = [Self::Out, Self::Back, Self::Other];

    pub(super) const fn of(kind: DeliveryKind) -> Self {
        match kind {
            DeliveryKind::Breach | DeliveryKind::Jump | DeliveryKind::Reminder => Self::Out,
            DeliveryKind::BackInRange | DeliveryKind::CameAndWent => Self::Back,
            DeliveryKind::Test
            | DeliveryKind::FeedStale
            | DeliveryKind::FeedBack
            | DeliveryKind::Restated => Self::Other,
        }
    }

    pub(super) const fn title(self, language: Language) -> &'static str {
        match (self, language) {
            (Self::Out, Language::En) => "Out of range",
            (Self::Out, Language::It) => "Fuori intervallo",
            (Self::Back, Language::En) => "Back in range",
            (Self::Back, Language::It) => "Rientrati",
            (Self::Other, Language::En) => "Also",
            (Self::Other, Language::It) => "Inoltre",
        }
    }
}

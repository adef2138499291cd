//! How things are: feeds, the last alerts, a test.

use cqrs::domain::{BreakerState, FeedState, Language, Quote, Ticker, TickerFeed, Timestamp};
use cqrs::{Backlog, DeliveryKind, DeliveryStatus, DeliveryView};

use super::{Reader, either};
use crate::text::rich::{Line, Text};
use crate::text::{reasons, words};

/// A collector that said nothing for so long is shown as silent: it says something every 15 s.
const SILENT: std::time::Duration = std::time::Duration::from_secs(60);

/// All that `/status` shows.
#[derive(Debug, Clone)]
pub(in crate::bot) struct Status {
    pub(in crate::bot) feeds: Vec<FeedState>,
    /// Of the reader's tickers.
    pub(in crate::bot) stale: Vec<TickerFeed>,
    /// Tickers with rules of the reader that are on hold, and how many.
    pub(in crate::bot) on_hold: Vec<(Ticker, u64)>,
    /// Of the reader's tickers.
    pub(in crate::bot) newest: Option<Quote>,
    pub(in crate::bot) oldest: Option<Quote>,
    pub(in crate::bot) backlog: Backlog,
}

/// `/status`
pub(in crate::bot) fn status(status: &Status, reader: &Reader) -> Text {
    let language = reader.language;
    let mut text = Text::new(language).with(Line::new().bold(either(
        language,
        "Where prices come from",
        "Da dove arrivano i prezzi",
    )));
    if status.feeds.is_empty() {
        text.push(either(
            language,
            "No data collector has reported yet.",
            "Nessun raccoglitore di dati si è ancora fatto vivo.",
        ));
    }
    for feed in &status.feeds {
        text.push(feed_line(feed, reader));
        if let Some(reason) = feed
            .reason
            .as_ref()
            .filter(|_| feed.breaker != BreakerState::Closed)
        {
            text.push_more(Line::new().plain("    ").code(reason.as_str()));
        }
    }
    text.blank();
    text.push(Line::new().bold(either(language, "Your tickers", "I tuoi titoli")));
    match (&status.newest, &status.oldest) {
        (Some(newest), Some(oldest)) => {
            text.push(quote_line(
                either(language, "Newest price", "Prezzo più recente"),
                newest,
                reader,
            ));
            if oldest.ticker != newest.ticker {
                text.push(quote_line(
                    either(language, "Oldest price", "Prezzo più vecchio"),
                    oldest,
                    reader,
                ));
            }
        }
        _ => text.push(either(language, "No prices yet.", "Ancora nessun prezzo.")),
    }
    for stale in &status.stale {
        let since = stale
            .stale_since
            .map(|since| reader.since(since))
            .unwrap_or_default();
        text.push(match language {
            Language::En => format!("⚠ {}: no fresh price {since}", stale.ticker),
            Language::It => format!("⚠ {}: nessun prezzo nuovo {since}", stale.ticker),
        });
    }
    for (ticker, rules) in &status.on_hold {
        text.push(match language {
            Language::En => format!(
                "⏸ {ticker}: {} on hold (/list)",
                words::count(*rules, "rule", "rules")
            ),
            Language::It => {
                let rules = words::count(*rules, "regola sospesa", "regole sospese");
                format!("⏸ {ticker}: {rules} (/list)")
            }
        });
    }
    text.blank();
    text.push(match (status.backlog.waiting, language) {
        (0, Language::En) => "No messages are waiting to be sent.".to_owned(),
        (0, Language::It) => "Nessun messaggio aspetta di essere inviato.".to_owned(),
        (waiting, Language::En) => format!("Messages waiting to be sent, of all users: {waiting}"),
        (waiting, Language::It) => format!("Messaggi in attesa di invio, di tutti gli utenti: {waiting}"),
    });
    text
}

fn feed_line(feed: &FeedState, reader: &Reader) -> Line {
    let language = reader.language;
    let silent = reader.now.since(feed.updated_at) > SILENT;
    let (mark, state) = match feed.breaker {
        _ if silent => (
            "⚠",
            format!(
                "{} {}",
                either(language, "silent", "in silenzio"),
                reader.since(feed.updated_at)
            ),
        ),
        BreakerState::Closed => ("●", either(language, "works", "funziona").to_owned()),
        BreakerState::HalfOpen => (
            "◐",
            either(
                language,
                "being tried again (breaker half-open)",
                "in prova (interruttore semiaperto)",
            )
            .to_owned(),
        ),
        BreakerState::Open => (
            "○",
            either(
                language,
                "fails, not asked for now (breaker open)",
                "non risponde, per ora non lo chiamo (interruttore aperto)",
            )
            .to_owned(),
        ),
    };
    let answered = match (feed.last_success_at, language) {
        (Some(at), Language::En) => format!("last answer {}", reader.age(at)),
        (Some(at), Language::It) => format!("ultima risposta {}", reader.age(at)),
        (None, Language::En) => "no answer yet".to_owned(),
        (None, Language::It) => "ancora nessuna risposta".to_owned(),
    };
    let tickers = match language {
        Language::En => words::count(feed.tickers, "ticker", "tickers"),
        Language::It => words::count(feed.tickers, "titolo", "titoli"),
    };
    Line::new()
        .plain(format!("{mark} "))
        .bold(feed.provider.as_str())
        .plain(format!(" {state}; {tickers}, {answered}"))
}

fn quote_line(name: &str, quote: &Quote, reader: &Reader) -> String {
    format!(
        "{name}: {} {}, {}",
        quote.ticker,
        words::amount(quote.price, &quote.currency, reader.language),
        reader.age(quote.event_time)
    )
}

/// `/history`: the newest first.
pub(in crate::bot) fn history(deliveries: &[DeliveryView], reader: &Reader) -> Text {
    let language = reader.language;
    if deliveries.is_empty() {
        return Text::new(language).with(either(language, "No alerts yet.", "Ancora nessun avviso."));
    }
    let mut text = Text::new(language).with(Line::new().bold(either(
        language,
        "Your last alerts",
        "I tuoi ultimi avvisi",
    )));
    for delivery in deliveries {
        text.push(
            Line::new()
                .plain(format!("{} ", reader.moment(delivery.planned_at)))
                .bold(delivery.ticker.as_str())
                .plain(format!(
                    " {} {} ({})",
                    words::price(delivery.price, language),
                    kind(delivery.kind, language),
                    ended(delivery.status, delivery.sent_at, language)
                )),
        );
        if let Some(reason) = delivery
            .reason
            .as_ref()
            .filter(|_| is_over_unsent(delivery.status))
        {
            let reason = reasons::reason(reason, language);
            text.push_more(Line::new().plain("    ").code(reason));
        }
    }
    text
}

const fn is_over_unsent(status: DeliveryStatus) -> bool {
    match status {
        DeliveryStatus::Undeliverable | DeliveryStatus::Superseded => true,
        DeliveryStatus::Planned | DeliveryStatus::Sending | DeliveryStatus::Sent => false,
    }
}

const fn kind(kind: DeliveryKind, language: Language) -> &'static str {
    let (english, italian) = match kind {
        DeliveryKind::Breach => ("out of range", "fuori intervallo"),
        DeliveryKind::Jump => ("jumped to the other side", "saltato dall'altra parte"),
        DeliveryKind::Reminder => ("reminder", "promemoria"),
        DeliveryKind::BackInRange => ("back in range", "rientrato"),
        DeliveryKind::CameAndWent => ("out of range and back", "uscito e rientrato"),
        DeliveryKind::Test => ("test", "prova"),
        DeliveryKind::FeedStale => ("no fresh prices", "senza prezzi nuovi"),
        DeliveryKind::FeedBack => ("prices are back", "prezzi di nuovo in arrivo"),
        DeliveryKind::Restated => ("rules on hold", "regole sospese"),
    };
    either(language, english, italian)
}

const fn ended(status: DeliveryStatus, sent_at: Option<Timestamp>, language: Language) -> &'static str {
    let (english, italian) = match (status, sent_at) {
        (DeliveryStatus::Sent, _) => ("sent", "inviato"),
        (DeliveryStatus::Planned | DeliveryStatus::Sending, _) => ("waiting", "in attesa"),
        (DeliveryStatus::Undeliverable, _) => ("not delivered", "non consegnato"),
        (DeliveryStatus::Superseded, _) => ("not needed any more", "non serve più"),
    };
    either(language, english, italian)
}

/// After `/test`: what comes.
pub(in crate::bot) fn testing(language: Language) -> Text {
    Text::new(language).with(either(
        language,
        "A test alert is on its way through the system; its message comes in a moment and says how long it took.",
        "Un avviso di prova sta attraversando il sistema; il suo messaggio arriva tra un attimo e dice quanto ci ha messo.",
    ))
}

/// After `/test` in a chat that takes no messages.
pub(in crate::bot) fn not_testing(language: Language) -> Text {
    Text::new(language).with(either(
        language,
        "I raised no test alert: it would not be sent to this chat.",
        "Non ho fatto partire l'avviso di prova: non verrebbe inviato a questa chat.",
    ))
}

/// The test alert could not be sent on its way.
pub(in crate::bot) fn test_failed(language: Language) -> Text {
    Text::new(language).with(either(
        language,
        "The test alert could not be written: Kafka does not answer. Real alerts wait until it does.",
        "Non ho potuto scrivere l'avviso di prova: Kafka non risponde. Anche gli avvisi veri aspettano.",
    ))
}

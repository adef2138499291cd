use std::time::Duration;

use cqrs::domain::{DeliveryId, Language, Price, RuleId, Side, UserId};
use cqrs::{MessageFacts, Recipient};
use insta::assert_snapshot;

use super::*;

mod digests;
mod limits;
mod restated;

const RULE: &str = "0197a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b";

fn opened_at() -> Timestamp {
    "2026-01-30T14:30:00Z".parse().unwrap()
}

fn facts(kind: DeliveryKind) -> MessageFacts {
    MessageFacts {
        kind,
        ticker: "AAPL".parse().unwrap(),
        note: "sell *half* <now>".parse().unwrap(),
        range: None,
        side: Side::Above,
        told_side: Side::In,
        price: "201.30".parse().unwrap(),
        threshold: "200.50".parse().unwrap(),
        currency: "USD".to_owned(),
        quote_time: opened_at(),
        quote_ingest_time: opened_at(),
        already_outside: false,
        opened_at: opened_at(),
        peak: None,
        crossings: 1,
        restated: None,
    }
}

fn back(kind: DeliveryKind) -> MessageFacts {
    MessageFacts {
        side: Side::In,
        told_side: Side::Above,
        price: "199".parse().unwrap(),
        quote_time: opened_at().plus(Duration::from_secs(725)),
        peak: Some("204.10".parse().unwrap()),
        ..facts(kind)
    }
}

fn still(kind: DeliveryKind) -> MessageFacts {
    MessageFacts {
        told_side: Side::Above,
        quote_time: opened_at().plus(Duration::from_secs(7_830)),
        ..back(kind)
    }
}

fn message(items: Vec<MessageFacts>, language: Language) -> ClaimedMessage {
    ClaimedMessage {
        key: DeliveryId::generate(),
        user_id: UserId::generate(),
        recipient: Recipient {
            chat: None,
            language,
            time_zone: "Europe/Rome".parse().unwrap(),
        },
        items: items
            .into_iter()
            .map(|facts| MessageItem {
                deliveries: vec![DeliveryId::generate()],
                rule_id: RULE.parse::<RuleId>().unwrap(),
                facts,
            })
            .collect(),
        heading: Heading::Plain,
        reply_to: None,
        attempt: 1,
        claimed_by: "me".to_owned(),
        claimed_at: opened_at(),
        reclaimed: false,
        may_be_repeat: false,
        planned_at: opened_at(),
        tried_since: None,
        send_in: Duration::ZERO,
    }
}

/// What readers see in both languages, 1.2 s after the quote, and what buttons they get.
fn both(items: &[MessageFacts], change: impl Fn(&mut ClaimedMessage)) -> String {
    let shown = Language::ALL.map(|language| {
        let mut message = message(items.to_vec(), language);
        change(&mut message);
        let latest = items.iter().map(|facts| facts.quote_time).max().unwrap();
        let Outgoing { text, keyboard } = render(&message, latest.plus(Duration::from_millis(1_200)));
        let rows = keyboard.rows().iter().map(|row| {
            let labels: Vec<_> = row.iter().map(|button| format!("[{}]", button.label)).collect();
            format!("\n{}", labels.join(" "))
        });
        format!("{}{}", text.html(), rows.collect::<String>())
    });
    shown.join("\n---\n")
}

fn as_it_is(_: &mut ClaimedMessage) {}

#[test]
fn a_breach_says_what_where_by_how_much_and_how_fast() {
    assert_snapshot!(both(&[facts(DeliveryKind::Breach)], as_it_is), @"
    ▲ <b>AAPL</b> is above 200.50
    Price 201.30 USD, 0.40% above your high threshold
    Quote of 15:30:00 CET, delivered in 1.2 s
    Note: <i>sell *half* &lt;now&gt;</i>
    [Snooze 1h] [Until back]
    [Edit] [Chart]
    ---
    ▲ <b>AAPL</b> è sopra 200,50
    Prezzo 201,30 USD, 0,40% sopra la tua soglia superiore
    Quotazione: 15:30:00 CET, consegnata in 1,2 s
    Nota: <i>sell *half* &lt;now&gt;</i>
    [Silenzia 1h] [Fino al rientro]
    [Modifica] [Grafico]
    ");
}

#[test]
fn a_breach_below_without_currency_and_note_leaves_them_out() {
    let below = MessageFacts {
        side: Side::Below,
        price: "180".parse().unwrap(),
        threshold: "190".parse().unwrap(),
        currency: String::new(),
        note: Default::default(),
        ..facts(DeliveryKind::Breach)
    };
    assert_snapshot!(both(&[below], as_it_is), @"
    ▼ <b>AAPL</b> is below 190
    Price 180, 5.26% below your low threshold
    Quote of 15:30:00 CET, delivered in 1.2 s
    [Snooze 1h] [Until back]
    [Edit] [Chart]
    ---
    ▼ <b>AAPL</b> è sotto 190
    Prezzo 180, 5,26% sotto la tua soglia inferiore
    Quotazione: 15:30:00 CET, consegnata in 1,2 s
    [Silenzia 1h] [Fino al rientro]
    [Modifica] [Grafico]
    ");
}

#[test]
fn a_price_exactly_at_the_threshold_is_out() {
    let at = MessageFacts {
        price: "200.50".parse().unwrap(),
        ..facts(DeliveryKind::Breach)
    };
    assert_snapshot!(both(&[at], as_it_is), @"
    ▲ <b>AAPL</b> is at 200.50
    Price 200.50 USD, exactly at your threshold
    Quote of 15:30:00 CET, delivered in 1.2 s
    Note: <i>sell *half* &lt;now&gt;</i>
    [Snooze 1h] [Until back]
    [Edit] [Chart]
    ---
    ▲ <b>AAPL</b> è a 200,50
    Prezzo 200,50 USD, esattamente sulla tua soglia
    Quotazione: 15:30:00 CET, consegnata in 1,2 s
    Nota: <i>sell *half* &lt;now&gt;</i>
    [Silenzia 1h] [Fino al rientro]
    [Modifica] [Grafico]
    ");
}

#[test]
fn a_rule_made_while_the_price_is_outside_says_already() {
    let already = MessageFacts {
        already_outside: true,
        ..facts(DeliveryKind::Breach)
    };
    assert_snapshot!(both(&[already], as_it_is), @"
    ▲ <b>AAPL</b> is already above 200.50
    Price 201.30 USD, 0.40% above your high threshold
    Quote of 15:30:00 CET, delivered in 1.2 s
    Note: <i>sell *half* &lt;now&gt;</i>
    [Snooze 1h] [Until back]
    [Edit] [Chart]
    ---
    ▲ <b>AAPL</b> è già sopra 200,50
    Prezzo 201,30 USD, 0,40% sopra la tua soglia superiore
    Quotazione: 15:30:00 CET, consegnata in 1,2 s
    Nota: <i>sell *half* &lt;now&gt;</i>
    [Silenzia 1h] [Fino al rientro]
    [Modifica] [Grafico]
    ");
}

#[test]
fn a_jump_names_both_sides() {
    let jump = MessageFacts {
        side: Side::Below,
        told_side: Side::Above,
        price: "180".parse().unwrap(),
        threshold: "190".parse().unwrap(),
        ..facts(DeliveryKind::Jump)
    };
    assert_snapshot!(both(&[jump], as_it_is), @"
    ▼ <b>AAPL</b> jumped from above your range to below 190
    Price 180 USD, 5.26% below your low threshold
    Quote of 15:30:00 CET, delivered in 1.2 s
    Note: <i>sell *half* &lt;now&gt;</i>
    [Snooze 1h] [Until back]
    [Edit] [Chart]
    ---
    ▼ <b>AAPL</b> è saltato da sopra il tuo intervallo a sotto 190
    Prezzo 180 USD, 5,26% sotto la tua soglia inferiore
    Quotazione: 15:30:00 CET, consegnata in 1,2 s
    Nota: <i>sell *half* &lt;now&gt;</i>
    [Silenzia 1h] [Fino al rientro]
    [Modifica] [Grafico]
    ");
}

#[test]
fn a_jump_upwards_names_both_sides() {
    let jump = MessageFacts {
        side: Side::Above,
        told_side: Side::Below,
        ..facts(DeliveryKind::Jump)
    };
    assert_snapshot!(both(&[jump], as_it_is), @"
    ▲ <b>AAPL</b> jumped from below your range to above 200.50
    Price 201.30 USD, 0.40% above your high threshold
    Quote of 15:30:00 CET, delivered in 1.2 s
    Note: <i>sell *half* &lt;now&gt;</i>
    [Snooze 1h] [Until back]
    [Edit] [Chart]
    ---
    ▲ <b>AAPL</b> è saltato da sotto il tuo intervallo a sopra 200,50
    Prezzo 201,30 USD, 0,40% sopra la tua soglia superiore
    Quotazione: 15:30:00 CET, consegnata in 1,2 s
    Nota: <i>sell *half* &lt;now&gt;</i>
    [Silenzia 1h] [Fino al rientro]
    [Modifica] [Grafico]
    ");
}

#[test]
fn a_reminder_gives_duration_and_peak() {
    let reminder = MessageFacts {
        side: Side::Above,
        price: "203".parse().unwrap(),
        ..still(DeliveryKind::Reminder)
    };
    assert_snapshot!(both(&[reminder], as_it_is), @"
    ▲ Reminder: <b>AAPL</b> is still above 200.50
    Price 203 USD, 1.25% above your high threshold
    Out of range for 2 h 10 min, highest 204.10
    Quote of 17:40:30 CET
    Note: <i>sell *half* &lt;now&gt;</i>
    [Snooze 1h] [Until back]
    [Edit] [Chart]
    ---
    ▲ Promemoria: <b>AAPL</b> è ancora sopra 200,50
    Prezzo 203 USD, 1,25% sopra la tua soglia superiore
    Fuori intervallo da 2 h 10 min, massimo 204,10
    Quotazione: 17:40:30 CET
    Nota: <i>sell *half* &lt;now&gt;</i>
    [Silenzia 1h] [Fino al rientro]
    [Modifica] [Grafico]
    ");
}

#[test]
fn a_return_gives_duration_and_peak() {
    assert_snapshot!(both(&[back(DeliveryKind::BackInRange)], as_it_is), @"
    ● <b>AAPL</b> is back in range
    Price 199 USD, 0.75% below the threshold 200.50 that it had crossed
    It was out of range for 12 min 5 s, highest 204.10
    Quote of 15:42:05 CET
    Note: <i>sell *half* &lt;now&gt;</i>
    ---
    ● <b>AAPL</b> è rientrato nell'intervallo
    Prezzo 199 USD, 0,75% sotto la soglia 200,50 che aveva superato
    È stato fuori intervallo per 12 min 5 s, massimo 204,10
    Quotazione: 15:42:05 CET
    Nota: <i>sell *half* &lt;now&gt;</i>
    ");
}

#[test]
fn a_return_from_below_gives_the_lowest_price() {
    let from_below = MessageFacts {
        told_side: Side::Below,
        price: "192".parse().unwrap(),
        threshold: "190".parse().unwrap(),
        peak: Some("181.50".parse().unwrap()),
        ..back(DeliveryKind::BackInRange)
    };
    assert_snapshot!(both(&[from_below], as_it_is), @"
    ● <b>AAPL</b> is back in range
    Price 192 USD, 1.05% above the threshold 190 that it had crossed
    It was out of range for 12 min 5 s, lowest 181.50
    Quote of 15:42:05 CET
    Note: <i>sell *half* &lt;now&gt;</i>
    ---
    ● <b>AAPL</b> è rientrato nell'intervallo
    Prezzo 192 USD, 1,05% sopra la soglia 190 che aveva superato
    È stato fuori intervallo per 12 min 5 s, minimo 181,50
    Quotazione: 15:42:05 CET
    Nota: <i>sell *half* &lt;now&gt;</i>
    ");
}

#[test]
fn a_flapping_rule_is_summed_up() {
    let again = MessageFacts {
        told_side: Side::Above,
        crossings: 6,
        ..facts(DeliveryKind::Breach)
    };
    assert_snapshot!(both(&[again], as_it_is), @"
    ▲ <b>AAPL</b> is above 200.50 again
    Price 201.30 USD, 0.40% above your high threshold
    It went back and forth: 6 crossings since my last message
    Quote of 15:30:00 CET, delivered in 1.2 s
    Note: <i>sell *half* &lt;now&gt;</i>
    [Snooze 1h] [Until back]
    [Edit] [Chart]
    ---
    ▲ <b>AAPL</b> è sopra 200,50 di nuovo
    Prezzo 201,30 USD, 0,40% sopra la tua soglia superiore
    È andato avanti e indietro: 6 passaggi dal mio ultimo messaggio
    Quotazione: 15:30:00 CET, consegnata in 1,2 s
    Nota: <i>sell *half* &lt;now&gt;</i>
    [Silenzia 1h] [Fino al rientro]
    [Modifica] [Grafico]
    ");
    let gone = MessageFacts {
        crossings: 8,
        ..back(DeliveryKind::CameAndWent)
    };
    assert_snapshot!(both(&[gone], as_it_is), @"
    ● <b>AAPL</b> left its range and is back
    Price 199 USD, 0.75% below the threshold 200.50 that it had crossed
    It was out of range for 12 min 5 s, highest 204.10
    It went back and forth: 8 crossings since my last message
    Quote of 15:42:05 CET
    Note: <i>sell *half* &lt;now&gt;</i>
    ---
    ● <b>AAPL</b> è uscito dall'intervallo ed è rientrato
    Prezzo 199 USD, 0,75% sotto la soglia 200,50 che aveva superato
    È stato fuori intervallo per 12 min 5 s, massimo 204,10
    È andato avanti e indietro: 8 passaggi dal mio ultimo messaggio
    Quotazione: 15:42:05 CET
    Nota: <i>sell *half* &lt;now&gt;</i>
    ");
}

#[test]
fn a_test_shows_its_latency_and_has_no_buttons() {
    let test = MessageFacts {
        note: Default::default(),
        ..facts(DeliveryKind::Test)
    };
    assert_snapshot!(both(&[test], as_it_is), @"
    ▲ Test: <b>AAPL</b> is above 200.50
    You asked for this with /test: the price is made up.
    It took the way of every alert, through Kafka to this chat, in 1.2 s.
    ---
    ▲ Prova: <b>AAPL</b> è sopra 200,50
    L'hai chiesto tu con /test: il prezzo è inventato.
    Ha fatto la strada di ogni avviso, da Kafka a questa chat, in 1,2 s.
    ");
}

#[test]
fn a_feed_that_stops_and_comes_back_is_told() {
    assert_snapshot!(both(&[facts(DeliveryKind::FeedStale)], as_it_is), @"
    ○ No prices of <b>AAPL</b> are coming
    The last one is of 15:30:00 CET, although the market is open.
    Until then it was above 200.50. I tell you when prices are back.
    Note: <i>sell *half* &lt;now&gt;</i>
    ---
    ○ Non arrivano prezzi di <b>AAPL</b>
    L'ultimo: 15:30:00 CET, anche se il mercato è aperto.
    Fino ad allora era sopra 200,50. Ti avviso quando i prezzi tornano.
    Nota: <i>sell *half* &lt;now&gt;</i>
    ");
    let fresh = MessageFacts {
        side: Side::Above,
        ..back(DeliveryKind::FeedBack)
    };
    assert_snapshot!(both(&[fresh], as_it_is), @"
    ● Prices of <b>AAPL</b> are coming again
    They were missing for 12 min 5 s.
    Note: <i>sell *half* &lt;now&gt;</i>
    ---
    ● I prezzi di <b>AAPL</b> arrivano di nuovo
    Sono mancati per 12 min 5 s.
    Nota: <i>sell *half* &lt;now&gt;</i>
    ");
}

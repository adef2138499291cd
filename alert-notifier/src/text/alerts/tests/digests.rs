use super::*;

fn night() -> Vec<MessageFacts> {
    let below = MessageFacts {
        ticker: "BRK-B".parse().unwrap(),
        note: Default::default(),
        side: Side::Below,
        price: "480".parse().unwrap(),
        threshold: "500".parse().unwrap(),
        ..facts(DeliveryKind::Breach)
    };
    let reminder = MessageFacts {
        side: Side::Above,
        price: "203".parse().unwrap(),
        ..still(DeliveryKind::Reminder)
    };
    let gone = MessageFacts {
        ticker: "MSFT".parse().unwrap(),
        note: Default::default(),
        crossings: 4,
        ..back(DeliveryKind::CameAndWent)
    };
    let stale = MessageFacts {
        ticker: "TSLA".parse().unwrap(),
        note: Default::default(),
        ..facts(DeliveryKind::FeedStale)
    };
    vec![below, reminder, gone, stale]
}

#[test]
fn a_digest_says_what_is_out_and_what_is_back() {
    assert_snapshot!(both(&night(), as_it_is), @"
    <b>4 alerts</b>

    <b>Out of range</b>
    ▼ <b>BRK-B</b> is below 500
        480 USD, 4.00% below; since 15:30:00 CET
    ▲ <b>AAPL</b> is still above 200.50
        203 USD, 1.25% above
        Out of range for 2 h 10 min, highest 204.10
        <i>sell *half* &lt;now&gt;</i>

    <b>Back in range</b>
    ● <b>MSFT</b> left its range and is back
        Price 199 USD, 0.75% below the threshold 200.50 that it had crossed
        It was out of range for 12 min 5 s, highest 204.10
        It went back and forth: 4 crossings since my last message

    <b>Also</b>
    ○ No prices of <b>TSLA</b> are coming
        The last one is of 15:30:00 CET, although the market is open. Until then it was above 200.50. I tell you when prices are back.
    ---
    <b>4 avvisi</b>

    <b>Fuori intervallo</b>
    ▼ <b>BRK-B</b> è sotto 500
        480 USD, 4,00% sotto; inizio 15:30:00 CET
    ▲ <b>AAPL</b> è ancora sopra 200,50
        203 USD, 1,25% sopra
        Fuori intervallo da 2 h 10 min, massimo 204,10
        <i>sell *half* &lt;now&gt;</i>

    <b>Rientrati</b>
    ● <b>MSFT</b> è uscito dall'intervallo ed è rientrato
        Prezzo 199 USD, 0,75% sotto la soglia 200,50 che aveva superato
        È stato fuori intervallo per 12 min 5 s, massimo 204,10
        È andato avanti e indietro: 4 passaggi dal mio ultimo messaggio

    <b>Inoltre</b>
    ○ Non arrivano prezzi di <b>TSLA</b>
        L'ultimo: 15:30:00 CET, anche se il mercato è aperto. Fino ad allora era sopra 200,50. Ti avviso quando i prezzi tornano.
    ");
}

#[test]
fn after_quiet_hours_it_says_so_for_one_rule_and_for_many() {
    let quiet = |message: &mut ClaimedMessage| message.heading = Heading::AfterQuietHours;
    assert_snapshot!(both(&night()[..2], quiet), @"
    Your quiet hours are over. Meanwhile:

    <b>Out of range</b>
    ▼ <b>BRK-B</b> is below 500
        480 USD, 4.00% below; since 15:30:00 CET
    ▲ <b>AAPL</b> is still above 200.50
        203 USD, 1.25% above
        Out of range for 2 h 10 min, highest 204.10
        <i>sell *half* &lt;now&gt;</i>
    ---
    Le tue ore di silenzio sono finite. Nel frattempo:

    <b>Fuori intervallo</b>
    ▼ <b>BRK-B</b> è sotto 500
        480 USD, 4,00% sotto; inizio 15:30:00 CET
    ▲ <b>AAPL</b> è ancora sopra 200,50
        203 USD, 1,25% sopra
        Fuori intervallo da 2 h 10 min, massimo 204,10
        <i>sell *half* &lt;now&gt;</i>
    ");
    assert_snapshot!(both(&night()[2..3], quiet), @"
    Your quiet hours are over. Meanwhile:

    ● <b>MSFT</b> left its range and is back
    Price 199 USD, 0.75% below the threshold 200.50 that it had crossed
    It was out of range for 12 min 5 s, highest 204.10
    It went back and forth: 4 crossings since my last message
    Quote of 15:42:05 CET
    ---
    Le tue ore di silenzio sono finite. Nel frattempo:

    ● <b>MSFT</b> è uscito dall'intervallo ed è rientrato
    Prezzo 199 USD, 0,75% sotto la soglia 200,50 che aveva superato
    È stato fuori intervallo per 12 min 5 s, massimo 204,10
    È andato avanti e indietro: 4 passaggi dal mio ultimo messaggio
    Quotazione: 15:42:05 CET
    ");
}

#[test]
fn each_heading_says_why_the_message_tells_of_the_past() {
    let headings = [
        Heading::Plain,
        Heading::AfterQuietHours,
        Heading::AfterSnooze,
        Heading::AfterOutage,
    ];
    let said = headings.map(|heading| {
        let html = both(&night(), |message| message.heading = heading);
        let said = html
            .split("---\n")
            .map(|text| text.lines().next().unwrap_or_default());
        said.collect::<Vec<_>>().join("\n")
    });
    assert_snapshot!(said.join("\n"), @"
    <b>4 alerts</b>
    <b>4 avvisi</b>
    Your quiet hours are over. Meanwhile:
    Le tue ore di silenzio sono finite. Nel frattempo:
    The snooze is over. Meanwhile:
    La pausa degli avvisi è finita. Nel frattempo:
    I could not deliver this before:
    Non ho potuto consegnarlo prima:
    ");
}

#[test]
fn a_digest_of_all_kinds_says_each() {
    let jump = MessageFacts {
        ticker: "NFLX".parse().unwrap(),
        side: Side::Above,
        told_side: Side::Below,
        ..facts(DeliveryKind::Jump)
    };
    let test = MessageFacts {
        ticker: "TEST".parse().unwrap(),
        note: Default::default(),
        ..facts(DeliveryKind::Test)
    };
    let fresh = MessageFacts {
        ticker: "IBM".parse().unwrap(),
        side: Side::Above,
        ..back(DeliveryKind::FeedBack)
    };
    let mut all = night();
    all.extend([jump, back(DeliveryKind::BackInRange), test, fresh]);
    assert_snapshot!(both(&all, as_it_is), @"
    <b>8 alerts</b>

    <b>Out of range</b>
    ▼ <b>BRK-B</b> is below 500
        480 USD, 4.00% below; since 15:30:00 CET
    ▲ <b>AAPL</b> is still above 200.50
        203 USD, 1.25% above
        Out of range for 2 h 10 min, highest 204.10
        <i>sell *half* &lt;now&gt;</i>
    ▲ <b>NFLX</b> jumped from below your range to above 200.50
        201.30 USD, 0.40% above; since 15:30:00 CET
        <i>sell *half* &lt;now&gt;</i>

    <b>Back in range</b>
    ● <b>MSFT</b> left its range and is back
        Price 199 USD, 0.75% below the threshold 200.50 that it had crossed
        It was out of range for 12 min 5 s, highest 204.10
        It went back and forth: 4 crossings since my last message
    ● <b>AAPL</b> is back in range
        Price 199 USD, 0.75% below the threshold 200.50 that it had crossed
        It was out of range for 12 min 5 s, highest 204.10
        <i>sell *half* &lt;now&gt;</i>

    <b>Also</b>
    ○ No prices of <b>TSLA</b> are coming
        The last one is of 15:30:00 CET, although the market is open. Until then it was above 200.50. I tell you when prices are back.
    ▲ Test: <b>TEST</b> is above 200.50
        You asked for this with /test: the price is made up. It took the way of every alert, through Kafka to this chat, in 2 h 10 min.
    ● Prices of <b>IBM</b> are coming again
        They were missing for 12 min 5 s.
        <i>sell *half* &lt;now&gt;</i>
    ---
    <b>8 avvisi</b>

    <b>Fuori intervallo</b>
    ▼ <b>BRK-B</b> è sotto 500
        480 USD, 4,00% sotto; inizio 15:30:00 CET
    ▲ <b>AAPL</b> è ancora sopra 200,50
        203 USD, 1,25% sopra
        Fuori intervallo da 2 h 10 min, massimo 204,10
        <i>sell *half* &lt;now&gt;</i>
    ▲ <b>NFLX</b> è saltato da sotto il tuo intervallo a sopra 200,50
        201,30 USD, 0,40% sopra; inizio 15:30:00 CET
        <i>sell *half* &lt;now&gt;</i>

    <b>Rientrati</b>
    ● <b>MSFT</b> è uscito dall'intervallo ed è rientrato
        Prezzo 199 USD, 0,75% sotto la soglia 200,50 che aveva superato
        È stato fuori intervallo per 12 min 5 s, massimo 204,10
        È andato avanti e indietro: 4 passaggi dal mio ultimo messaggio
    ● <b>AAPL</b> è rientrato nell'intervallo
        Prezzo 199 USD, 0,75% sotto la soglia 200,50 che aveva superato
        È stato fuori intervallo per 12 min 5 s, massimo 204,10
        <i>sell *half* &lt;now&gt;</i>

    <b>Inoltre</b>
    ○ Non arrivano prezzi di <b>TSLA</b>
        L'ultimo: 15:30:00 CET, anche se il mercato è aperto. Fino ad allora era sopra 200,50. Ti avviso quando i prezzi tornano.
    ▲ Prova: <b>TEST</b> è sopra 200,50
        L'hai chiesto tu con /test: il prezzo è inventato. Ha fatto la strada di ogni avviso, da Kafka a questa chat, in 2 h 10 min.
    ● I prezzi di <b>IBM</b> arrivano di nuovo
        Sono mancati per 12 min 5 s.
        <i>sell *half* &lt;now&gt;</i>
    ");
}

#[test]
fn a_long_digest_says_less_of_each_and_counts_what_it_leaves_out() {
    let many = |count: usize| vec![facts(DeliveryKind::Breach); count];
    let english = |count| {
        let message = message(many(count), Language::En);
        render(&message, opened_at()).text.html()
    };
    assert!(english(10).contains("sell *half*"));
    let short = english(100);
    assert!(
        !short.contains("sell *half*") && !short.contains("more"),
        "{short}"
    );
    assert_eq!(short.matches("AAPL").count(), 100);
    let cut = english(500);
    let shown = cut.matches("AAPL").count();
    assert!(cut.ends_with(&format!("… and {} more", 500 - shown)), "{cut}");
}

#[test]
fn the_longest_message_fits_into_one_of_telegrams() {
    let facts = MessageFacts {
        ticker: "ABCDEFGHIJKLMNOPQRSTU.ABCDEFGHIJ".parse().unwrap(),
        note: "ß".repeat(500).parse().unwrap(),
        price: Price::from_units(i64::MAX).unwrap(),
        threshold: Price::from_units(1).unwrap(),
        currency: "X".repeat(16),
        crossings: u32::MAX,
        ..facts(DeliveryKind::Breach)
    };
    assert!(
        render(&message(vec![facts], Language::It), opened_at())
            .text
            .fits()
    );
}

#[test]
fn a_message_that_may_have_come_before_says_so() {
    let html = both(&[facts(DeliveryKind::Breach)], |message| {
        message.may_be_repeat = true
    });
    assert!(html.contains("\n(may be a repeat: I could not learn whether it reached you)"));
    assert!(html.contains("\n(potrebbe essere una ripetizione: non ho saputo se ti è arrivato)"));
}

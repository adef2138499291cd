use cqrs::domain::{Range, Restatement, Split};
use cqrs::{HeldRule, Restated};

use super::*;

fn range(low: Option<&str>, high: Option<&str>) -> Range {
    let price = |text: &str| text.parse().unwrap();
    Range::new(low.map(price), high.map(price)).unwrap()
}

/// `AAPL` by this split, with these rules on hold.
fn restated(split: Option<Split>, rules: &[Range]) -> MessageFacts {
    let restatement = Restatement {
        ticker: "AAPL".parse().unwrap(),
        from: "645.70".parse().unwrap(),
        to: "92.42".parse().unwrap(),
        split,
        event_time: opened_at(),
        restated_at: opened_at().plus(Duration::from_secs(300)),
    };
    MessageFacts {
        note: Default::default(),
        side: Side::In,
        price: restatement.to,
        threshold: restatement.from,
        opened_at: restatement.restated_at,
        restated: Some(Restated {
            rules: rules
                .iter()
                .map(|range| HeldRule {
                    range: *range,
                    adjusted: restatement.adjust_range(*range),
                })
                .collect(),
            restatement,
        }),
        ..facts(DeliveryKind::Restated)
    }
}

#[test]
fn a_split_asks_what_becomes_of_the_rules_on_hold() {
    let rules = [
        range(Some("600"), None),
        range(Some("500"), Some("700.5")),
        range(Some("0.00000001"), None),
    ];
    assert_snapshot!(both(&[restated(Split::new(7, 1), &rules)], as_it_is), @"
    ⏸ <b>AAPL</b> looks like a 7:1 split
    Its price went from 645.70 to 92.42 USD (quote of 15:30:00 CET, confirmed 15:35:00 CET).
    It may also be a true move: a crash to a half looks like a 2:1 split. Look at the news first.

    3 alerts on it are on hold, as their thresholds are from before.
    Until you choose, they tell you nothing. Adjust them, or keep them as they are:
        low 600 (would be low 85.71)
        low 500, high 700.50 (would be low 71.43, high 100.07)
        low 0.00000001 (can't be converted)
    [Adjust] [Keep as they are]
    [List]
    ---
    ⏸ <b>AAPL</b>: sembra un frazionamento 7:1
    Il prezzo è passato da 645,70 a 92,42 USD (quotazione: 15:30:00 CET, confermata: 15:35:00 CET).
    Può anche essere un movimento vero: un crollo a metà sembra un frazionamento 2:1. Prima guarda le notizie.

    3 avvisi sono sospesi, perché le loro soglie sono di prima.
    Finché non scegli, non ti avvisano. Adeguali, o lasciali così:
        bassa 600 (diventerebbe bassa 85,71)
        bassa 500, alta 700,50 (diventerebbe bassa 71,43, alta 100,07)
        bassa 0,00000001 (non convertibile)
    [Adegua] [Lascia così]
    [Elenco]
    ");
}

#[test]
fn one_rule_and_a_quote_that_was_believed_at_once() {
    let mut facts = restated(Split::new(7, 1), &[range(None, Some("700"))]);
    facts.opened_at = facts.quote_time;
    facts.currency = String::new();
    assert_snapshot!(both(&[facts], as_it_is), @"
    ⏸ <b>AAPL</b> looks like a 7:1 split
    Its price went from 645.70 to 92.42 (quote of 15:30:00 CET).
    It may also be a true move: a crash to a half looks like a 2:1 split. Look at the news first.

    1 alert on it is on hold, as its thresholds are from before.
    Until you choose, they tell you nothing. Adjust them, or keep them as they are:
        high 700 (would be high 100)
    [Adjust] [Keep as they are]
    [List]
    ---
    ⏸ <b>AAPL</b>: sembra un frazionamento 7:1
    Il prezzo è passato da 645,70 a 92,42 (quotazione: 15:30:00 CET).
    Può anche essere un movimento vero: un crollo a metà sembra un frazionamento 2:1. Prima guarda le notizie.

    1 avviso è sospeso, perché le sue soglie sono di prima.
    Finché non scegli, non ti avvisano. Adeguali, o lasciali così:
        alta 700 (diventerebbe alta 100)
    [Adegua] [Lascia così]
    [Elenco]
    ");
}

#[test]
fn another_unit_may_be_one_that_is_known_or_not() {
    let pence = restated(Split::new(100, 1), &[range(None, Some("7"))]);
    assert_snapshot!(both(&[pence], as_it_is), @"
    ⏸ <b>AAPL</b> looks like a 100:1 split
    Its price went from 645.70 to 92.42 USD (quote of 15:30:00 CET, confirmed 15:35:00 CET).
    It may be in another unit now (pence for pounds), or it may be a true move: look at the news first.

    1 alert on it is on hold, as its thresholds are from before.
    Until you choose, they tell you nothing. Adjust them, or keep them as they are:
        high 7 (would be high 0.07)
    [Adjust] [Keep as they are]
    [List]
    ---
    ⏸ <b>AAPL</b>: sembra un frazionamento 100:1
    Il prezzo è passato da 645,70 a 92,42 USD (quotazione: 15:30:00 CET, confermata: 15:35:00 CET).
    Può essere in un'altra unità (penny invece di sterline), oppure un movimento vero: prima guarda le notizie.

    1 avviso è sospeso, perché le sue soglie sono di prima.
    Finché non scegli, non ti avvisano. Adeguali, o lasciali così:
        alta 7 (diventerebbe alta 0,07)
    [Adegua] [Lascia così]
    [Elenco]
    ");
    let unknown = restated(None, &[range(None, Some("7"))]);
    assert_snapshot!(both(&[unknown], as_it_is), @"
    ⏸ <b>AAPL</b> has prices of another size
    Its price went from 645.70 to 92.42 USD (quote of 15:30:00 CET, confirmed 15:35:00 CET).
    It may be in another unit now (pence for pounds), or it may be a true move: look at the news first.

    1 alert on it is on hold, as its thresholds are from before.
    Until you choose, they tell you nothing. Set new thresholds (List), or keep them as they are:
        high 7 (can't be converted)
    [Keep as they are]
    [List]
    ---
    ⏸ <b>AAPL</b> ha prezzi di un altro ordine di grandezza
    Il prezzo è passato da 645,70 a 92,42 USD (quotazione: 15:30:00 CET, confermata: 15:35:00 CET).
    Può essere in un'altra unità (penny invece di sterline), oppure un movimento vero: prima guarda le notizie.

    1 avviso è sospeso, perché le sue soglie sono di prima.
    Finché non scegli, non ti avvisano. Imposta nuove soglie (Elenco), o lasciali così:
        alta 7 (non convertibile)
    [Lascia così]
    [Elenco]
    ");
}

#[test]
fn more_rules_than_fit_are_counted_and_the_question_stays() {
    let rules: Vec<Range> = (0..500)
        .map(|number| range(Some(&format!("100.{number:03}")), Some("92233720368.54775807")))
        .collect();
    for language in Language::ALL {
        let message = message(vec![restated(Split::new(7, 1), &rules)], language);
        let Outgoing { text, keyboard } = render(&message, opened_at());
        let html = text.html().replace("<b>", "").replace("</b>", "");
        assert!(html.encode_utf16().count() <= 4_096);
        let last = html.lines().last().unwrap();
        assert!(last.starts_with('…'), "{last}");
        let left_out: usize = last.split(' ').find_map(|word| word.parse().ok()).unwrap();
        assert_eq!(html.matches("92233720368").count() + left_out, 500);
        assert_eq!(keyboard.rows().len(), 2);
    }
}

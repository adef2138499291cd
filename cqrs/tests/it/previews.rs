use cqrs::domain::{Price, Quote, Range, RearmMargin, Side, Timestamp, side_after};
use cqrs::{Breach, Preview, PreviewLimits};

use crate::support::{Db, price, quote};

on_both_databases! {
    a_preview_is_what_the_rule_would_have_done_quote_by_quote,
    prices_that_flap_more_often_than_one_read_holds_are_all_counted,
    a_preview_begins_where_prices_were_last_counted_anew,
    a_preview_without_prices_says_so,
    of_too_many_prices_the_newest_are_looked_at,
}

fn range(low: Option<&str>, high: Option<&str>) -> Range {
    Range::new(low.map(price), high.map(price)).unwrap()
}

/// One quote after the other, as the definition says it.
fn naive(quotes: &[(Quote, i64)], range: Range, from: Timestamp) -> (Vec<Breach>, Option<Side>) {
    let mut quotes: Vec<_> = quotes
        .iter()
        .filter(|(quote, _)| quote.event_time >= from)
        .collect();
    quotes.sort_by_key(|(quote, offset)| (quote.event_time, *offset));
    let (mut side, mut breaches) = (Side::In, Vec::new());
    for (quote, _) in &quotes {
        let after = side_after(range, RearmMargin::default(), side, quote.price);
        if after != side && after != Side::In {
            breaches.push(Breach {
                time: quote.event_time,
                price: quote.price,
                side: after,
            });
        }
        side = after;
    }
    breaches.reverse();
    (breaches, (!quotes.is_empty()).then_some(side))
}

async fn preview(db: &Db, range: Range, from: Timestamp, breaches: usize) -> Preview {
    let limits = PreviewLimits {
        quotes: u32::MAX,
        breaches,
    };
    limited(db, range, from, limits).await
}

async fn limited(db: &Db, range: Range, from: Timestamp, limits: PreviewLimits) -> Preview {
    db.queries()
        .preview(
            &"AAPL".parse().unwrap(),
            range,
            RearmMargin::default(),
            from,
            limits,
        )
        .await
        .unwrap()
}

async fn a_preview_is_what_the_rule_would_have_done_quote_by_quote(db: Db) {
    // A walk in steps as wide as the margin of 0.2 to 0.4, some quotes of the same moment, and the last ones late.
    let (mut units, mut state) = (15_000_000_000_i64, 1_u64);
    let mut quotes: Vec<_> = (0..3_000_i64)
        .map(|n| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            units += i64::try_from(state >> 33).unwrap() % 400_000_001 - 200_000_000;
            units = units.clamp(9_000_000_000, 21_000_000_000);
            let text = Price::from_units(units).unwrap().to_string();
            (quote("AAPL", &text, 1_000 + n / 2 * 10), n)
        })
        .collect();
    quotes.swap(10, 2_000);
    let other = (quote("MSFT", "1", 1_005), 1);
    db.store.history().record(&quotes).await.unwrap();
    db.store.history().record(&[other]).await.unwrap();
    let mut fired = 0;
    for range in [
        range(Some("100"), Some("200")),
        range(Some("149"), Some("151")),
        range(Some("150"), Some("150.00000001")),
        range(Some("150"), Some("150.00000002")),
        range(Some("150"), Some("150.1")),
        range(Some("150"), None),
        range(None, Some("150")),
        range(None, Some("0.00000001")),
        range(Some("92233720368.54775807"), None),
    ] {
        for from in [0, 1_000, 1_010, 9_000] {
            let from = Timestamp::from_micros(from);
            let (breaches, side) = naive(&quotes, range, from);
            let found = preview(&db, range, from, usize::MAX).await;
            assert_eq!(
                (&found.breaches, found.side),
                (&breaches, side),
                "{range:?} {from}"
            );
            assert_eq!(found.fired, u64::try_from(breaches.len()).unwrap());
            let newest = preview(&db, range, from, 3).await;
            assert_eq!(newest.breaches, breaches[..breaches.len().min(3)]);
            assert_eq!(newest.fired, found.fired);
            fired += found.fired;
        }
    }
    assert!(fired > 100, "{fired}");
    let all = preview(&db, range(None, Some("1")), Timestamp::EPOCH, 1).await;
    assert_eq!(
        (all.quotes, all.first),
        (3_000, Some(Timestamp::from_micros(1_000)))
    );
    let late = preview(&db, range(None, Some("1")), Timestamp::from_micros(1_001), 1).await;
    assert_eq!(
        (late.quotes, late.first),
        (2_998, Some(Timestamp::from_micros(1_010)))
    );
    assert_eq!(
        all.latest,
        db.queries().latest_quote(&"AAPL".parse().unwrap()).await.unwrap()
    );
}

async fn prices_that_flap_more_often_than_one_read_holds_are_all_counted(db: Db) {
    let quotes: Vec<_> = (0..11_001)
        .map(|n| {
            (
                quote("AAPL", if n % 2 == 0 { "100" } else { "90" }, 1_000 + n / 3),
                n,
            )
        })
        .collect();
    db.store.history().record(&quotes).await.unwrap();
    let found = preview(&db, range(None, Some("100")), Timestamp::EPOCH, 20).await;
    assert_eq!(
        (found.fired, found.breaches.len(), found.side),
        (5_501, 20, Some(Side::Above))
    );
}

async fn a_preview_begins_where_prices_were_last_counted_anew(db: Db) {
    let quotes: Vec<_> = (0..)
        .zip(["700", "710", "100", "101", "99"])
        .map(|(n, text)| (quote("AAPL", text, 1_000 + n), n))
        .collect();
    db.store.history().record(&quotes).await.unwrap();
    let below_101 = range(None, Some("101"));
    assert_eq!(preview(&db, below_101, Timestamp::EPOCH, 9).await.fired, 2);
    db.execute(
        "insert into restatements (ticker, restated_at, from_price, to_price, new_shares, old_shares, event_time, looks)
         values ('AAPL', 5000, 71000000000, 10000000000, 7, 1, 1002, 0)",
    )
    .await;
    let found = preview(&db, below_101, Timestamp::EPOCH, 9).await;
    assert_eq!((found.fired, found.quotes, found.side), (1, 3, Some(Side::In)));
    assert_eq!(found.first, Some(Timestamp::from_micros(1_002)));
    let found = preview(&db, below_101, Timestamp::from_micros(1_004), 9).await;
    assert_eq!((found.fired, found.quotes), (0, 1));
}

async fn of_too_many_prices_the_newest_are_looked_at(db: Db) {
    let quotes: Vec<_> = (0..100)
        .map(|n| (quote("AAPL", if n % 2 == 0 { "100" } else { "90" }, 1_000 + n), n))
        .collect();
    db.store.history().record(&quotes).await.unwrap();
    for (quotes, first, fired) in [(10, 1_090, 5), (100, 1_000, 50), (1_000, 1_000, 50)] {
        let limits = PreviewLimits { quotes, breaches: 3 };
        let found = limited(&db, range(None, Some("100")), Timestamp::EPOCH, limits).await;
        assert_eq!((found.quotes, found.fired), (u64::from(quotes.min(100)), fired));
        assert_eq!(found.first, Some(Timestamp::from_micros(first)));
    }
}

async fn a_preview_without_prices_says_so(db: Db) {
    let found = preview(&db, range(None, Some("100")), Timestamp::EPOCH, 9).await;
    assert_eq!(found, Preview::default());
}

//! A replayed file in the quotes topic.

use std::io::Write as _;

use cqrs::domain::Quote;
use data_collector::{ProviderKind, SourceArgs};

use crate::trial::Trial;

#[tokio::test(flavor = "multi_thread")]
async fn every_row_is_published_in_the_files_order_late_ones_too_and_bad_ones_are_left_out() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "timestamp,ticker,price,volume").unwrap();
    let mut expected = Vec::new();
    for row in 0..3_000_u32 {
        // Each seventh row steps back in time, as late prints do.
        let second = if row % 7 == 0 {
            row.saturating_sub(100)
        } else {
            row
        };
        let time = format!(
            "2013-10-07T{:02}:{:02}:{:02}Z",
            8 + second / 3_600,
            second / 60 % 60,
            second % 60
        );
        let (ticker, price) = (
            ["AIG", "BAC", "^GSPC"][row as usize % 3],
            f64::from(row + 100) / 100.0,
        );
        writeln!(file, "{time},{ticker},{price},{row}").unwrap();
        expected.push((time.clone(), ticker.to_owned(), price.to_string()));
        if row % 1_000 == 0 {
            writeln!(file, "{time},{ticker},-1,1").unwrap();
        }
    }
    let source = SourceArgs {
        quote_provider: ProviderKind::Replay,
        replay_file: Some(file.path().to_owned()),
        replay_speed: 0.0,
        ..SourceArgs::synthetic(1, std::time::Duration::from_secs(1)).unwrap()
    };
    let mut trial = Trial::start(source).await;
    let mut quotes: Vec<Quote> = Vec::new();
    while quotes.len() < expected.len() {
        quotes.push(trial.next_quote().await);
    }
    // The topic keeps the order of each ticker.
    for name in ["AIG", "BAC", "^GSPC"] {
        let rows: Vec<_> = expected
            .iter()
            .filter(|(_, ticker, _)| ticker == name)
            .cloned()
            .collect();
        let seen: Vec<_> = quotes
            .iter()
            .filter(|quote| quote.ticker.as_str() == name)
            .map(|quote| {
                (
                    quote.event_time.to_string(),
                    quote.ticker.to_string(),
                    quote.price.to_string(),
                )
            })
            .collect();
        assert_eq!(seen, rows);
    }
    assert!(
        quotes
            .iter()
            .all(|quote| quote.source == "replay" && quote.ingest_time > quote.event_time)
    );
    trial.until_ready().await;
    assert!(
        trial.is_running(),
        "it idles, so that a supervisor does not replay again"
    );
    trial.end().await;
}

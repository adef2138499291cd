//! Recorded answers, served as they were. They can't be passed on, so they are no part of this repository.

use std::path::{Path, PathBuf};

use cqrs::domain::Ticker;
use data_collector::provider::binance::Binance;
use data_collector::provider::finnhub::Finnhub;
use data_collector::provider::live::{BinanceWire, FinnhubWire, Frame, Wire};
use data_collector::provider::twelvedata::TwelveData;
use data_collector::provider::yahoo::{Chart, Quotes};
use data_collector::provider::{Fetched, Provider, ProviderError};

use crate::provider_stub::{KEY, Reply, Server, session};

/// The folder: one file for each body, and `index.json` with their status.
const FOLDER: &str = "STOCKALERT_RESPONSES";

/// File, tickers, and what is made of each: its currency, price and time in seconds (where the body has one), or the
/// label of the error.
const EXPECTED: [(&str, &[(&str, &str)]); 33] = [
    (
        "yahoo/chart_AAPL_1m_one_null_close.json",
        &[("AAPL", "USD 225.67 1727985601")],
    ),
    ("yahoo/chart_AAPL_1d.json", &[("AAPL", "USD 244.87 1739998801")]),
    (
        "yahoo/chart_AAPL_1m_weekend_no_timestamp.json",
        &[("AAPL", "USD 244.87 1739998801")],
    ),
    (
        "yahoo/chart_OCDO.L_GBp.json",
        &[("OCDO.L", "GBp 305.3 1740051143")],
    ),
    (
        "yahoo/chart_BTC-USD.json",
        &[("BTC-USD", "USD 97208.17 1740051840")],
    ),
    (
        "yahoo/chart_EURUSD=X.json",
        &[("EURUSD=X", "USD 1.0436 1740052002")],
    ),
    ("yahoo/chart_GC=F.json", &[("GC=F", "USD 2952.5 1740051311")]),
    (
        "yahoo/chart_0P000071W8.TO_fund.json",
        &[("0P000071W8.TO", "CAD 153.9 1739995200")],
    ),
    (
        "yahoo/chart_^VXAPL_index_no_timestamp.json",
        &[("^VXAPL", "USD 27.37 1637355590")],
    ),
    ("yahoo/chart_404_not_found.json", &[("SI", "unknown_symbol")]),
    ("yahoo/chart_400_no_data_for_range.json", &[("BEKE", "no_price")]),
    (
        "yahoo/chart_LUCYW_null_currency.json",
        &[("LUCYW", " 0.1246 1749822360")],
    ),
    (
        "yahoo/chart_phantom_unknown_symbol_200.json",
        &[("THF", "no_price")],
    ),
    (
        "yahoo/quote_AAPL_BABA_multi.json",
        &[
            ("AAPL", "USD 244.6 1739566800"),
            ("BABA", "USD 124.73 1739566802"),
            ("SIX", "unknown_symbol"),
        ],
    ),
    (
        "yahoo/quote_BTC-USD.json",
        &[("BTC-USD", "USD 96077.45 1739789580")],
    ),
    (
        "yahoo/quote_EURUSD=X.json",
        &[("EURUSD=X", "USD 1.049 1739789683")],
    ),
    (
        "yahoo/quote_OCDO.L_GBp.json",
        &[("OCDO.L", "GBp 308.8 1739788724")],
    ),
    ("yahoo/quote_GC=F.json", &[("GC=F", "USD 2910.3 1739789091")]),
    ("yahoo/quote_unknown_empty_200.json", &[("SIX", "unknown_symbol")]),
    (
        "yahoo/quote_AAPL_MSFT_POSTPOST.json",
        &[
            ("MSFT", "USD 541.55 1761768001"),
            ("AAPL", "USD 269.7 1761768001"),
        ],
    ),
    ("yahoo/err_401_invalid_crumb.json", &[("AAPL", "unauthorized")]),
    ("yahoo/err_429_edge.txt", &[("AAPL", "rate_limited")]),
    ("yahoo/err_429_crumb.txt", &[("AAPL", "rate_limited")]),
    ("finnhub/quote_ok.json", &[("AAPL", "USD 261.74 1582641000")]),
    (
        "finnhub/quote_unknown_symbol_200_zeros.json",
        &[("NOPE", "unknown_symbol")],
    ),
    ("finnhub/err_429.txt", &[("AAPL", "rate_limited")]),
    ("twelvedata/price_ok.json", &[("AAPL", "USD 200.99001")]),
    (
        "twelvedata/price_batch.json",
        &[
            ("AAPL", "USD 200.99001"),
            ("EURUSD=X", "USD 1.1257"),
            ("NOPE", "unknown_symbol"),
        ],
    ),
    ("twelvedata/rate_limit_429.json", &[("AAPL", "rate_limited")]),
    ("twelvedata/err_401.json", &[("AAPL", "unauthorized")]),
    ("binance/ticker_price_single.json", &[("LTC-BTC", "BTC 4.000002")]),
    (
        "binance/ticker_price_multi.json",
        &[
            ("LTC-BTC", "BTC 4.000002"),
            ("ETH-BTC", "BTC 0.079466"),
            ("BTC-USD", "unknown_symbol"),
        ],
    ),
    // The stub answers so also when all are asked for, which Binance never does.
    (
        "binance/err_400_invalid_symbol.json",
        &[("BTC-USD", "bad_response")],
    ),
];

fn provider(file: &str, server: &Server) -> Box<dyn Provider> {
    let (url, key) = (server.url(), KEY.parse().unwrap());
    match file.split_once('/').unwrap() {
        ("yahoo", name) if name.starts_with("chart") || name.contains("edge") => {
            Box::new(Chart::new(url).unwrap())
        }
        ("yahoo", _) => Box::new(Quotes::new(url.clone(), url.join("/cookie").unwrap()).unwrap()),
        ("finnhub", _) => Box::new(Finnhub::new(url, &key).unwrap()),
        ("twelvedata", _) => Box::new(TwelveData::new(url, &key).unwrap()),
        ("binance", _) => Box::new(Binance::new(url).unwrap()),
        (other, _) => unreachable!("{other}"),
    }
}

fn text_of(fetched: &Fetched) -> String {
    let quote = &fetched.quote;
    let text = format!("{} {}", quote.currency, quote.price);
    if quote.event_time == quote.ingest_time {
        // The answer has no time of its own.
        text
    } else {
        format!("{text} {}", quote.event_time.as_micros() / 1_000_000)
    }
}

/// Those of REST calls, with their status.
fn files(folder: &Path) -> Vec<(String, u16)> {
    let index = std::fs::read(folder.join("index.json")).unwrap();
    let index: serde_json::Value = serde_json::from_slice(&index).unwrap();
    let mut files = Vec::new();
    for provider in ["yahoo", "finnhub", "twelvedata", "binance"] {
        for entry in index[provider].as_array().unwrap() {
            let name = entry["file"].as_str().unwrap();
            let status = u16::try_from(entry["status"].as_u64().unwrap()).unwrap();
            if !name.starts_with("ws_") {
                files.push((format!("{provider}/{name}"), status));
            }
        }
    }
    files
}

#[tokio::test]
#[ignore = "needs the recorded answers: set STOCKALERT_RESPONSES to their folder"]
async fn real_data_answers_have_the_documented_outcomes() {
    let folder = PathBuf::from(std::env::var_os(FOLDER).expect("STOCKALERT_RESPONSES"));
    for (file, status) in files(&folder) {
        let body = std::fs::read(folder.join(&file)).unwrap();
        let of_crumb = file.contains("crumb.txt");
        let server = Server::start(move |asked| {
            let session = session(asked).filter(|_| !(of_crumb && asked.path.ends_with("getcrumb")));
            session.unwrap_or_else(|| Reply::new(status, body.clone()))
        })
        .await;
        let provider = provider(&file, &server);
        let expected: Vec<_> = EXPECTED.iter().filter(|(name, _)| *name == file).collect();
        assert!(!expected.is_empty(), "nothing is expected of {file}");
        for (_, outcomes) in expected {
            let asked: Vec<Ticker> = outcomes.iter().map(|(name, _)| name.parse().unwrap()).collect();
            let answers = provider.fetch_batch(&asked).await;
            for (ticker, (_, expected)) in asked.iter().zip(*outcomes) {
                let answer = answers.clone().and_then(|mut answers| answers.take(ticker));
                let outcome = match &answer {
                    Ok(fetched) => text_of(fetched),
                    Err(error) => ProviderError::label(error).to_owned(),
                };
                assert_eq!(outcome, *expected, "{file}, {ticker}: {answer:?}");
            }
        }
    }
}

/// What is heard over websockets: symbol, price and milliseconds of each trade.
#[tokio::test]
#[ignore = "needs the recorded answers: set STOCKALERT_RESPONSES to their folder"]
async fn real_data_messages_have_the_trades_that_are_in_them() {
    let folder = PathBuf::from(std::env::var_os(FOLDER).expect("STOCKALERT_RESPONSES"));
    let finnhub = FinnhubWire::new(FinnhubWire::DEFAULT_URL.parse().unwrap(), &KEY.parse().unwrap());
    let binance = BinanceWire::new(BinanceWire::DEFAULT_URL.parse().unwrap());
    let trades = |wire: &dyn Wire, file: &str| {
        let text = std::fs::read_to_string(folder.join(file)).unwrap();
        match wire.read(&text).unwrap() {
            Frame::Nothing => Vec::new(),
            Frame::Trades(trades) => trades
                .into_iter()
                .map(|trade| {
                    let millis = trade.at.as_micros() / 1_000;
                    format!("{} {} {millis}", trade.symbol, trade.price)
                })
                .collect(),
        }
    };
    assert_eq!(
        trades(&finnhub, "finnhub/ws_trade.json"),
        [
            "TSLA 122.1 1672348887195",
            "TSLA 122.09 1672348887196",
            "TSLA 122.09 1672348887196",
            "TSLA 122.1 1672348887198",
            "AAPL 129.58 1672348887666",
            "AAPL 129.575 1672348887785",
        ]
    );
    assert_eq!(trades(&finnhub, "finnhub/ws_ping.json"), [""; 0]);
    assert_eq!(
        trades(&binance, "binance/ws_trade.json"),
        ["BNBBTC 0.001 1672515782136"]
    );
    assert_eq!(
        trades(&binance, "binance/ws_mini_ticker.json"),
        ["BNBBTC 0.0025 1672515782136"]
    );
}

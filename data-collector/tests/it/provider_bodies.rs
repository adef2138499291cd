//! Recorded answers, served as they were. They can't be passed on, so they are no part of this repository.

use std::path::{Path, PathBuf};

use cqrs::domain::Ticker;
use data_collector::provider::binance::Binance;
use data_collector::provider::finnhub::Finnhub;
use data_collector::provider::twelvedata::TwelveData;
use data_collector::provider::yahoo::{Chart, Quotes};
use data_collector::provider::{Provider, ProviderError};

use crate::provider_stub::{KEY, Reply, Server, session};

/// The folder: one file for each body, and `index.json` with their status.
const FOLDER: &str = "STOCKALERT_RESPONSES";

/// File, tickers, and what is made of each: its currency, or the label of the error.
const EXPECTED: [(&str, &[(&str, &str)]); 33] = [
    ("yahoo/chart_AAPL_1m_one_null_close.json", &[("AAPL", "USD")]),
    ("yahoo/chart_AAPL_1d.json", &[("AAPL", "USD")]),
    (
        "yahoo/chart_AAPL_1m_weekend_no_timestamp.json",
        &[("AAPL", "USD")],
    ),
    ("yahoo/chart_OCDO.L_GBp.json", &[("OCDO.L", "GBp")]),
    ("yahoo/chart_BTC-USD.json", &[("BTC-USD", "USD")]),
    ("yahoo/chart_EURUSD=X.json", &[("EURUSD=X", "USD")]),
    ("yahoo/chart_GC=F.json", &[("GC=F", "USD")]),
    ("yahoo/chart_0P000071W8.TO_fund.json", &[("0P000071W8.TO", "CAD")]),
    ("yahoo/chart_^VXAPL_index_no_timestamp.json", &[("^VXAPL", "USD")]),
    ("yahoo/chart_404_not_found.json", &[("SI", "unknown_symbol")]),
    ("yahoo/chart_400_no_data_for_range.json", &[("BEKE", "no_price")]),
    ("yahoo/chart_LUCYW_null_currency.json", &[("LUCYW", "")]),
    (
        "yahoo/chart_phantom_unknown_symbol_200.json",
        &[("THF", "no_price")],
    ),
    (
        "yahoo/quote_AAPL_BABA_multi.json",
        &[("AAPL", "USD"), ("BABA", "USD"), ("SIX", "unknown_symbol")],
    ),
    ("yahoo/quote_BTC-USD.json", &[("BTC-USD", "USD")]),
    ("yahoo/quote_EURUSD=X.json", &[("EURUSD=X", "USD")]),
    ("yahoo/quote_OCDO.L_GBp.json", &[("OCDO.L", "GBp")]),
    ("yahoo/quote_GC=F.json", &[("GC=F", "USD")]),
    ("yahoo/quote_unknown_empty_200.json", &[("SIX", "unknown_symbol")]),
    (
        "yahoo/quote_AAPL_MSFT_POSTPOST.json",
        &[("MSFT", "USD"), ("AAPL", "USD")],
    ),
    ("yahoo/err_401_invalid_crumb.json", &[("AAPL", "unauthorized")]),
    ("yahoo/err_429_edge.txt", &[("AAPL", "rate_limited")]),
    ("yahoo/err_429_crumb.txt", &[("AAPL", "rate_limited")]),
    ("finnhub/quote_ok.json", &[("AAPL", "USD")]),
    (
        "finnhub/quote_unknown_symbol_200_zeros.json",
        &[("NOPE", "unknown_symbol")],
    ),
    ("finnhub/err_429.txt", &[("AAPL", "rate_limited")]),
    ("twelvedata/price_ok.json", &[("AAPL", "USD")]),
    (
        "twelvedata/price_batch.json",
        &[("AAPL", "USD"), ("EURUSD=X", "USD"), ("NOPE", "unknown_symbol")],
    ),
    ("twelvedata/rate_limit_429.json", &[("AAPL", "rate_limited")]),
    ("twelvedata/err_401.json", &[("AAPL", "unauthorized")]),
    ("binance/ticker_price_single.json", &[("LTC-BTC", "BTC")]),
    (
        "binance/ticker_price_multi.json",
        &[
            ("LTC-BTC", "BTC"),
            ("ETH-BTC", "BTC"),
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
async fn each_recorded_answer_has_the_outcome_that_is_documented() {
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
                    Ok(fetched) => fetched.quote.currency.as_str(),
                    Err(error) => ProviderError::label(error),
                };
                assert_eq!(outcome, *expected, "{file}, {ticker}: {answer:?}");
            }
        }
    }
}

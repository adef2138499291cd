//! How each provider is asked, and what is asked again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cqrs::domain::Ticker;
use data_collector::provider::binance::Binance;
use data_collector::provider::finnhub::Finnhub;
use data_collector::provider::twelvedata::TwelveData;
use data_collector::provider::yahoo::Quotes;
use data_collector::provider::{Provider, ProviderError};

use crate::provider_stub::{Asked, KEY, Reply, Server, session};

fn tickers(names: &[&str]) -> Vec<Ticker> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn quotes(server: &Server) -> Quotes {
    Quotes::new(server.url(), server.url().join("/cookie").unwrap()).unwrap()
}

const QUOTES: &str = r#"{"quoteResponse":{"result":[{"currency":"USD","symbol":"AAPL","regularMarketPrice":7.5,"regularMarketTime":1739998801}],"error":null}}"#;
const INVALID_CRUMB: &str =
    r#"{"finance":{"result":null,"error":{"code":"Unauthorized","description":"Invalid Crumb"}}}"#;

/// A Yahoo whose crumbs are "crumb1", "crumb2" and so on; calls with one before `valid_from` are refused.
async fn yahoo(valid_from: usize) -> Server {
    let crumbs = Arc::new(AtomicUsize::new(0));
    Server::start(move |asked| match asked.path.as_str() {
        "/v1/test/getcrumb" => {
            let number = crumbs.fetch_add(1, Ordering::SeqCst) + 1;
            Reply::new(200, format!("crumb{number}"))
        }
        "/v7/finance/quote" => {
            let crumb = asked.query("crumb").unwrap_or_default();
            let number: usize = crumb.trim_start_matches("crumb").parse().unwrap();
            if number >= valid_from {
                Reply::new(200, QUOTES)
            } else {
                Reply::new(401, INVALID_CRUMB)
            }
        }
        _ => session(asked).unwrap(),
    })
    .await
}

const COOKIE: &str = "/cookie";
const CRUMB: &str = "/v1/test/getcrumb";
const QUOTE: &str = "/v7/finance/quote";

#[tokio::test]
async fn yahoos_cookie_and_crumb_are_got_once_and_sent_with_each_call() {
    let server = Server::start(|asked| session(asked).unwrap_or_else(|| Reply::new(200, QUOTES))).await;
    let quotes = quotes(&server);
    let asked_for = tickers(&["^GSPC", "AAPL", "M&M.NS", "EURUSD=X"]);
    for _ in 0..3 {
        let mut answers = quotes.fetch_batch(&asked_for).await.unwrap();
        assert!(answers.take(&asked_for[1]).is_ok());
        assert_eq!(answers.take(&asked_for[0]), Err(ProviderError::UnknownSymbol));
    }
    assert_eq!(server.paths(), [COOKIE, CRUMB, QUOTE, QUOTE, QUOTE]);
    for asked in &server.asked()[1..] {
        assert_eq!(asked.header("cookie"), Some("A3=d=x&S=y"));
    }
    let call = &server.asked()[2];
    assert_eq!(call.query("crumb"), Some("a/b.c+d"), "escaped on the way");
    assert_eq!(call.query("symbols"), Some("AAPL,EURUSD=X,M&M.NS,^GSPC"));
    assert!(call.header("user-agent").unwrap().starts_with("Mozilla/5.0"));
}

#[tokio::test]
async fn a_refused_crumb_is_renewed_once() {
    let server = yahoo(2).await;
    let quotes = quotes(&server);
    let asked_for = tickers(&["AAPL"]);
    assert!(quotes.fetch(&asked_for[0]).await.is_ok());
    assert_eq!(
        server.paths(),
        [COOKIE, CRUMB, QUOTE, COOKIE, CRUMB, QUOTE],
        "refused, renewed, answered"
    );
    assert!(quotes.fetch(&asked_for[0]).await.is_ok());
    assert_eq!(server.paths().len(), 7, "the new one is kept");

    let server = yahoo(usize::MAX).await;
    let quotes = self::quotes(&server);
    assert_eq!(
        quotes.fetch(&asked_for[0]).await,
        Err(ProviderError::Unauthorized { status: 401 })
    );
    assert_eq!(server.paths().len(), 6, "and not for ever");
}

#[tokio::test]
async fn many_calls_with_one_refused_crumb_renew_it_once() {
    let server = yahoo(2).await;
    let quotes = Arc::new(quotes(&server));
    let calls = (0..16).map(|_| {
        let quotes = Arc::clone(&quotes);
        tokio::spawn(async move { quotes.fetch(&"AAPL".parse().unwrap()).await.is_ok() })
    });
    for call in futures::future::join_all(calls).await {
        assert!(call.unwrap());
    }
    let crumbs = server.paths().into_iter().filter(|path| path == CRUMB).count();
    assert_eq!(crumbs, 2);
}

#[tokio::test]
async fn without_a_crumb_no_quote_is_asked_for() {
    for (crumb, is_right) in [
        (Reply::new(429, "Too Many Requests\r\n"), true),
        (Reply::new(200, "Too Many Requests"), true),
        (Reply::new(200, "<html>consent</html>"), false),
        (Reply::new(200, "two words"), false),
        (Reply::new(200, ""), false),
    ] {
        let server = Server::start(move |asked: &Asked| match asked.path.as_str() {
            CRUMB => crumb.clone(),
            _ => session(asked).unwrap(),
        })
        .await;
        let error = quotes(&server).fetch(&"AAPL".parse().unwrap()).await.unwrap_err();
        if is_right {
            assert_eq!(error, ProviderError::RateLimited { retry_after: None });
        } else {
            assert!(matches!(error, ProviderError::BadResponse { .. }), "{error}");
        }
        assert_eq!(server.paths(), [COOKIE, CRUMB]);
    }
    let server = Server::start(|_| Reply::new(200, "")).await;
    let error = quotes(&server).fetch(&"AAPL".parse().unwrap()).await.unwrap_err();
    assert!(matches!(error, ProviderError::BadResponse { .. }), "{error}");
    assert_eq!(server.paths(), [COOKIE]);
}

#[tokio::test]
async fn binance_is_asked_for_all_pairs_when_one_of_those_asked_for_is_bad() {
    let server = Server::start(|asked| match asked.query("symbols") {
        Some(symbols) if symbols.contains("NOPE") => {
            Reply::new(400, r#"{"code":-1121,"msg":"Invalid symbol."}"#)
        }
        Some(_) => Reply::new(200, r#"[{"symbol":"BTCUSDT","price":"97000.10000000"}]"#),
        None => Reply::new(
            200,
            r#"[{"symbol":"ETHBTC","price":"0.03"},{"symbol":"BTCUSDT","price":"97000.10000000"}]"#,
        ),
    })
    .await;
    let binance = Binance::new(server.url()).unwrap();
    let asked_for = tickers(&["BTC-USD", "BTC-USDT", "NOPE-USD", "AAPL"]);
    let mut answers = binance.fetch_batch(&asked_for).await.unwrap();
    assert!(answers.take(&asked_for[0]).is_ok() && answers.take(&asked_for[1]).is_ok());
    assert_eq!(answers.take(&asked_for[2]), Err(ProviderError::UnknownSymbol));
    assert!(answers.is_empty(), "nothing that was not asked for");
    let asked = server.asked();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0].query("symbols"), Some(r#"["BTCUSDT","NOPEUSDT"]"#));
    assert_eq!(asked[1].query("symbols"), None);
    for asked in asked {
        assert_eq!(asked.query("symbolStatus"), Some("TRADING"));
        assert_eq!(asked.path, "/api/v3/ticker/price");
    }
    binance.fetch_batch(&asked_for[..1]).await.unwrap();
    assert_eq!(server.asked().len(), 3);
}

#[tokio::test]
async fn binances_ban_is_a_limit() {
    let server = Server::start(|_| {
        Reply::new(
            418,
            r#"{"code":-1003,"msg":"Way too much request weight used; IP banned."}"#,
        )
        .with("retry-after", "120")
    })
    .await;
    let error = Binance::new(server.url())
        .unwrap()
        .fetch(&"BTC-USD".parse().unwrap())
        .await
        .unwrap_err();
    let retry_after = Some(Duration::from_secs(120));
    assert_eq!(error, ProviderError::RateLimited { retry_after });
}

#[tokio::test]
async fn what_a_provider_does_not_cover_is_unknown_without_a_call() {
    let server = Server::start(|_| Reply::new(500, "")).await;
    let key = KEY.parse().unwrap();
    let providers: [Box<dyn Provider>; 3] = [
        Box::new(Finnhub::new(server.url(), &key).unwrap()),
        Box::new(TwelveData::new(server.url(), &key).unwrap()),
        Box::new(Binance::new(server.url()).unwrap()),
    ];
    for provider in providers {
        for ticker in tickers(&["^GSPC", "OCDO.L", "GC=F"]) {
            assert!(!provider.covers(&ticker));
            assert_eq!(
                provider.fetch(&ticker).await,
                Err(ProviderError::UnknownSymbol),
                "{} {ticker}",
                provider.name()
            );
        }
    }
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn finnhub_is_asked_with_its_key_in_a_header_below_the_base_path() {
    let server = Server::start(|_| {
        Reply::new(
            200,
            r#"{"c":0,"d":null,"dp":null,"h":0,"l":0,"o":0,"pc":0,"t":0}"#,
        )
    })
    .await;
    let base = server.url().join("/api/v1/").unwrap();
    let finnhub = Finnhub::new(base, &KEY.parse().unwrap()).unwrap();
    let error = finnhub.fetch(&"BRK-B".parse().unwrap()).await;
    assert_eq!(error, Err(ProviderError::UnknownSymbol));
    let asked = server.asked().remove(0);
    assert_eq!(
        (asked.path.as_str(), asked.query("symbol")),
        ("/api/v1/quote", Some("BRK.B"))
    );
    assert_eq!(asked.header("x-finnhub-token"), Some(KEY));
}

#[tokio::test]
async fn a_symbol_outside_of_finnhubs_plan_is_not_a_refused_key() {
    for (status, text, is_symbol) in [
        (403, "You don't have access to this resource.", true),
        (401, "You don't have access to this resource.", true),
        (401, "Invalid API key", false),
        (403, "", false),
    ] {
        let body = format!(r#"{{"error":"{text}"}}"#);
        let server = Server::start(move |_| Reply::new(status, body.as_str())).await;
        let finnhub = Finnhub::new(server.url(), &KEY.parse().unwrap()).unwrap();
        let error = finnhub.fetch(&"AAPL".parse().unwrap()).await.unwrap_err();
        if is_symbol {
            assert!(matches!(error, ProviderError::NoPrice { .. }), "{error}");
        } else {
            assert_eq!(error, ProviderError::Unauthorized { status });
        }
    }
}

#[tokio::test]
async fn twelve_datas_errors_are_read_from_the_body_whatever_the_status() {
    let no_credits = r#"{"code":429,"message":"You have run out of API credits for the current minute. 10 API credits were used, with the current limit being 8.","status":"error"}"#;
    let no_key =
        r#"{"code":401,"message":"**apikey** parameter is incorrect or not specified.","status":"error"}"#;
    let not_found = r#"{"code":404,"message":"**symbol** not found: NOPE.","status":"error"}"#;
    let minute = ProviderError::RateLimited {
        retry_after: Some(Duration::from_secs(60)),
    };
    let refused = ProviderError::Unauthorized { status: 401 };
    for (status, body, expected) in [
        (200, no_credits, &minute),
        (429, no_credits, &minute),
        (200, no_key, &refused),
        (401, no_key, &refused),
        (200, not_found, &ProviderError::UnknownSymbol),
        (404, not_found, &ProviderError::UnknownSymbol),
    ] {
        let server = Server::start(move |_| Reply::new(status, body)).await;
        let provider = TwelveData::new(server.url(), &KEY.parse().unwrap()).unwrap();
        let error = provider.fetch(&"NOPE".parse().unwrap()).await.unwrap_err();
        assert_eq!(&error, expected, "{status} {body}");
        let asked = server.asked().remove(0);
        assert_eq!(asked.header("authorization"), Some(&*format!("apikey {KEY}")));
        assert_eq!(
            (asked.path.as_str(), asked.query("symbol")),
            ("/price", Some("NOPE"))
        );
    }
}

#[tokio::test]
async fn each_provider_says_how_much_a_call_may_ask_for_and_what_it_costs() {
    let nowhere: reqwest::Url = "http://127.0.0.1:1".parse().unwrap();
    let key = KEY.parse().unwrap();
    let rate = data_collector::provider::limit::Rate {
        budget: 55,
        per: Duration::from_secs(60),
    };
    let of = |provider: &dyn Provider| {
        let batch = provider.batch_size().get();
        (batch, provider.cost(batch), provider.limiter().unwrap().budget())
    };
    let free = TwelveData::new(nowhere.clone(), &key).unwrap();
    assert_eq!(
        of(&free),
        (8, 8, 8),
        "a call for more than the budget gets nothing"
    );
    assert_eq!(of(&free.limited_to(rate)), (55, 55, 55));
    let finnhub = Finnhub::new(nowhere.clone(), &key).unwrap();
    assert_eq!(of(&finnhub), (1, 1, 60));
    assert_eq!(of(&Binance::new(nowhere).unwrap()), (100, 4, 3_000));
}

//! A provider whose answers depend on what is asked.

use std::io::Write as _;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, Response};
use data_collector::provider::Provider;
use data_collector::provider::binance::Binance;
use data_collector::provider::finnhub::Finnhub;
use data_collector::provider::twelvedata::TwelveData;
use data_collector::provider::yahoo::{Chart, Quotes};
use flate2::{Compression, write::GzEncoder};
use reqwest::Url;

/// A key for providers that want one.
pub(crate) const KEY: &str = "SECRET-key_1";

/// What was asked.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) path: String,
    query: Vec<(String, String)>,
    pub(crate) headers: HeaderMap,
}

impl Asked {
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        let pair = self.query.iter().find(|(key, _)| key == name);
        pair.map(|(_, value)| value.as_str())
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// What is answered.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Reply {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
        }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn gzipped(mut self) -> Self {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&self.body).unwrap();
        self.body = encoder.finish().unwrap();
        self.with("content-encoding", "gzip")
    }
}

/// A running server.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    url: Url,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    pub(crate) async fn start(answer: impl Fn(&Asked) -> Reply + Clone + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            url: format!("http://{}", listener.local_addr().unwrap())
                .parse()
                .unwrap(),
            asked: Arc::default(),
        };
        let (base, asked) = (server.url.clone(), Arc::clone(&server.asked));
        let router = Router::new().fallback(move |request: Request<Body>| {
            let (base, asked, answer) = (base.clone(), Arc::clone(&asked), answer.clone());
            async move {
                let url = base.join(&request.uri().to_string()).unwrap();
                let one = Asked {
                    path: url.path().to_owned(),
                    query: url.query_pairs().into_owned().collect(),
                    headers: request.headers().clone(),
                };
                asked.lock().unwrap().push(one.clone());
                let reply = answer(&one);
                let mut response = Response::builder().status(reply.status);
                for (name, value) in reply.headers {
                    response = response.header(name, value);
                }
                response.body(Body::from(reply.body)).unwrap()
            }
        });
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        server
    }

    pub(crate) fn url(&self) -> Url {
        self.url.clone()
    }

    /// The requests so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Their paths.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.path).collect()
    }
}

/// All providers that ask over HTTP, each with a ticker that it covers and the body of a good answer for it.
pub(crate) fn providers(url: &Url) -> Vec<(Box<dyn Provider>, &'static str, &'static str)> {
    let key = KEY.parse().unwrap();
    vec![
        (
            Box::new(Chart::new(url.clone()).unwrap()) as Box<dyn Provider>,
            "AAPL",
            r#"{"chart":{"result":[{"meta":{"currency":"USD","symbol":"AAPL","regularMarketPrice":7.5,"regularMarketTime":1739998801,"priceHint":2}}],"error":null}}"#,
        ),
        (
            Box::new(Quotes::new(url.clone(), url.join("/cookie").unwrap()).unwrap()) as Box<dyn Provider>,
            "AAPL",
            r#"{"quoteResponse":{"result":[{"currency":"USD","symbol":"AAPL","regularMarketPrice":7.5,"regularMarketTime":1739998801,"priceHint":2}],"error":null}}"#,
        ),
        (
            Box::new(Finnhub::new(url.clone(), &key).unwrap()) as Box<dyn Provider>,
            "AAPL",
            r#"{"c":7.5,"h":8,"l":7,"o":7,"pc":7,"t":1739998801}"#,
        ),
        (
            Box::new(TwelveData::new(url.clone(), &key).unwrap()) as Box<dyn Provider>,
            "AAPL",
            r#"{"price":"7.50000"}"#,
        ),
        (
            Box::new(Binance::new(url.clone()).unwrap()) as Box<dyn Provider>,
            "BTC-USD",
            r#"[{"symbol":"BTCUSDT","price":"7.50000000"}]"#,
        ),
    ]
}

/// What Yahoo's quotes need before they can be asked for; None: it is something else.
pub(crate) fn session(asked: &Asked) -> Option<Reply> {
    match asked.path.as_str() {
        "/cookie" => Some(Reply::new(404, "").with("set-cookie", "A3=d=x&S=y; Path=/; Secure")),
        "/v1/test/getcrumb" => Some(Reply::new(200, "a/b.c+d")),
        _ => None,
    }
}

//! Stands in for Binance: knows every pair, and writes down who asked for it.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::extract::{Path, Query, State};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// The ticker of this number.
pub(super) fn ticker(number: usize) -> String {
    format!("C{number}-USD")
}

/// A collector's process: its number, and how often that was killed before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Process {
    number: usize,
    deaths: usize,
}

/// One symbol in one call.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) symbol: String,
    pub(super) process: Process,
    pub(super) at: Instant,
}

/// A running stub.
#[derive(Debug)]
pub(super) struct Provider {
    address: String,
    notes: Notes,
}

#[derive(Debug, Clone, Default)]
struct Notes {
    asked: Arc<Mutex<Vec<Asked>>>,
    deaths: Arc<Mutex<Vec<usize>>>,
}

#[derive(Debug, Deserialize)]
struct Call {
    symbols: String,
}

impl Provider {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let notes = Notes::default();
        let router = Router::new()
            .route("/{collector}/api/v3/ticker/price", get(prices))
            .with_state(notes.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, notes }
    }

    /// Each collector asks under a path of its own.
    pub(super) fn url_of(&self, collector: usize) -> String {
        format!("http://{}/{collector}", self.address)
    }

    /// What comes from this collector from now on is another process's.
    pub(super) fn dead(&self, collector: usize) {
        self.notes.deaths.lock().unwrap().push(collector);
    }

    /// Everything so far, in order.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.notes.asked.lock().unwrap().clone()
    }
}

async fn prices(
    State(notes): State<Notes>,
    Path(number): Path<usize>,
    Query(call): Query<Call>,
) -> Json<Value> {
    let at = Instant::now();
    let symbols: Vec<String> = serde_json::from_str(&call.symbols).unwrap();
    let deaths = notes.deaths.lock().unwrap();
    let deaths = deaths.iter().filter(|dead| **dead == number).count();
    let process = Process { number, deaths };
    let prices: Vec<Value> = symbols
        .iter()
        .map(|symbol| json!({"symbol": symbol, "price": "12.34000000"}))
        .collect();
    let mut asked = notes.asked.lock().unwrap();
    asked.extend(symbols.into_iter().map(|symbol| Asked { symbol, process, at }));
    Json(Value::Array(prices))
}

//! A provider of prices that says what it is told to.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

/// Answers as Yahoo's chart endpoint does, with one price for all tickers, made at this second.
#[derive(Debug, Clone)]
pub(crate) struct Provider {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    price: &'static str,
    /// How often it was told since it was set.
    answers: u32,
}

#[expect(clippy::unwrap_used, reason = "a test's own tools may fail loudly")]
impl Provider {
    pub(crate) fn start(price: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let provider = Self {
            address: listener.local_addr().unwrap(),
            state: Arc::new(Mutex::new(State { price, answers: 0 })),
        };
        let serving = provider.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let provider = serving.clone();
                // A client that goes away is part of the game.
                std::thread::spawn(move || provider.serve(&stream).ok());
            }
        });
        provider
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Gives `price` from now on, and waits until it was told so often.
    pub(crate) fn tell(&self, price: &'static str, times: u32) {
        *self.state.lock().unwrap() = State { price, answers: 0 };
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.state.lock().unwrap().answers < times {
            assert!(Instant::now() < deadline, "nobody asks");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn serve(&self, stream: &TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream).lines();
        let request = lines.next().transpose()?.unwrap_or_default();
        while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
        let symbol = request
            .split(['/', '?', ' '])
            .skip_while(|part| *part != "chart")
            .nth(1)
            .unwrap_or_default();
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let price = {
            let mut state = self.state.lock().unwrap();
            state.answers += 1;
            state.price
        };
        let (start, end) = (now - 3_600, now + 3_600);
        let body = format!(
            r#"{{"chart":{{"result":[{{"meta":{{"symbol":"{symbol}","currency":"USD","regularMarketPrice":{price},
            "regularMarketTime":{now},"currentTradingPeriod":{{"regular":{{"start":{start},"end":{end}}}}}}}}}],"error":null}}}}"#
        );
        let mut stream = stream;
        write!(
            stream,
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        )
    }
}

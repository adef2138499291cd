//! A running `up`.

use std::io::{BufRead as _, BufReader, Read};
use std::net::TcpListener;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::program::Home;

/// A running `up`, ended with the test.
pub(crate) struct Up {
    child: Child,
    lines: mpsc::Receiver<String>,
    address: String,
}

#[expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test's own tools may fail loudly"
)]
impl Up {
    pub(crate) fn start(home: &Home, args: &[&str]) -> Self {
        Self::start_with(home, args, &[])
    }

    pub(crate) fn start_with(home: &Home, args: &[&str], variables: &[(&str, &str)]) -> Self {
        // A port that was free a moment ago.
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let address = free.to_string();
        let mut child = home
            .command([&["up", "--grpc-listen", address.as_str()], args].concat())
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let lines = lines(child.stdout.take().unwrap());
        Self {
            child,
            lines,
            address,
        }
    }

    pub(crate) fn server(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next line that has `part` in it; `part` may name alternatives, separated by `|`.
    pub(crate) fn wait_for(&self, part: &str, limit: Duration) -> String {
        let deadline = Instant::now() + limit;
        let mut seen = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) if part.split('|').any(|part| line.contains(part)) => return line,
                Ok(line) => seen.push(line),
                Err(error) => panic!(
                    "no line with {part:?} within {limit:?} ({error}); seen:\n{}",
                    seen.join("\n")
                ),
            }
        }
    }

    pub(crate) fn interrupt(&self) {
        let id = self.child.id().to_string();
        // Without unsafe code, the system's own tool sends the signal.
        assert!(
            std::process::Command::new("kill")
                .args(["-INT", &id])
                .status()
                .unwrap()
                .success()
        );
    }

    pub(crate) fn wait(&mut self, limit: Duration) -> ExitStatus {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "it did not end within {limit:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads on a thread of its own, so that waiting for a line can end.
fn lines(out: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

//! `watch` on a pipe: lines. What it draws on a terminal is tested where it is drawn.

use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use proto::v1;
use serde_json::{Value, json};

use super::{RULE_1, registered_home};
use crate::program::Home;
use crate::stub::{Stub, alert};

/// Ends the program with the test.
struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

#[expect(clippy::unwrap_used, reason = "a test's own tools may fail loudly")]
impl Running {
    fn start(home: &Home, args: &[&str]) -> Self {
        let mut command = home.command(args);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }

    fn event(&mut self) -> Value {
        serde_json::from_str(&self.line()).unwrap()
    }

    /// Ctrl-C, and the exit code. Without unsafe code, the system's own tool sends it.
    fn interrupt(&mut self) -> Option<i32> {
        let mut kill = std::process::Command::new("kill");
        let sent = kill.args(["-INT", &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program and the stub run beside the test.
fn until(so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !so() {
        assert!(Instant::now() < deadline, "nothing happened in time");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn watch_prints_prices_and_only_new_alerts() {
    let stub = Stub::start().await;
    let home = registered_home(&stub);
    stub.state().alerts.push(alert(1, v1::Side::Above));
    let mut watch = Running::start(&home, &["watch", "--json"]);
    let price = watch.event();
    assert_eq!(
        (&price["type"], &price["price"]),
        (&json!("quote"), &json!("187.25"))
    );
    let new = [2, 3, 4].map(|number| alert(number, v1::Side::In));
    until(|| stub.state().alert_streams == 1);
    stub.state().alerts.extend(new);
    for number in [2, 3, 4] {
        let alert = watch.event();
        assert_eq!(alert["type"], "alert");
        assert_eq!(alert["id"], format!("{RULE_1}.1.1.{number}"));
    }
    stub.state().price = Some("188".into());
    assert_eq!(watch.event()["price"], "188");
    assert_eq!(watch.interrupt(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_of_the_time_when_the_server_was_away_is_shown_once() {
    let stub = Stub::start().await;
    let home = registered_home(&stub);
    let mut watch = Running::start(&home, &["watch"]);
    assert!(watch.line().ends_with("AAPL 187.25"));
    until(|| stub.state().alert_streams == 1);
    stub.state().alerts.push(alert(1, v1::Side::Above));
    assert!(watch.line().contains("AAPL above: 200.75 (threshold 200)"));

    stub.state().streams_broken = true;
    until(|| stub.state().alert_streams == 2);
    stub.state().alerts.push(alert(2, v1::Side::In));
    stub.state().streams_broken = false;
    assert!(watch.line().contains("AAPL back in range"));
    stub.state().price = Some("188".into());
    assert!(
        watch.line().ends_with("AAPL 188"),
        "neither the alert nor the price comes again"
    );
    assert_eq!(watch.interrupt(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_with_a_token_that_is_not_valid_ends_and_says_so() {
    let stub = Stub::start().await;
    let home = registered_home(&stub);
    stub.state().token = "another".into();
    let run = home.run(&["watch"]);
    assert_eq!(run.code, 77, "{run:?}");
}

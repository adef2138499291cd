//! The program on a terminal of its own.

use std::fs::File;
use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// A program on a terminal, ended with the test.
#[derive(Debug)]
pub(crate) struct Terminal {
    child: Child,
    seen: Arc<Mutex<String>>,
}

#[expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test's own tools may fail loudly"
)]
impl Terminal {
    pub(crate) fn start(mut command: Command, columns: u16, lines: u16) -> Self {
        let main = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&main).unwrap();
        unlockpt(&main).unwrap();
        let name = ptsname(&main, Vec::new()).unwrap().into_string().unwrap();
        let side = File::options().read(true).write(true).open(name).unwrap();
        let size = Winsize {
            ws_row: lines,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&side, size).unwrap();
        let child = command
            .stdin(Stdio::from(side.try_clone().unwrap()))
            .stdout(Stdio::from(side.try_clone().unwrap()))
            .stderr(Stdio::from(side))
            .spawn()
            .unwrap();
        let seen = Arc::new(Mutex::new(String::new()));
        let (text, mut from) = (Arc::clone(&seen), File::from(main));
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // Fails when nothing has the terminal open any more.
            while let Ok(count @ 1..) = from.read(&mut bytes) {
                let new = String::from_utf8_lossy(&bytes[..count]).into_owned();
                text.lock().unwrap().push_str(&new);
            }
        });
        Self { child, seen }
    }

    /// Everything so far, control sequences included.
    pub(crate) fn text(&self) -> String {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn until(&self, what: &str, so: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !so(&self.text()) {
            assert!(Instant::now() < deadline, "{what}: {:?}", self.text());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn send(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Waits until it does not run any more, but is still there.
    pub(crate) fn until_stopped(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let status = waitpid(Some(self.pid()), WaitOptions::UNTRACED | WaitOptions::NOHANG).unwrap();
            match status {
                Some((_, status)) if status.stopped() => return,
                Some(other) => panic!("it ended: {other:?}"),
                None => assert!(Instant::now() < deadline, "it goes on"),
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The exit code; none if a signal ended it.
    pub(crate) fn code(&mut self) -> Option<i32> {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "it goes on: {:?}", self.text());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

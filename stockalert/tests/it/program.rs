//! Runs the built program in an environment of its own.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Output};

use tempfile::TempDir;

/// A person's machine: a home with configuration and data folders, and nothing else.
#[derive(Debug)]
pub(crate) struct Home {
    folder: TempDir,
}

/// What a run of the program left.
#[derive(Debug)]
pub(crate) struct Run {
    pub code: i32,
    pub out: String,
    pub err: String,
}

#[expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test's own tools may fail loudly"
)]
impl Home {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    pub(crate) fn profile(&self) -> PathBuf {
        self.path().join("config/stockalert/profile.json")
    }

    pub(crate) fn command<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stockalert"));
        command
            .env_clear()
            .env("HOME", self.folder.path())
            .env("XDG_CONFIG_HOME", self.folder.path().join("config"))
            .env("XDG_DATA_HOME", self.folder.path().join("data"))
            .env("TZ", "UTC")
            .args(args);
        command
    }

    /// Runs to the end.
    pub(crate) fn run(&self, args: &[&str]) -> Run {
        Self::finish(&mut self.command(args))
    }

    /// Runs a prepared command to its end, without a terminal.
    pub(crate) fn finish(command: &mut Command) -> Run {
        Run::from(command.output().expect("the program starts"))
    }

    /// Runs with `--json`; the answer is its only output.
    pub(crate) fn json(&self, args: &[&str]) -> serde_json::Value {
        let run = self.run(&[args, &["--json"]].concat());
        assert_eq!((run.code, run.err.as_str()), (0, ""), "{args:?}: {run:?}");
        assert_eq!(
            run.out.matches('\n').count(),
            1,
            "one document on one line: {}",
            run.out
        );
        serde_json::from_str(&run.out).expect("the output is JSON")
    }
}

#[expect(clippy::expect_used, reason = "a test's own tools may fail loudly")]
impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().expect("the program ends by itself"),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

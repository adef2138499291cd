//! The services as processes of their own, to be killed and started again.

use std::collections::hash_map::RandomState;
use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher as _, Hasher as _};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};

/// One service's process; killed when dropped.
#[derive(Debug)]
pub struct Service {
    name: String,
    program: PathBuf,
    settings: Vec<(String, String)>,
    log: PathBuf,
    admin_port: u16,
    child: Child,
}

/// A port that was free a moment ago. Below those that outgoing connections use, so that none of them has taken it when a
/// service that was killed starts again.
///
/// # Errors
/// If there is none.
pub fn free_port() -> anyhow::Result<u16> {
    for _ in 0..1_000 {
        let port = 12_000 + u16::try_from(RandomState::new().build_hasher().finish() % 8_000)?;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("none of 1,000 ports was free")
}

impl Service {
    /// Starts `STOCKALERT_BIN_DIR/program` with these environment variables; its log goes to `logs/name.log`.
    ///
    /// # Errors
    /// If `STOCKALERT_BIN_DIR` is not set or the program can't be started.
    pub fn start(
        name: &str,
        program: &str,
        settings: &[(&str, String)],
        logs: &Path,
    ) -> anyhow::Result<Self> {
        let folder =
            std::env::var("STOCKALERT_BIN_DIR").context("STOCKALERT_BIN_DIR is not set; run make test")?;
        let program = Path::new(&folder).join(program);
        let admin_port = free_port()?;
        let mut settings: Vec<_> = settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect();
        settings.push(("ADMIN_LISTEN".into(), format!("127.0.0.1:{admin_port}")));
        let log = logs.join(format!("{name}.log"));
        let child = spawn(&program, &settings, &log)?;
        Ok(Self {
            name: name.to_owned(),
            program,
            settings,
            log,
            admin_port,
            child,
        })
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// `kill -STOP`: it is there, keeps its connections, and does nothing.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn pause(&self) -> anyhow::Result<()> {
        self.signal("-STOP")
    }

    /// `kill -CONT`: it goes on, not knowing that it was away.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn resume(&self) -> anyhow::Result<()> {
        self.signal("-CONT")
    }

    /// `kill -TERM`: asks it to finish and end.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn terminate(&self) -> anyhow::Result<()> {
        self.signal("-TERM")
    }

    /// Whether it has ended by itself, or because it was asked to.
    ///
    /// # Errors
    /// If it ended with a failure.
    pub fn has_ended(&mut self) -> anyhow::Result<bool> {
        match self.child.try_wait()? {
            None => Ok(false),
            Some(status) if status.success() => Ok(true),
            Some(status) => bail!(
                "{} ended with {status}; its log: {}",
                self.name,
                self.log_tail(30)
            ),
        }
    }

    /// What it says at `/readyz`: whether it is ready, and the text. None while it does not answer.
    pub async fn readiness(&self) -> Option<(bool, String)> {
        let answer = self.get("readyz").await?;
        let ready = answer.status().is_success();
        Some((ready, answer.text().await.ok()?))
    }

    /// The value of a metric without labels at `/metrics`. None while there is none.
    pub async fn metric(&self, name: &str) -> Option<f64> {
        let text = self.get("metrics").await?.text().await.ok()?;
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    }

    /// Its name, as given at the start.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All that it has logged, over all its starts.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The last lines of its log.
    #[must_use]
    pub fn log_tail(&self, lines: usize) -> String {
        tail(&self.log, lines)
    }

    async fn get(&self, path: &str) -> Option<reqwest::Response> {
        let url = format!("http://127.0.0.1:{}/{path}", self.admin_port);
        let answer = reqwest::Client::new()
            .get(url)
            .timeout(Duration::from_secs(2))
            .send();
        answer.await.ok()
    }

    fn signal(&self, signal: &str) -> anyhow::Result<()> {
        let status = Command::new("kill")
            .args([signal, &self.child.id().to_string()])
            .status()?;
        if status.success() {
            Ok(())
        } else {
            bail!("kill {signal} of {} failed", self.name)
        }
    }

    /// Starts it again with the same settings.
    ///
    /// # Errors
    /// If it can't be started.
    pub fn start_again(&mut self) -> anyhow::Result<()> {
        self.child = spawn(&self.program, &self.settings, &self.log)?;
        Ok(())
    }

    /// Waits until the process says that it is ready.
    ///
    /// # Errors
    /// If it ends, or is not ready within `patience`.
    pub async fn ready(&mut self, patience: Duration) -> anyhow::Result<()> {
        let url = format!("http://127.0.0.1:{}/readyz", self.admin_port);
        let start = tokio::time::Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!(
                    "{} ended with {status}; its log: {}",
                    self.name,
                    tail(&self.log, 30)
                );
            }
            if let Ok(answer) = reqwest::get(&url).await
                && answer.status().is_success()
            {
                return Ok(());
            }
            if start.elapsed() > patience {
                bail!(
                    "{} is not ready after {patience:?}; its log: {}",
                    self.name,
                    tail(&self.log, 30)
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn spawn(program: &Path, settings: &[(String, String)], log: &Path) -> anyhow::Result<Child> {
    let log: File = OpenOptions::new().create(true).append(true).open(log)?;
    Command::new(program)
        .envs(settings.iter().cloned())
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("{} could not be started", program.display()))
}

fn tail(log: &Path, count: usize) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
